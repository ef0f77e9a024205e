"""Does warm-up find a better mask or train it better? Masks of one training under the other.

    python -m experiments.studies.warmup

Iterative pruning at a high learning rate finds tickets with and without linear warm-up; then each
set of masks is trained in the other way too, from the same initial weights. If masks found with
warm-up win without it, the high rate spoils the choice of the mask and not the training.

The 20-layer residual network on CIFAR-10. Reduced: 10,000 images, 400 iterations of 64 in place of
30,000 of 128, half of the convolutions' weights a level in place of a fifth; 23 trainings a seed.

Found (one seed; experiments/measured/study_warmup): it was not the choice. Trained without
warm-up, masks found without it reach 51.9 and 58.8 % at 25.9 and 7.4 % of the weights, those found
with it 58.7 and 61.4, random ones 41.0 and 47.2, redrawn weights 42.3 and 39.6. Trained with it
they reach 51.2 and 55.5 (found without), 52.2 and 49.0 (with), 49.9 and 40.9, 47.9 and 39.0.
Tickets of both kinds won in both ways; between them a seed of so short a training decides nothing.

Source:
    Frankle & Carbin 2019, arXiv:1803.03635, section 4 (warm-up).
"""

from lth_tf.config import ExperimentConfig
from lth_tf.lazy import lazy_imports
from lth_tf.methods.retrain import Retrain
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage

from . import study

with lazy_imports():
    from .. import figures
    from . import marks

CONFIG = ExperimentConfig(
    network="resnet18",
    dataset="cifar10",
    iterations=400,
    batch_size=64,
    optimizer="momentum",
    learning_rate=0.1,
    warmup_iterations=200,
    weight_decay=1e-4,
    levels=4,
    scope="global",
    prune_rate_conv=0.5,
    prune_rate_output=0.0,
    eval_interval=50,
    replicates=2,
)
LEVELS = (2, 4)
NAMES = {0: "without warm-up", 1: "with warm-up"}


def work(lab: study.Lab) -> study.Findings:
    """Finds tickets in both ways and trains each in both."""
    ways = [lab.config.replace(warmup_iterations=0), lab.config]
    rows = []
    for seed in lab.seeds:
        found = [
            lab.train_one(way.replace(random_masks=1, reinits=1, control_levels=LEVELS), seed)
            for way in ways
        ]
        for trained, way in enumerate(ways):
            for control, masks in CONTROLS.items():
                rows += _rows(found[trained], LEVELS, control, trained, masks)
            rows += _rows(found[trained], LEVELS, "", trained, f"found {NAMES[trained]}")
            other = 1 - trained
            method = Retrain(ticket=str(found[other].path), level=LEVELS)
            swapped = lab.train_one(
                way.replace(method=method), seed, f"masks_{NAMES[other]}".replace(" ", "_")
            )
            rows += _rows(swapped, (1, 2), "", trained, f"found {NAMES[other]}")
    charts = [
        marks.ranked(
            [row for row in rows if row["trained"] == trained and row["size"] == size],
            "masks",
            f"trained {trained}, {size} left",
        )
        for trained in NAMES.values()
        for size in dict.fromkeys(row["size"] for row in rows)
    ]
    figure = figures.Figure(
        "warmup",
        "Masks found with and without warm-up, each trained in both ways",
        "Dots are means over seeds, lines reach from the smallest to the largest.",
        charts,
        subject=f"{lab.subject()}, learning rate {lab.config.learning_rate:g}",
    )
    return study.Findings(rows, COLUMNS, study.means(rows, ["trained", "size", "masks"]), figure)


CONTROLS = {"random_0": "random", "reinit_0": "found so, weights redrawn"}
COLUMNS = {
    "trained": "trained",
    "left": "size",
    "masks": "masks",
    "accuracy": "mean",
    "from": "low",
    "to": "high",
}


def _rows(
    run_dir: RunDir, levels: tuple[int, ...], control: str, trained: int, masks: str
) -> list[study.Row]:
    found = []
    for level in levels:
        stage = Stage(level, control)
        size = f"{100 * run_dir.summary(stage)['density']:.0f} %"
        names = {"trained": NAMES[trained], "size": size, "masks": masks}
        found.append(study.row(run_dir, stage, **names))
    return found


if __name__ == "__main__":
    study.main("warmup", CONFIG, __doc__, work, study.StudyOptions(examples=10_000))
