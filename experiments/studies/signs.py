"""Is it the sign of a ticket's weights or their value? Weights redrawn with and without the sign.

    python -m experiments.studies.signs

The masks of iterative pruning with six kinds of starting weights: the ticket's own, the ticket's
with noise, new ones with the ticket's signs, one value a layer with the ticket's signs, new ones
of the survivors' distribution, and new ones. LeNet on MNIST, reduced as in
`experiments.studies.methods`, whose runs are used.

Found (three seeds; experiments/measured/study_signs): it is the sign. With it kept, redrawn values
or one value a layer lose 0.1 to 0.5 points at 18.9, 3.6 and 1.2 % of the weights; with it redrawn
2.9, 3.4 and 4.4. The survivors' distribution does not replace it (2.4 to 3.7).

Source:
    Zhou et al. 2019, arXiv:1905.01067, section 4; Frankle & Carbin 2019, arXiv:1803.03635,
    appendix F.
"""

from lth_tf.lazy import lazy_imports
from lth_tf.runs.stage import Stage

from . import study
from .methods import CONFIG, LEVELS

with lazy_imports():
    from .. import figures
    from . import marks

STARTS = {
    "": "value and sign kept",
    "noise_0": "value with noise",
    "same_sign_0": "sign kept, value redrawn",
    "constant_0": "sign kept, one value a layer",
    "survivors_0": "redrawn from the survivors",
    "reinit_0": "value and sign redrawn",
}
CONTROLS = {
    "noises": 1,
    "same_sign_reinits": 1,
    "constants": 1,
    "survivor_reinits": 1,
    "reinits": 1,
}


def work(lab: study.Lab) -> study.Findings:
    """Trains iterative pruning with these controls."""
    config = lab.config.replace(control_levels=LEVELS, **CONTROLS)
    rows = [
        study.row(run_dir, Stage(level, control), start=start, size=f"{percent:g} %")
        for run_dir in lab.train(config)
        for level in LEVELS
        for percent in [round(100 * run_dir.summary(Stage(level))["density"], 1)]
        for control, start in STARTS.items()
    ]
    charts = [
        marks.ranked([row for row in rows if row["size"] == size], "start", f"{size} left")
        for size in dict.fromkeys(row["size"] for row in rows)
    ]
    figure = figures.Figure(
        "signs",
        "Sign or value of a ticket's weights",
        "Dots are means over seeds, lines reach from the smallest to the largest.",
        charts,
        subject=lab.subject(),
    )
    return study.Findings(rows, COLUMNS, study.means(rows, ["size", "start"]), figure)


COLUMNS = {
    "left": "size",
    "starting weights": "start",
    "accuracy": "mean",
    "from": "low",
    "to": "high",
}


if __name__ == "__main__":
    study.main("signs", CONFIG, __doc__, work)
