"""Trains tickets of a finished run again: at other rates, on other data, from other values.

    python -m experiments.retrain --ticket=runs/lenet/default/seed_0 --level=7,15 --optimizer=sgd
    python -m experiments.retrain --ticket=runs/lenet/default/seed_0 --level=12 --dataset=digits
    python -m experiments.retrain --ticket=runs/conv2/a/seed_0 --values=runs/conv2/b/seed_0

All other flags have the values of that run for defaults. Level 0 is the dense network from the same
origin, level 1 the first ticket, and so on; controls can be asked for. The network must have
the ticket's shapes. The results lie beside the run: `experiments.report` of their common folder
draws both.

Source:
    Morcos et al. 2019, arXiv:1906.02773 (other data sets and optimizers).
"""

import dataclasses
import pathlib
import sys

from lth_tf.cli import flags, program
from lth_tf.config import ExperimentConfig, RunOptions, run_name
from lth_tf.errors import UsageError
from lth_tf.methods.retrain import Retrain
from lth_tf.runs.run_dir import RunDir

from . import cli


@dataclasses.dataclass(frozen=True)
class RetrainExperiment(cli.Experiment):
    """An experiment whose runs lie beside the one whose tickets they train."""

    def path(self, config: ExperimentConfig, options: RunOptions) -> pathlib.Path:
        """Returns the directory of one replicate.

        Example:
        >>> method = Retrain(ticket="/runs/lenet/default/seed_0", level=(7, 15))
        >>> defaults = ExperimentConfig(method=method)
        >>> experiment = RetrainExperiment(defaults, "", {}, "")
        >>> str(experiment.path(defaults.replace(optimizer="sgd", seed=3), RunOptions()))
        '/runs/lenet/retrain_7+15_of_default_0,optimizer=sgd/seed_3'
        """
        method = config.method
        parent = pathlib.Path(method.ticket)
        levels = "+".join(map(str, method.level))
        name = f"retrain_{levels}_of_{parent.parent.name}_{parent.name.removeprefix('seed_')}"
        if method.values:
            values = pathlib.Path(method.values)
            name += f"_values_{values.parent.name}_{values.name.removeprefix('seed_')}"
        told = {name: getattr(self.defaults.method, name) for name in ("level", "values")}
        changed = run_name(config.replace(**told), self.defaults)
        name += "" if changed == "default" else f",{changed}"
        return parent.parent.parent / name / f"seed_{config.seed}"

    def check(self, config: ExperimentConfig) -> None:
        """Refuses other methods, and runs whose levels are not there."""
        if not isinstance(config.method, Retrain):
            raise UsageError(
                f"Expected method=retrain of this program. Received: {config.method.label()}."
            )
        config.method.provenance()  # reads both runs

    def next_steps(self, run_dir: RunDir) -> str:
        """Returns the command that draws it beside the run that the tickets are of."""
        parent = run_dir.config().method.ticket
        figures = f"{program.command('report')} {parent} {run_dir.path}"
        return f"Figures, beside the first training: {figures}"


def main() -> None:
    """Runs the program and exits."""
    sys.exit(program.run_main(_run))


def _run() -> None:
    cli.run(experiment(flags.asked(sys.argv, "ticket")))


def experiment(ticket: str) -> RetrainExperiment:
    """Returns the experiment of training a run's tickets again; "" is not to name one yet."""
    return RetrainExperiment(_defaults(ticket), __doc__, {}, "")


def _defaults(ticket: str) -> ExperimentConfig:
    if not ticket:
        return ExperimentConfig(method=Retrain())
    config = RunDir(ticket).config()
    if not isinstance(config, ExperimentConfig):
        raise UsageError(
            "Expected a run of an experiment. Received: one of model.fit, whose training only its "
            f"own program knows: {ticket}."
        )
    return config.replace(method=Retrain(ticket=ticket), controls=(), replicates=1)


if __name__ == "__main__":
    main()
