"""Do tickets of whole channels keep the accuracy? Beside tickets of weights and random channels.

    python -m experiments.studies.channels --examples=10000

Conv-2 on CIFAR-10, reduced: 600 iterations, 30 % of the channels (units of dense layers), or of the
weights, a level, the output layer left dense. Random channels start from the same weights.
Of a channel ticket `export.compact` leaves about the square of its density.

Found (one seed, 10,000 examples, a shared machine; experiments/measured/study_channels): channels
lose where weights do not. From 51.7 % dense, tickets of weights reach 53.1, 53.4 and 53.2 % at 70,
49 and 34 % of the weights; those of channels 49.4, 44.1 and 41.0. Random channels, 50.6, 43.6 and
40.0, differ from them by less than the sampling error of 2,000 test examples. All were still
learning when their 600 iterations ended.

Source:
    Frankle & Carbin 2019, arXiv:1803.03635, section 7 (that structured pruning would be faster);
    Liu et al. 2019, arXiv:1810.05270 (that architectures matter there, not weights).
"""

from lth_tf.lazy import lazy_imports

from ..conv2 import CONFIG as CONV2
from . import study

with lazy_imports():
    from .. import figures
    from . import marks

CONFIG = CONV2.replace(
    iterations=600,
    eval_interval=100,
    test_interval=0,
    levels=3,
    prune_rate_conv=0.3,
    prune_rate_fc=0.3,
    prune_rate_output=0.0,
)


def work(lab: study.Lab) -> study.Findings:
    """Trains both kinds of tickets, and random channels."""
    rows = []
    for granularity, controls in (("weight", {}), ("channel", {"random_masks": 1})):
        config = lab.config.replace(
            granularity=granularity, random_mask_weights="origin", **controls
        )
        config = config.replace(control_levels=tuple(range(1, config.levels + 1)))
        for run_dir in lab.train(config):
            for stage in run_dir.finished():
                kind = f"{granularity}s" + (", random" if stage.control else ", ticket")
                rows.append(study.row(run_dir, stage, kind=kind))
    figure = figures.Figure(
        "channels",
        "Tickets of channels and of weights",
        "Dots are means over seeds, lines reach from the smallest to the largest.",
        [marks.by_size(rows, "early_stop_accuracy", "Test accuracy at early stop (%)", "kind")],
        subject=lab.subject(),
    )
    return study.Findings(rows, COLUMNS, study.means(rows, ["kind", "level", "remaining"]), figure)


COLUMNS = {
    "kept or pruned as one": "kind",
    "level": "level",
    "% remaining": "remaining",
    "accuracy": "mean",
    "from": "low",
    "to": "high",
}


if __name__ == "__main__":
    study.main("channels", CONFIG, __doc__, work)
