"""Measures the memory that TicketCallback takes above `fit` alone, in multiples of the weights.

    python -m experiments.callback_memory
    python -m experiments.callback_memory --millions=50 --hidden_layers=1

A dense network of each size is trained by `fit` with Adam on a few random examples, once
without and once with the callback, two levels of two epochs each, in processes of their
own. What is compared is the largest resident memory of each.
"""

import dataclasses
import resource
import subprocess
import sys
import tempfile

import numpy as np

from lth_tf.cli import flags, process, program, tf_logging
from lth_tf.lazy import lazy_imports
from lth_tf.options import Options, option

with lazy_imports():
    import keras

    from lth_tf.tickets import callback

_INPUTS = 100


@dataclasses.dataclass(frozen=True)
class MemoryOptions(Options):
    """What to measure."""

    millions: tuple[int, ...] = option((25, 50, 100), "Millions of weights, comma-separated.")
    hidden_layers: int = option(4, "Hidden layers the weights are shared among.", minimum=2)
    checkpoint_seconds: float = option(60.0, "Seconds between checkpoints.", minimum=0.0)
    child: str = option(
        "",
        "What a process of its own does; empty starts the processes.",
        choices=("", "fit", "callback"),
    )


def main() -> None:
    """Runs the program and exits."""
    sys.exit(program.run_main(_run))


def _run() -> None:
    parsed = flags.parse(sys.argv, __doc__, MemoryOptions())
    if parsed is None:
        return
    (options,) = parsed
    if options.child:
        print(_peak_of_fit(options))
        return
    for millions in options.millions:
        size = 4e6 * millions
        alone, tickets = (_child(options, millions, kind) for kind in ("fit", "callback"))
        print(
            f"{millions} million weights ({size / 1e6:,.0f} MB): fit alone {alone / 1e6:,.0f} MB, "
            f"with TicketCallback {tickets / 1e6:,.0f} MB, "
            f"{(tickets - alone) / size:.2f} times the weights more",
            flush=True,
        )


def _child(options: MemoryOptions, millions: int, kind: str) -> int:
    """Returns the largest resident memory of a fit in a process of its own, in bytes."""
    arguments = [
        f"--millions={millions}",
        f"--hidden_layers={options.hidden_layers}",
        f"--checkpoint_seconds={options.checkpoint_seconds}",
        f"--child={kind}",
    ]
    command = process.command(f"{__package__}.callback_memory", *arguments)
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=process.environment()
    )
    return int(done.stdout.split()[-1])


def _peak_of_fit(options: MemoryOptions) -> int:
    tf_logging.import_tensorflow()
    (millions,) = options.millions
    units = round((millions * 1e6 / (options.hidden_layers - 1)) ** 0.5)
    layers = [
        keras.layers.Dense(units, "relu", name=f"fc{i}") for i in range(options.hidden_layers)
    ]
    model = keras.Sequential(
        [keras.Input((_INPUTS,)), *layers, keras.layers.Dense(10, name="output")], name="wide"
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    random = np.random.default_rng(0)
    x = random.random((64, _INPUTS), np.float32)
    data = (x, random.integers(0, 10, 64))
    with tempfile.TemporaryDirectory() as folder:
        callbacks = []
        if options.child == "callback":
            seconds = options.checkpoint_seconds
            tickets = callback.TicketCallback(
                folder, epochs_per_level=2, levels=1, verbose=0, checkpoint_seconds=seconds
            )
            callbacks = [tickets]
        model.fit(*data, validation_data=data, epochs=4, callbacks=callbacks, verbose=0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
