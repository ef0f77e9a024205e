"""From when on is a network stable to the order of its batches? Error barriers by iteration.

    python -m experiments.studies.stability
    python -m experiments.studies.stability --network=resnet18 --iterations=30000

The dense network is trained; copies that are one with it up to iteration k see other batches from
there on. The barrier is the rise of the validation error on the straight line between the two
results; below 2 % the network is stable, and rewinding there gives tickets. Drawn at a high and
at a low learning rate.

A residual network on CIFAR-10, reduced as in `experiments.studies.warmup`.

Source:
    Frankle et al. 2020, arXiv:1912.05671, Figure 3.
"""

from collections.abc import Iterator

from lth_tf.config import ExperimentConfig
from lth_tf.lazy import lazy_imports

from .. import cli
from . import study, warmup

with lazy_imports():
    import altair as alt

    from lth_tf import tensorflow_internals
    from lth_tf.masking import model as masking
    from lth_tf.tickets import find, learner, stability

    from .. import figures
    from ..figures import marks

CONFIG = warmup.CONFIG.replace(warmup_iterations=0, controls=())
CANDIDATES = (0.0, 0.02, 0.1, 0.3, 0.7)
RATES = (1.0, 0.1)
"""Parts of the config's learning rate that are looked at."""


def work(lab: study.Lab) -> study.Findings:
    """Trains the network and its copies."""
    rows = [
        row
        for seed in lab.seeds
        for part in RATES
        for row in _rows(lab, lab.config.replace(seed=seed, replicates=1), part)
    ]
    x = alt.X("iteration:Q", title="Iteration up to which the two are one")
    chart = marks.mean_and_band(
        rows, x, "barrier", "Error barrier (points)", alt.Color("rate:N", title=None)
    )
    stable = alt.Chart(alt.Data(values=[{"y": 100 * stability.STABLE}]))
    line = stable.mark_rule(strokeDash=[5, 4], color="#666").encode(alt.Y("y:Q"))
    figure = figures.Figure(
        "stability",
        "When a network is stable to the order of its batches",
        "Lines are means over seeds, bands reach from the smallest to the largest. Dashed: 2 "
        "points, below which it is called stable.",
        [alt.layer(chart, line)],
        subject=lab.subject(),
    )
    return study.Findings(
        rows, COLUMNS, study.means(rows, ["rate", "iteration"], "barrier"), figure
    )


COLUMNS = {
    "learning rate": "rate",
    "from iteration": "iteration",
    "barrier": "mean",
    "least": "low",
    "most": "high",
}


def _rows(lab: study.Lab, config: ExperimentConfig, part: float) -> Iterator[study.Row]:
    """Yields the barriers of one seed at a part of the learning rate, in points."""
    config = config.replace(learning_rate=config.learning_rate * part, levels=0)
    data, run_dir = lab.data(config), lab.run_dir(config)
    options = lab.options
    with (
        run_dir.writing(config, cli.about_run(data, options)),
        tensorflow_internals.released_functions(),
    ):
        model = find.new_model(config, data, "init")
        setup = learner.Setup(
            config,
            data,
            run_dir,
            model,
            options.jit,
            options.step,
            options.checkpoint_seconds,
            new_model=lambda: find.new_model(config, data, "init"),
        )
        trains, initial = find.trainer_learner(setup), masking.get_weights(model)
        tried = [round(each * config.iterations) for each in CANDIDATES]
        for iteration, rise in stability.barriers(setup, trains, initial, tried):
            print(f"{run_dir.path.parent.name}, seed {config.seed}, {iteration}: {rise:.4f}")
            yield {
                "rate": f"{config.learning_rate:g}",
                "seed": config.seed,
                "iteration": iteration,
                "barrier": round(100 * rise, 2),
            }


if __name__ == "__main__":
    study.main("stability", CONFIG, __doc__, work, study.StudyOptions(examples=10_000))
