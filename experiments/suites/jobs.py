"""One process on all cores beside one process a core."""

import functools
import os
import subprocess
from collections.abc import Iterator

from lth_tf.cli import process

from . import Options, Result, in_turn, register
from .setups import config_of, model_of, trainer_of, trainer_rate


@register("jobs")
def jobs(options: Options) -> Iterator[Result]:
    """Measures how many iterations a second all processes make together."""
    cores = sorted(os.sched_getaffinity(0))
    rates = {
        f"{len(cores)} processes of one core": lambda: _together([{core} for core in cores]),
        "one process": lambda: _together([set(cores)]),
    }
    yield in_turn("lenet: trials side by side", rates, options.rounds)


def _together(shares: list[set[int]]) -> float:
    children = [
        subprocess.Popen(
            process.command(__name__),
            stdout=subprocess.PIPE,
            text=True,
            env=process.environment(),
            preexec_fn=functools.partial(os.sched_setaffinity, 0, share),
        )
        for share in shares
    ]
    return sum(float(child.communicate()[0]) for child in children)


def main() -> None:
    """Prints the iterations a second of one process."""
    config = config_of("lenet")
    trainer = trainer_of(config, model_of(config), 5_000, 100)
    print(trainer_rate(trainer, seconds=10)())


if __name__ == "__main__":
    main()
