"""Tickets of a text model, through `model.fit`: an LSTM that predicts the next character.

    python -m experiments.text
    python -m experiments.text --levels=10 --prune_rate=0.2

An example of `lth_tf.TicketCallback` on a model and a loop that know nothing of this
library. The text is the language reference that every Python carries for its `help()`:
nothing is downloaded. Whole topics are set aside for validation and test. Embedding
and LSTM lose their smallest weights each level, the output layer half as many.
"""

import dataclasses
import pathlib
import sys

import numpy as np

import lth_tf
from lth_tf.cli import flags, program, tf_logging
from lth_tf.config import run_name
from lth_tf.errors import UsageError
from lth_tf.lazy import lazy_imports
from lth_tf.options import Options, option

with lazy_imports():
    import keras

    from lth_tf.datasets import manual


@dataclasses.dataclass(frozen=True)
class TextOptions(Options):
    """What to train, and where the results go."""

    levels: int = option(
        6, "Train-prune rounds after the dense network.", minimum=0, in_run_name=False
    )
    epochs_per_level: int = option(6, "Epochs of a level.", minimum=1)
    prune_rate: float = option(
        0.3, "Fraction of the remaining weights pruned a level.", minimum=0.0, below=1.0
    )
    rewind_epoch: int = option(3, "Epoch whose weights every level starts from.", minimum=0)
    units: int = option(96, "Units of the LSTM.", minimum=1)
    window: int = option(32, "Characters of an example.", minimum=2)
    topics: int = option(
        0, "Use only so many topics of the text, at least 10; 0 is all.", minimum=0
    )
    seed: int = option(0, "Seed of initialization and order.", minimum=0)
    runs_dir: str = option("runs", "Folder that all run directories lie in.", in_run_name=False)


def main() -> None:
    """Runs the program and exits."""
    sys.exit(program.run_main(_run))


def _run() -> None:
    parsed = flags.parse(sys.argv, __doc__, TextOptions())
    if parsed is None:
        return
    (options,) = parsed
    tf_logging.import_tensorflow()
    train, validation, test = examples(options.window, options.topics)
    keras.utils.set_random_seed(options.seed)
    model = build(options.window, options.units)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    tickets = lth_tf.TicketCallback(
        pathlib.Path(options.runs_dir)
        / "text"
        / run_name(options, TextOptions())
        / f"seed_{options.seed}",
        epochs_per_level=options.epochs_per_level,
        levels=options.levels,
        prune_rates={
            "embedding": options.prune_rate,
            "lstm": options.prune_rate,
            "output": options.prune_rate / 2,
        },
        rewind_epoch=options.rewind_epoch,
        test_data=test,
        seed=options.seed,
    )
    print(
        f"{len(train[0]):,} windows of {options.window} characters, {tickets.epochs} epochs to go"
    )
    model.fit(
        *train,
        batch_size=64,
        epochs=tickets.epochs,
        validation_data=validation,
        callbacks=[tickets],
        verbose=2 if sys.stdout.isatty() else 0,
    )
    lth_tf.summary(model)
    print(f"Figures: {program.command('report')} {tickets.run_dir.path}")


def build(window: int, units: int) -> "keras.Model":
    """Returns a model from characters, int [n, window], to logits of each one's successor."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((window,), dtype="int32"),
            layers.Embedding(len(manual.ALPHABET) + 1, 32, name="embedding"),
            layers.LSTM(units, return_sequences=True, name="lstm"),
            layers.Dense(len(manual.ALPHABET) + 1, name="output"),
        ],
        name="text",
    )


def examples(window: int, topics: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns training, validation and test examples.

    Args:
        window: characters of an example.
        topics: use only the first so many topics; 0 is all.

    Returns:
        For each split the characters and those that follow, int32 [n, window].
        One topic in ten is for validation, one for test.
    """
    if 0 < topics < 10:
        raise UsageError(f"Expected topics to be 0 or at least 10. Received: topics={topics}.")
    texts = manual.topics()[: topics or None]
    splits: tuple[list[str], ...] = ([], [], [])
    for i, text in enumerate(texts):
        splits[{8: 1, 9: 2}.get(i % 10, 0)].append(text)
    return [manual.windows(parts, window) for parts in splits]


if __name__ == "__main__":
    main()
