"""Does a ticket found on one data set learn another one? MNIST to a set of its shape, and back.

    python -m experiments.studies.transfer
    python -m experiments.studies.transfer --other=fashion_mnist

Iterative pruning finds tickets on both; each ticket is trained on the other from the same
initial weights, beside the tickets that were found there and random masks of the same sizes.
LeNet, reduced as in `experiments.studies.methods`. The other set is scikit-learn's digits, resized,
because it needs no download: 1,237 digits to train on, so the two sets are of one task and
unequal size.

Found (one seed; experiments/measured/study_transfer): hardly. On MNIST the digits' tickets are 3.0,
5.1 and 8.7 points below MNIST's own at 18.9, 3.6 and 1.2 %, next to random masks at the first two
and 9.5 points above them at 1.2 %. On the digits MNIST's tickets are 0.6, 1.9 and 3.6 points below
the digits' own, where random masks are 0.6, 0.8 and 4.7: the larger set's tickets are of no more
use, other than in the source, whose sets are natural images and whose tickets are rewound late.
About 5 minutes of a core.

Source:
    Morcos et al. 2019, arXiv:1906.02773 (larger source sets transfer better).
"""

import dataclasses

from lth_tf.lazy import lazy_imports
from lth_tf.methods.retrain import Retrain
from lth_tf.options import option
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage

from . import study
from .methods import CONFIG, LEVELS

with lazy_imports():
    from .. import figures
    from . import marks


@dataclasses.dataclass(frozen=True)
class TransferOptions(study.StudyOptions):
    """Which data sets, and where the results go."""

    other: str = option("digits", "The other data set, of the same shape.")


def work(lab: study.Lab[TransferOptions]) -> study.Findings:
    """Finds tickets on both data sets and trains each on both."""
    here, there = lab.config.dataset, lab.own.other
    rows = []
    for seed in lab.seeds:
        found = {
            name: lab.train_one(
                lab.config.replace(dataset=name, random_masks=1, control_levels=LEVELS), seed
            )
            for name in (here, there)
        }
        for target, source in ((here, there), (there, here)):
            rows += _own(found[target], target)
            moved = lab.train_one(
                lab.config.replace(
                    method=Retrain(ticket=str(found[source].path), level=LEVELS), dataset=target
                ),
                seed,
                f"tickets_of_{source}",
            )
            rows += [
                _row(moved, Stage(level), target, f"found on {source}")
                for level in range(1, len(LEVELS) + 1)
            ]
    charts = [
        marks.ranked(
            [row for row in rows if row["target"] == target and row["size"] == size],
            "masks",
            f"trained on {target}, {size} left",
        )
        for target in (here, there)
        for size in dict.fromkeys(row["size"] for row in rows)
    ]
    figure = figures.Figure(
        "transfer",
        "Tickets on another data set",
        "Dots are means over seeds, lines reach from the smallest to the largest.",
        charts,
        subject=f"{lab.subject()}; and {there}",
    )
    table = study.means(rows, ["target", "size", "masks"])
    return study.Findings(rows, COLUMNS, table, figure)


COLUMNS = {
    "trained on": "target",
    "left": "size",
    "masks": "masks",
    "accuracy": "mean",
    "from": "low",
    "to": "high",
}


def _own(run_dir: RunDir, target: str) -> list[study.Row]:
    return [
        _row(run_dir, Stage(level, control), target, masks)
        for level in LEVELS
        for control, masks in (("", f"found on {target}"), ("random_0", "random"))
    ]


def _row(run_dir: RunDir, stage: Stage, target: str, masks: str) -> study.Row:
    size = f"{100 * run_dir.summary(stage)['density']:.1f} %"
    return study.row(run_dir, stage, target=target, size=size, masks=masks)


if __name__ == "__main__":
    study.main("transfer", CONFIG, __doc__, work, TransferOptions())
