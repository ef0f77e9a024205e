"""How good is a network whose weights are never trained, only chosen? Masks on initial weights.

    python -m experiments.studies.supermasks

Accuracy on the validation data without any training of a weight: of the dense network; of tickets
as they are rewound, with their own values and with one value a layer of their sign; and of masks
that are themselves trained (edge-popup at three sizes, the supermask at the size it finds). LeNet
on MNIST, reduced as in `experiments.studies.methods`, whose runs are used.

Found (two seeds, 5,000 validation images; experiments/measured/study_supermasks): choosing weights
is a training of its own. Untrained, all weights have 9 %, tickets of iterative pruning 90, 79 and
77 % at 18.9, 3.6 and 1.2 % of the weights, and no less with one value a layer (90, 81 and 82 %):
masks and signs say it. Those of one-shot pruning by magnitude and sign have as much at 18.9 % (84
and 90 %) and little at 1.2 % (25 and 28 %). Masks that are trained have more: edge-popup 94 % at
10 % of the weights, the supermask 92 % at the 47 % that it finds.

Source:
    Zhou et al. 2019, arXiv:1905.01067, sections 4 and 5 (about 86 % for masks chosen by final
    magnitude and sign, above 95 % for trained ones); Ramanujan et al. 2020, arXiv:1911.13299.
"""

import statistics

from lth_tf.lazy import lazy_imports
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage

from ..results import percent
from . import study
from .methods import CONFIG, LEVELS

with lazy_imports():
    from .. import figures
    from . import marks

EDGE_DENSITIES = (0.5, 0.3, 0.1)


def work(lab: study.Lab) -> study.Findings:
    """Trains tickets and masks; looks at the weights before training, or at the masks after."""
    config = lab.config
    chosen = {"final magnitude": config.replace(control_levels=LEVELS, constants=1)}
    chosen["final magnitude, sign kept"] = config.replace(
        method="oneshot", criterion="magnitude_same_sign", control_levels=LEVELS, constants=1
    )
    rows = []
    for name, variant in chosen.items():
        for run_dir in lab.train(variant):
            for level in LEVELS:
                rows += [
                    _row(run_dir, Stage(level), f"{name}: own values", 0),
                    _row(run_dir, Stage(level, "constant_0"), f"{name}: one value a layer", 0),
                ]
            if name == "final magnitude":
                rows.append(_row(run_dir, Stage(0), "all weights", 0))
    for run_dir in lab.train(config.replace(method="edge_popup", final_density=EDGE_DENSITIES)):
        rows += [_row(run_dir, Stage(n), "edge-popup", -1) for n in (1, 2, 3)]
    found = [
        _row(run_dir, Stage(1), "supermask", -1)
        for run_dir in lab.train(config.replace(method="supermask"))
    ]
    # The size that a supermask finds differs from seed to seed.
    size = round(statistics.mean(row["remaining"] for row in found), 1)
    rows += [{**row, "remaining": size} for row in found]
    table = sorted(study.means(rows, ["masks", "remaining"], "accuracy"), key=lambda m: -m["mean"])
    figure = figures.Figure(
        "supermasks",
        "Accuracy of untrained weights",
        "On the validation data. Dots are means over seeds, lines reach from the smallest to the "
        "largest.",
        [marks.by_size(rows, "accuracy", "Validation accuracy (%)", "masks")],
        subject=lab.subject(),
    )
    return study.Findings(rows, COLUMNS, table, figure)


COLUMNS = {
    "masks": "masks",
    "% left": "remaining",
    "accuracy": "mean",
    "from": "low",
    "to": "high",
}


def _row(run_dir: RunDir, stage: Stage, masks: str, evaluation: int) -> study.Row:
    """Returns the accuracy of an evaluation of a stage, the first being before training."""
    found = run_dir.history(stage)["validation_accuracy"][evaluation]
    return {
        "masks": masks,
        "seed": run_dir.config().seed,
        "remaining": round(percent(run_dir.summary(stage)["density"]), 1),
        "accuracy": round(100 * float(found), 2),
    }


if __name__ == "__main__":
    study.main("supermasks", CONFIG, __doc__, work)
