"""Prunes a compiled model of your own while it trains on, and exports it.

    python -m export.prune model.keras --examples=train.npz --density=0.1
    python -m export.prune model.keras --examples=train.npz --export=tflite,saved_model
    python -m export.prune model.keras --examples=train.npz --method=imp --levels=8

model.keras is any compiled model that Keras loads; it goes on training with its own loss and
metrics, and its optimizer begun anew. The .npz file holds the inputs as x, or one array an
input by its name; the labels as y, or one array an output by its name; and, if there are any,
sample_weight. A part of the examples, drawn by the seed, is held out: early stop and all numbers
are of that part.

Level 0 trains on with nothing pruned, to compare with, and is followed by one training of gradual
pruning, or by the levels of another method. The run directory, runs/<model>/..., holds all of
them for `experiments.list` and `experiments.report`; pruned.keras, a plain model that Keras
loads without lth_tf; and with --export the files in export/, each verified in its runtime.

A run that is stopped goes on with the same command, at the last epoch that was kept. It is
refused with other examples or another model.
"""

import sys

from lth_tf.cli import flags, program, tf_logging
from lth_tf.errors import UsageError
from lth_tf.lazy import lazy_imports

from .config import PruneOptions

with lazy_imports():
    from . import own_model


def main() -> None:
    """Runs the program and exits."""
    sys.exit(program.run_main(_run))


def _run() -> None:
    parsed = flags.parse(sys.argv, __doc__, PruneOptions(), positional="MODEL")
    if parsed is None:
        return
    options, models = parsed
    if len(models) != 1:
        raise UsageError(
            f"Expected one .keras file. Received: {', '.join(models) or 'none'}. "
            f"E.g. {program.command('prune')} model.keras --examples=train.npz --density=0.1"
        )
    if not options.examples:
        raise UsageError("Expected --examples=FILE.npz with inputs x and labels y. Received: none.")
    tf_logging.import_tensorflow()
    own_model.run(models[0], options)


if __name__ == "__main__":
    main()
