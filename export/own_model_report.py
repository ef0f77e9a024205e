"""What `python -m export.prune` prints, in 80 columns."""

import pathlib
import time

import keras

from lth_tf.cli import program
from lth_tf.cli.table import Column, table
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets import judging

from . import metrics, ticket
from .artifact import Artifact
from .config import PruneOptions
from .examples import Examples

PRUNED = "pruned.keras"


class Progress(keras.callbacks.Callback):
    """Prints a line an epoch."""

    def __init__(self, run_dir: RunDir, epochs: int, metric: str):
        super().__init__()
        self._run_dir = run_dir
        self._epochs = epochs
        self._metric = metric
        self._began = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Looks at the clock."""
        self._began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Prints what the epoch came to."""
        logs = logs or {}
        level = len([s for s in self._run_dir.finished() if not s.control])
        logs = logs or {}
        value = judging.text(logs[f"val_{self._metric}"], self._metric)
        print(
            f"level {level}, epoch {epoch + 1} of {self._epochs}: loss {logs['loss']:.4g}, "
            f"held out {value}, {time.monotonic() - self._began:.0f} s",
            flush=True,
        )


def head(
    file: pathlib.Path,
    model: keras.Model,
    run_dir: RunDir,
    parts: tuple[Examples, Examples],
    epochs: int,
    options: PruneOptions,
) -> None:
    """Prints what is trained on what, and where the results go."""
    train, held_out = parts
    optimizer = type(model.optimizer).__name__
    pruned = f"{options.method.label()} to {100 * options.density:g} %"
    if options.density == 1:
        pruned = "nothing is pruned"
    print(
        f"{file.name}: {model.count_params():,} weights, optimizer {optimizer}\n"
        f"{len(train):,} examples to train on, {len(held_out):,} held out\n"
        f"{pruned}, {epochs} epochs to go\n"
        f"results: {run_dir.path}",
        flush=True,
    )


def levels(run_dir: RunDir, before: dict[str, float], after: dict[str, float]) -> None:
    """Prints how good the model was, each level is, and the file is, on the part held out."""
    stages = [stage for stage in run_dir.finished() if not stage.control]
    metric, _ = judging.judged_by(run_dir.summary(stages[0]))
    columns = [Column("held out", left=True), Column("% left"), Column(metric), Column("loss")]
    rows = [["as given", "100.00", _number(before[metric], metric), f"{before['loss']:.4f}"]]
    for stage in stages:
        summary, history = run_dir.summary(stage), run_dir.history(stage)
        rows.append(
            [
                f"level {stage.level}" + (", trained on" if stage == Stage(0) else ""),
                f"{100 * summary['density']:.2f}",
                _number(summary["final_test_accuracy"], metric),
                f"{history['validation_loss'][-1]:.4f}",
            ]
        )
    rows.append([PRUNED, rows[-1][1], _number(after[metric], metric), f"{after['loss']:.4f}"])
    print(f"\n{table(columns, rows)}")
    others = [
        f"{name} {before[name]:.5g} -> {after[name]:.5g}"
        for name in before
        if name not in (metric, "loss")
    ]
    for line in others:
        print(line)


def _number(value: float, metric: str) -> str:
    """Returns a metric's value for a column that its name stands above."""
    return f"{100 * value:.2f} %" if judging.is_accuracy(metric) else f"{value:.5g}"


def files(
    file: pathlib.Path,
    run_dir: RunDir,
    artifacts: list[Artifact],
    held_out: Examples,
) -> None:
    """Prints sizes of files, and how those exported decide."""
    rows = [
        [str(file), f"{file.stat().st_size:,}", "-", "-"],
        [PRUNED, f"{(run_dir.path / PRUNED).stat().st_size:,}", "-", "-"],
    ]
    judge = ticket.judge_of(run_dir.path / PRUNED)
    for artifact in artifacts:
        dense = artifact.size.dense_bytes
        value = metrics.score(artifact.verification.named_outputs, held_out.labels, judge)
        name = str(artifact.path.relative_to(run_dir.path))
        rows.append([name, f"{artifact.size.bytes:,}", f"{dense:,}" if dense else "-", value])
    columns = [
        Column("file", left=True, shrink=True),
        Column("bytes"),
        Column("if dense", drop=1),
        Column("held out"),
    ]
    print(f"\n{table(columns, rows)}\n")
    for artifact in artifacts:
        for remark in artifact.remarks:
            print(remark)
        share = 100 * artifact.verification.agreement
        print(f"{artifact.path.name}: {share:.2f} % of the decisions are the model's")
    print(f"Everything is in {run_dir.path}")
    print(f"Figures: {program.command('report')} {run_dir.path}")
