"""What a level costs beside its iterations: files, pruning, a checkpoint."""

import tempfile
import time
from collections.abc import Callable, Iterator

from lth_tf import networks, pruning
from lth_tf.config import ExperimentConfig
from lth_tf.masking.model import get_masks, get_weights
from lth_tf.methods.base import Ticket
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets.learner import rewind

from . import Options, Result, in_turn, register
from .setups import config_of, model_of, trainer_of


@register("costs")
def costs(options: Options) -> Iterator[Result]:
    """Measures the fixed costs of a level, network by network."""
    for network in options.networks.split(","):
        config = config_of(network)
        with tempfile.TemporaryDirectory() as folder:
            run_dir = RunDir(folder)
            with run_dir.writing(config):
                calls = _calls(config, run_dir)
                timed = {name: _milliseconds(call) for name, call in calls.items()}
                yield in_turn(f"{network}: what a level costs", timed, options.rounds, unit="ms")


def _calls(config: ExperimentConfig, run_dir: RunDir) -> dict[str, Callable[[], object]]:
    model = model_of(config)
    trainer = trainer_of(config, model, interval=1, iterations=1)
    history = trainer.fit()
    weights, masks = get_weights(model), get_masks(model)
    rates = pruning.layer_rates(networks.groups(model), config.prune_rates())

    def prune() -> None:
        context = pruning.PruningContext(masks, weights, weights)
        pruning.prune(context, rates, config.criterion, config.scope, level=1)

    return {
        "a checkpoint": lambda: run_dir.save_progress(Stage(1), trainer.state()),
        "the files of a level": lambda: run_dir.save_stage(Stage(0), masks, weights, history),
        "pruning": prune,
        "rewinding": lambda: rewind(model, Ticket(Stage(1), masks, weights)),
        "restarting": trainer.restart,
    }


def _milliseconds(call: Callable[[], object]) -> Callable[[], float]:
    def measure() -> float:
        start = time.perf_counter()
        call()
        return 1e3 * (time.perf_counter() - start)

    return measure
