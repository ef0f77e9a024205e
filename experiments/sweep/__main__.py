"""Trains many runs at once on a Ray cluster, or on this machine: trials, their levels and controls.

    python -m experiments.sweep --network=lenet --trials=5 --reinits=3
    python -m experiments.sweep --network=conv2 --trials=5 --address=10.0.0.1:6379 --cpus=4
    python -m experiments.sweep --recipe=paper --only=1,4c

Takes the flags of the network's own program, whose runs these are: the same folders, the same
bits. Every stage (a level, a control) is a task that starts as soon as what it needs is there, so
the controls of a level are trained beside the next level and beside other trials. Data and files
are sent to the machines, results come back and lie in --runs_dir here: machines share no folder.
A training whose machine or process is gone is tried again from its last checkpoint, at most
--retries times; then it is named, and what does not need it goes on. Ctrl-C keeps all that was
trained. The same command, or that of the network's own program, goes on with what is missing.

Needs pip install 'lth_tf[ray]' on every machine; this one must be part of the cluster.
--recipe=paper trains what `experiments.claims --recipe=paper` lists.
"""

import contextlib
import pathlib
import sys
from collections.abc import Iterable, Iterator

from lth_tf import lazy
from lth_tf.cli import flags, program
from lth_tf.errors import UsageError
from lth_tf.lazy import lazy_imports

from ..default_config import asked_network, default_config
from .options import SweepOptions

with lazy_imports():
    from lth_tf.tickets import procedure

    from .. import results
    from . import cluster, driver, run, runs, view


def main() -> None:
    """Runs the program and exits."""
    sys.exit(program.run_main(_run))


def _run() -> None:
    if flags.asked(sys.argv, "recipe"):
        parsed = flags.parse(sys.argv, __doc__, SweepOptions())
        if parsed is not None:
            (options,) = parsed
            _sweep(runs.of_recipe(options.only, options.run_options()), options)
        return
    defaults, presets = default_config(asked_network(sys.argv))
    parsed = flags.parse(sys.argv, __doc__, SweepOptions(), defaults, presets=presets)
    if parsed is None:
        return
    options, config = parsed
    if options.only:
        raise UsageError("Expected --only beside --recipe=paper. Received: it alone.")
    _sweep(runs.of_experiment(config, defaults, presets, options.run_options()), options)


def _sweep(wanted: "list[run.Wanted]", options: SweepOptions) -> None:
    lazy.require("ray")
    if options.dry_run:
        _print_plan(wanted)
        return
    shown = view.View([each.label for each in wanted])
    with cluster.connected(options.address, options.cpus, options.gpus, options.jobs) as machines:
        count = machines.machines()
        print(
            f"{_counted(wanted)} on {count} machine{'s' * (count > 1)}; "
            f"trainings at a time: {machines.places()}, cores of each: {options.cpus}\n"
            f"Results in {_common(wanted)}\n",
            flush=True,
        )
        if not machines.room():
            shown.told(
                f"No machine has room for a training of {options.cpus} cores and {options.gpus:g} "
                "GPUs: waiting for one."
            )
        swept = _trained(wanted, machines, options, shown)
        if options.recipe:
            found = runs.of_recipes_tickets(options.only, options.run_options())
            again = list(_there(found, shown))
            swept += _trained(again, machines, options, shown)
    _print_outcome(swept, options)
    driver.check(swept)


def _trained(
    wanted: "list[run.Wanted]",
    machines: "cluster.Cluster",
    options: SweepOptions,
    shown: "view.View",
) -> "list[run.Run]":
    """Trains runs, as far as that works."""
    swept = [run.Run(each, options.cpus) for each in wanted]
    shown.open()
    try:
        driver.Driver(swept, machines, options.retries, shown).run()
    finally:
        shown.close()
        for each in swept:
            each.close()
    return swept


def _there(found: "Iterator[run.Wanted]", shown: "view.View") -> "Iterable[run.Wanted]":
    """Yields runs until one needs another that is not there, which is told."""
    try:
        yield from found
    except UsageError as error:
        shown.told(f"Not trained: tickets of other runs. {error}")


def _counted(wanted: "list[run.Wanted]") -> str:
    return f"{len(wanted)} run{'s' * (len(wanted) != 1)}"


def _common(wanted: "list[run.Wanted]") -> pathlib.Path:
    """Returns the folder that all runs lie in."""
    folders = {each.path.parent for each in wanted}
    return folders.pop() if len(folders) == 1 else pathlib.Path(wanted[0].options.runs_dir)


def _print_plan(wanted: "list[run.Wanted]") -> None:
    trainings = iterations = 0
    for each in wanted:
        count = len(procedure.stages(each.config))
        trainings += count
        iterations += count * each.config.iterations
        print(f"{each.path}: {count} trainings of {each.config.iterations:,} iterations")
    print(
        f"\n{_counted(wanted)}, {trainings:,} trainings, {iterations:,} iterations. "
        "Nothing was trained."
    )


def _print_outcome(swept: "list[run.Run]", options: SweepOptions) -> None:
    complete = [each for each in swept if each.is_complete]
    if len(swept) == 1 and complete:
        print(f"\n{swept[0].wanted.experiment.next_steps(swept[0].run_dir)}")
        return
    print()
    for each in complete:
        with contextlib.suppress(UsageError):  # of a run that has no tickets to judge
            told = results.outcome(each.run_dir).splitlines()[0]
            print(f"{each.wanted.label}: {told}")
    name = "claims" if options.recipe else "report"
    print(f"Figures of all: {program.command(name)} {_common([e.wanted for e in swept])}")


if __name__ == "__main__":
    main()
