"""Does a method choose weights or only how many a layer keeps? Shuffled and redrawn tickets.

    python -m experiments.studies.sanity

Tickets of iterative pruning, SNIP and SynFlow beside three controls of each: the mask shuffled
within each layer (on new weights), the weights shuffled within each layer, all weights drawn
anew. A method that loses nothing by them has found layer sizes, not weights. LeNet on MNIST,
reduced as in `experiments.studies.methods`, whose runs are used.

Found (two seeds; experiments/measured/study_sanity): a ticket of iterative pruning loses 2.4, 3.3
and 3.3 points at 18.9, 3.6 and 1.2 % when its weights are shuffled by layer, and 3.0, 3.2 and 4.4
when they are drawn anew. SNIP and SynFlow lose at most 0.1, 0.5 and 0.9 points, most of it inside
the spread of two seeds: they have found layer sizes, as the sources say. What none of them
survives at 1.2 % is a random mask, which loses 3 to 17 points.
About 3 minutes of a core beside the runs of `experiments.studies.methods`.

Source:
    Frankle et al. 2021, arXiv:2009.08576, section 5; Su et al. 2020, arXiv:2009.11094.
"""

from lth_tf.lazy import lazy_imports
from lth_tf.runs.stage import Stage
from lth_tf.tickets.procedure import control_label

from . import study
from .methods import AT_INIT_VARIANTS, CONFIG, LEVELS

with lazy_imports():
    from .. import figures
    from . import marks

CONTROLS = {"random_masks": 1, "layer_shuffles": 1, "reinits": 1}
NAMES = ("", "random_0", "layer_shuffle_0", "reinit_0")


def work(lab: study.Lab) -> study.Findings:
    """Trains the three methods with their controls."""
    densities = lab.densities(lab.config, LEVELS)
    chosen = [("iterative", lab.config.replace(control_levels=LEVELS, **CONTROLS), LEVELS)]
    for name in ("SNIP", "SynFlow"):
        config = lab.config.replace(
            method="at_init",
            final_density=densities,
            control_levels=(1, 2, 3),
            **AT_INIT_VARIANTS[name],
            **CONTROLS,
        )
        chosen.append((name, config, (1, 2, 3)))
    rows = [
        row
        for name, config, levels in chosen
        for run_dir in lab.train(config)
        for level, density in zip(levels, densities, strict=True)
        for row in _rows(run_dir, name, level, round(100 * density, 1))
    ]
    sizes = sorted({row["size"] for row in rows}, reverse=True)
    charts = [
        marks.ranked(
            [
                {**row, "what": f"{row['method']}, {row['trained']}"}
                for row in rows
                if row["size"] == size
            ],
            "what",
            f"{size:g} % remaining",
            colour="method",
        )
        for size in sizes
    ]
    figure = figures.Figure(
        "sanity",
        "Which methods lose by shuffling and redrawing",
        "Dots are means over seeds, lines reach from the smallest to the largest.",
        charts,
        subject=lab.subject(),
    )
    return study.Findings(rows, COLUMNS, _compared(rows), figure)


COLUMNS = {
    "method": "method",
    "% left": "size",
    "trained": "trained",
    "accuracy": "mean",
    "from": "low",
    "to": "high",
    "points lost": "lost",
}


def _rows(run_dir: study.RunDir, name: str, level: int, size: float) -> list[study.Row]:
    names = {"method": name, "size": size}
    return [
        study.row(
            run_dir, Stage(level, control), **names, trained=control_label(control) or "the ticket"
        )
        for control in NAMES
    ]


def _compared(rows: list[study.Row]) -> list[study.Row]:
    """Returns the means, and what a control is below its ticket, in points."""
    found = study.means(rows, ["method", "size", "trained"])
    tickets = {(m["method"], m["size"]): m for m in found if m["trained"] == "the ticket"}
    return [
        {
            **mean,
            "size": f"{mean['size']:g}",
            "lost": tickets[mean["method"], mean["size"]]["mean"] - mean["mean"],
        }
        for mean in found
    ]


if __name__ == "__main__":
    study.main("sanity", CONFIG, __doc__, work)
