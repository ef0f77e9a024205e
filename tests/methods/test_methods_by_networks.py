"""Every method, criterion and control on networks of every kind; slow."""

import dataclasses

import numpy as np
import pytest

from lth_tf.config import CONTROLS, CRITERIA, NETWORKS
from lth_tf.runs.stage import Stage
from lth_tf.tickets.find import network_procedure, new_model
from tests.methods import small
from tests.small_runs import HUGE, run

pytestmark = pytest.mark.slow

# Of a family the smallest is enough.
NETWORK_NAMES = [n for n in NETWORKS.names() if n not in ("conv4", "conv6", "vgg19", *HUGE)]


@pytest.fixture
def few(data_of):
    """Returns network -> 24 training, 8 validation and 8 test examples of what it takes."""

    def load(network):
        data = data_of(network)
        sizes = {"train": 24, "validation": 8, "test": 8}
        return dataclasses.replace(
            data, **{name: getattr(data, name).take(range(size)) for name, size in sizes.items()}
        )

    return load


def check(run_dir, config, data):
    model = new_model(config, data, "init")
    plan = network_procedure(config, data, run_dir, model).plan
    found = [run_dir.summary(Stage(level))["remaining"] for level in range(len(plan))]
    if config.method.label() == "supermask":
        assert found[0] == plan[0] and 0 < found[1] < plan[1]
    else:
        assert found == plan and plan[1] < plan[0]
    for stage in run_dir.finished():
        trained = run_dir.trained(stage)
        for path, mask in run_dir.mask(stage).items():
            assert (trained[path][mask == 0] == 0).all() and np.isfinite(trained[path]).all()


@pytest.mark.parametrize("network", NETWORK_NAMES)
@pytest.mark.parametrize("method", small.METHOD_NAMES)
def test_every_method_on_every_network(method, network, few, tmp_path):
    config = small.config_of(method, network=network, batch_size=8, eval_interval=6)
    run_dir = run(tmp_path / "run", config, few(network), jit="off")
    check(run_dir, config, few(network))


@pytest.mark.parametrize("network", NETWORK_NAMES)
@pytest.mark.parametrize("criterion", [n for n in CRITERIA.names() if n != "bn_scale"])
def test_every_criterion_on_every_network(criterion, network, few, tmp_path):
    config = small.config_of("at_init", network=network, batch_size=8, iterations=2)
    config = config.replace(criterion=criterion, eval_interval=2)
    run_dir = run(tmp_path / "run", config, few(network), jit="off")
    check(run_dir, config, few(network))


@pytest.mark.parametrize("network", ["mlp", "transformer"])
def test_every_control_on_other_than_images(network, few, tmp_path):
    counts = {dataclasses.fields(kind)[0].name: 1 for kind in CONTROLS.items().values()}
    config = small.config_of("imp", network=network, batch_size=8, eval_interval=6, **counts)
    run_dir = run(tmp_path / "run", config, few(network), jit="off")
    check(run_dir, config, few(network))
    assert len(run_dir.finished()) == 2 * (1 + len(CONTROLS.names()))
