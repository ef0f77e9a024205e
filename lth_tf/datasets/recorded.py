"""The data set that a run was made on, loaded again."""

from typing import TYPE_CHECKING

from lth_tf import datasets
from lth_tf.config import ExperimentConfig
from lth_tf.errors import UsageError
from lth_tf.files import damaged

if TYPE_CHECKING:
    from lth_tf.datasets import Data
    from lth_tf.runs.run_dir import RunDir


def data_of(run_dir: "RunDir", data_dir: str = "") -> "Data":
    """Returns the data that an experiment's run was trained on.

    Args:
        run_dir: the run.
        data_dir: TFDS folder; "" is the one that the run names, if it names one.

    Raises:
        UsageError: if the run is one of `model.fit`, its config is damaged, or the data cannot be
            had.
    """
    config, provenance = run_dir.config(), run_dir.provenance()
    if not isinstance(config, ExperimentConfig):
        raise UsageError(
            f"Expected a run of an experiment. Received: {run_dir.path}, a run of model.fit, whose "
            "data only its own program knows."
        )
    try:
        record = provenance["data"]
        image_shape = tuple(record["image_shape"])
    except (KeyError, TypeError) as error:
        raise UsageError(damaged(run_dir.path / "config.json", f"no {error}")) from error
    # runs/<experiment>/<name>/seed_<k>; experiments keep decoded data in runs/.cache.
    caches = [folder / ".cache" for folder in run_dir.path.absolute().parents[2:3]]
    return datasets.load(
        config.dataset,
        image_shape=image_shape,
        validation_size=config.validation_size,
        seed=config.seed,
        data_dir=data_dir or record.get("data_dir", ""),
        cache_dir=next((cache for cache in caches if cache.is_dir()), None),
        stream=record.get("input") == "stream",
    )
