import dataclasses

import keras
import numpy as np
import pytest

from lth_tf.cli.kept import programs_kept
from lth_tf.config import ExperimentConfig

# Density of level k is about 0.6 ** k.
_CONFIG = ExperimentConfig(
    dataset="digits",
    iterations=150,
    eval_interval=50,
    levels=8,
    prune_rate_fc=0.4,
    prune_rate_output=0.2,
)


@pytest.fixture(scope="module", autouse=True)
def runtimes_kept():
    """Runtimes are started once a module, as in `python -m export`, not for every file."""
    with programs_kept():
        yield


@dataclasses.dataclass(frozen=True)
class Trained:
    """A plain model with the test images and labels of the data it was trained on."""

    model: keras.Model
    images: np.ndarray
    labels: np.ndarray


@pytest.fixture(scope="session")
def lenet_run(digits, tmp_path_factory):
    """A run of LeNet on digits down to 1.7 % of its weights. Not to be written to."""
    from lth_tf.runs.run_dir import RunDir
    from lth_tf.tickets.find import find_tickets

    run_dir = RunDir(tmp_path_factory.mktemp("runs") / "lenet" / "default" / "seed_0")
    about = {"data": {"image_shape": [28, 28, 1], "classes": 10}}
    with run_dir.writing(_CONFIG, about):
        find_tickets(_CONFIG, digits, run_dir)
    return run_dir


@pytest.fixture(scope="session")
def lenet(lenet_run, digits):
    """Returns a function level -> `Trained` of the run's ticket, trained."""
    from export.ticket import load

    def ticket(level):
        loaded = load(lenet_run.path, level)
        return Trained(loaded.model, loaded.test.inputs["inputs"], loaded.test.labels)

    return ticket
