"""Finished runs with their network and data, for analyses that need more than files."""

import dataclasses

from lth_tf.analysis.bench import Bench
from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Data
from lth_tf.errors import UsageError
from lth_tf.methods.base import Ticket
from lth_tf.runs import rewinding
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets.find import network_procedure, new_model


def bench(run_dir: RunDir, data: Data) -> Bench:
    """Returns the network of a run with the data it was trained on, to be trained as it was.

    Args:
        run_dir: a finished run of an experiment.
        data: what `lth_tf.datasets.recorded.data_of` gives, or the arrays it was trained on.

    Raises:
        UsageError: if the run is one of `model.fit`, or was trained on other data.

    Example::

        run = lth_tf.RunDir("runs/lenet/default/seed_0")
        found = bench(run, data_of(run))
        loss, error = found.evaluate(run.trained(lth_tf.Stage(7)))
    """
    config = run_dir.config()
    if not isinstance(config, ExperimentConfig):
        raise UsageError(
            f"Expected a run of an experiment. Received: {run_dir.path}, a run of model.fit."
        )
    about = run_dir.provenance()
    recorded = about.get("data", {}).get("checksum", data.checksum)
    if recorded != data.checksum:
        raise UsageError(
            f"Expected the data that {run_dir.path} was trained on (checksum {recorded}). "
            f"Received: other examples (checksum {data.checksum})."
        )
    config = dataclasses.replace(config, dataset=data.name)
    procedure = network_procedure(
        config, data, run_dir, new_model(config, data, "init"), rewinding.iteration_of(run_dir)
    )

    def ticket(level: int) -> Ticket:
        return procedure.ticket(Stage(level))

    return Bench(
        lambda: new_model(config, data, "init"),
        data,
        config,
        ticket,
        jit=about.get("jit", "auto"),
        step=about.get("step", "auto"),
    )
