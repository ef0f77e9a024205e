"""Gradual magnitude pruning, the baseline that people use instead of tickets.

    python -m experiments.gradual --network=lenet --final_density=0.036
    python -m experiments.gradual --network=conv2 --final_density=0.2,0.088,0.046
    python -m experiments.gradual --network=lenet --dataset=digits --iterations=1000

--network takes a network's own program (experiments/<network>.py) for the defaults of all
other flags. The network starts from the tickets' initial weights and sees their batches at
their learning rates for as many iterations as one of their levels, while TensorFlow
Model Optimization (TFMOT) prunes it, in a process of its own. Level 0 is the dense network.

Layers are pruned as those of a ticket of the same size by the prune rates, each by its
own count: also where tickets rank the weights of all layers together. Early stop is
the minimum validation loss after the last pruning.

The results lie beside the tickets', in runs/<network>/gradual: `experiments.report` draws
both. A run that is stopped goes on with the level it was at, from that level's beginning.

Source:
    Zhu & Gupta 2017, arXiv:1710.01878.
"""

import dataclasses
import pathlib
import sys

from lth_tf.cli import program
from lth_tf.config import ExperimentConfig, RunOptions, run_name
from lth_tf.errors import UsageError
from lth_tf.methods.gradual import Gradual
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage

from . import cli
from .default_config import asked_network, default_config


@dataclasses.dataclass(frozen=True)
class GradualExperiment(cli.Experiment):
    """An experiment whose runs lie beside those of the network's tickets."""

    learner: str = f"{__package__}.gradual_learner"

    def path(self, config: ExperimentConfig, options: RunOptions) -> pathlib.Path:
        """Returns the directory of one replicate.

        Example:
        >>> defaults = ExperimentConfig(method="gradual")
        >>> experiment = GradualExperiment(defaults, "", {}, "lenet")
        >>> str(experiment.path(defaults, RunOptions()))
        'runs/lenet/gradual/seed_0'
        >>> str(experiment.path(defaults.replace(final_density=(0.2, 0.1)), RunOptions()))
        'runs/lenet/gradual,final_density=0.2+0.1/seed_0'
        """
        changed = run_name(config, self.defaults)
        name = "gradual" if changed == "default" else f"gradual,{changed}"
        return pathlib.Path(options.runs_dir) / config.network / name / f"seed_{config.seed}"

    def check(self, config: ExperimentConfig) -> None:
        """Refuses other methods than gradual pruning, and what tf_keras does not compute."""
        if not isinstance(config.method, Gradual):
            raise UsageError(
                "Expected method=gradual of this program. "
                f"Received: method={config.method.label()}."
            )
        if config.precision != "float32":
            raise UsageError(
                "Expected precision=float32: gradual pruning in tf_keras knows nothing else. "
                f"Received: precision={config.precision}."
            )
        if config.batch_norm != "exact":
            raise UsageError(
                "Expected batch_norm=exact: tf_keras computes its own. "
                f"Received: batch_norm={config.batch_norm}."
            )

    def next_steps(self, run_dir: RunDir) -> str:
        """Returns the commands that compare with tickets and export."""
        folder, config = run_dir.path.parent.parent, run_dir.config()
        steps = [
            f"Figures, beside the tickets: {program.command('report')} {folder}",
            f"Export:  {program.command('export')} --run={run_dir.path} "
            f"--level={config.method.levels(config)}",
        ]
        found = [RunDir(file.parent) for file in folder.glob("*/seed_*/config.json")]
        if not any(run.config().method.finds_tickets and run.has(Stage(1)) for run in found):
            own, _ = default_config(config.network)
            of_tickets = own.as_dict()
            changed = [
                f"--{name}={_flag(value)}"
                for name, value in config.as_dict().items()
                if name in of_tickets and value != of_tickets[name]
                if name not in ("method", "scope", "criterion", "network")
            ]
            command = " ".join([program.command(config.network), *changed])
            steps.insert(0, f"Tickets to compare with: {command}")
        return "\n".join(steps)


def main() -> None:
    """Runs the program and exits."""
    sys.exit(program.run_main(_run))


def _run() -> None:
    own, presets = default_config(asked_network(sys.argv))
    # Layers are pruned by their own counts, also where tickets rank all weights together.
    defaults = own.replace(method=Gradual(), scope="layerwise", controls=())
    cli.run(GradualExperiment(defaults, __doc__, presets, own.network))


def _flag(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    main()
