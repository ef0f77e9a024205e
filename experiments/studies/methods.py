"""Which way of finding tickets is best, and at what cost? Every method and control side by side.

    python -m experiments.studies.methods
    python -m experiments.studies.methods --iterations=50000 --replicates=5    # the paper's length

LeNet on MNIST at three sizes; every method trains the found network for as many iterations as
the dense one. Cost is what is trained until a ticket of that size is trained too, in units
of one dense training. Controls are those of iterative magnitude pruning. Reduced: 1,000
iterations a level in place of 50,000, and levels that prune 43 % in place of 20 %.

Found (three seeds, a shared machine; experiments/measured/study_methods): iterative pruning and
learning-rate rewinding are ahead at every size, for 4 to 9 trainings; of what costs less, one-shot
and Early-Bird down to 3.6 % and gradual pruning at 1.2 %. Pruning at initialization is 2 points
below iterative pruning at 18.9 % and 5 or more at 1.2 %. Late rewinding found the network
stable at iteration 0 and is iterative pruning. Other than in the literature, RigL is not ahead
of SET, GraSP is below random masks of ERK densities, and concrete search, which has 250
iterations here, is not ahead at 1.2 %. The rate is constant, so fine-tuning is learning-rate
rewinding. Seeds are 0.6 points apart in the median; about 6 minutes of a core a seed.
"""

import dataclasses
from collections.abc import Iterator

from lth_tf.config import CONTROLS, ExperimentConfig
from lth_tf.lazy import lazy_imports
from lth_tf.methods.continuous_sparsification import ContinuousSparsification
from lth_tf.methods.late_rewinding import LateRewinding
from lth_tf.methods.supermask import Supermask
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import FORK, SEARCH, Stage
from lth_tf.tickets.procedure import control_label, control_names

from . import study

with lazy_imports():
    from .. import figures
    from . import marks

# Levels of 2.5 rounds of the paper's rates each: 19, 3.6 and 1.2 % are the third, sixth and eighth.
CONFIG = ExperimentConfig(
    network="lenet",
    dataset="mnist",
    iterations=1_000,
    levels=8,
    prune_rate_fc=0.4276,
    prune_rate_output=0.2316,
    replicates=3,
)
LEVELS = (3, 6, 8)

ITERATIVE = "trained, pruned, trained again"
AT_INIT = "pruned before training"
LEARNED = "masks are learned"
DYNAMIC = "pruned while training"
UNTRAINED = "weights are never trained"
CONTROL = "control of iterative pruning"


@dataclasses.dataclass(frozen=True)
class Variant:
    """A way to find tickets.

    Attributes:
        name: in tables and figures.
        kind: what it has in common with others.
        config: what is run.
        levels: those whose numbers count.
    """

    name: str
    kind: str
    config: ExperimentConfig
    levels: tuple[int, ...]


def variants(config: ExperimentConfig, densities: tuple[float, ...]) -> Iterator[Variant]:
    """Yields every way to find tickets of some densities.

    Args:
        config: iterative magnitude pruning that reaches them at `LEVELS`.
        densities: what these levels keep.
    """

    def by_levels(name: str, **changes: object) -> Variant:
        return Variant(name, ITERATIVE, config.replace(**changes), LEVELS)

    def at_densities(name: str, kind: str, **changes: object) -> Variant:
        changed = config.replace(final_density=densities, **changes)
        return Variant(name, kind, changed, tuple(range(1, len(densities) + 1)))

    controls = {dataclasses.fields(kind)[0].name: 1 for kind in CONTROLS.items().values()}
    yield by_levels("iterative", control_levels=LEVELS, **controls)
    yield by_levels("late rewinding", method="late_rewinding")
    yield by_levels("learning-rate rewinding", method="learning_rate_rewinding")
    if config.lr_drops or config.warmup_iterations:  # else it is learning-rate rewinding
        yield by_levels("fine-tuning", method="fine_tuning")
    yield by_levels("one-shot", method="oneshot")
    yield at_densities("Early-Bird", ITERATIVE, method="early_bird")
    for name, changes in AT_INIT_VARIANTS.items():
        yield at_densities(name, AT_INIT, method="at_init", **changes)
    yield at_densities("continuous sparsification", LEARNED, method="continuous_sparsification")
    yield at_densities("concrete ticket search", LEARNED, method="concrete_search")
    often = max(1, min(100, config.iterations // 20))
    yield at_densities("gradual pruning", DYNAMIC, method="gradual", prune_frequency=often)
    yield at_densities("RigL", DYNAMIC, method="rigl")
    yield at_densities("SET", DYNAMIC, method="set")
    yield at_densities("edge-popup", UNTRAINED, method="edge_popup")
    yield Variant("supermask", UNTRAINED, config.replace(method="supermask"), (1,))


AT_INIT_VARIANTS: dict[str, dict[str, str]] = {
    "SNIP": {"criterion": "snip", "scope": "global"},
    "GraSP": {"criterion": "grasp", "scope": "global"},
    "SynFlow": {"criterion": "synflow", "scope": "global"},
    "magnitude at initialization": {"criterion": "magnitude"},
    "random, ERK": {"criterion": "random", "scope": "erk"},
    "random, smart ratio": {"criterion": "random", "scope": "smart_ratio"},
}


def trained_for(run_dir: RunDir, level: int) -> list[Stage]:
    """Returns the trainings that a ticket takes, its own the last."""
    method = run_dir.config().method
    source = method.needs(level)
    found = [] if source is None else trained_for(run_dir, source)
    if isinstance(method, LateRewinding) and not level:
        found += [stage for stage in run_dir.finished() if stage.control.startswith(f"{FORK}_")]
    # Each search of continuous sparsification goes on from the last.
    first = 1 if isinstance(method, ContinuousSparsification) else level
    if level and method.searches(level):
        found += [Stage(each, SEARCH) for each in range(first, level + 1)]
    return [*found, Stage(level)]


def cost(run_dir: RunDir, level: int) -> float:
    """Returns what a ticket takes to be found and trained, in units of one dense training."""
    iterations = sum(run_dir.summary(each)["iterations"] for each in trained_for(run_dir, level))
    return iterations / run_dir.config().iterations


def rows_of(variant: Variant, run_dir: RunDir, sizes: tuple[float, ...]) -> Iterator[study.Row]:
    """Yields the numbers of a variant's run and of the controls that the variant asks for.

    The run may have more: studies share their runs.

    Args:
        variant: what was run.
        run_dir: one seed of it.
        sizes: percentages that rows are grouped by, one a level that counts.
    """
    yield study.row(run_dir, Stage(0), variant=variant.name, kind=variant.kind, size=100.0, cost=1)
    # A supermask finds its own size.
    own = isinstance(variant.config.method, Supermask)
    for level, size in zip(variant.levels, sizes, strict=False):
        for control in ("", *control_names(variant.config)):
            stage = Stage(level, control)
            names = {"variant": variant.name, "kind": variant.kind}
            if stage.control:
                names = {"variant": control_label(stage.control), "kind": CONTROL}
            paid = None if stage.control else round(cost(run_dir, level), 3)
            yield study.row(run_dir, stage, **names, size=None if own else size, cost=paid)


def work(lab: study.Lab) -> study.Findings:
    """Trains every variant and compares them."""
    densities = lab.densities(lab.config, LEVELS)
    sizes = tuple(round(100 * density, 1) for density in densities)
    rows = [
        row
        for seed in lab.seeds
        for variant in variants(lab.config, densities)
        for row in rows_of(variant, lab.train_one(variant.config, seed), sizes)
    ]
    dense = [
        row["early_stop_accuracy"]
        for row in rows
        if row["variant"] == "iterative" and row["size"] == 100
    ]
    reference = ("the dense network", round(100 - sum(dense) / len(dense), 2))
    charts = [
        marks.ranked(
            [row for row in rows if row["size"] in (size, None)],
            "variant",
            f"{size:g} % of the weights",
            colour="kind",
            reference=reference,
        )
        for size in sizes
    ]
    figure = figures.Figure(
        "methods",
        "Ways to find tickets, side by side",
        "Dots are means over seeds, lines reach from the smallest to the largest. The supermask "
        "finds its own size and is the same in all three.",
        charts,
        subject=lab.subject(),
    )
    return study.Findings(rows, COLUMNS, _summary(rows, sizes), figure)


COLUMNS = {
    "way": "variant",
    "% left": "size",
    "accuracy": "mean",
    "from": "low",
    "to": "high",
    "cost": "cost",
}


def _summary(rows: list[study.Row], sizes: tuple[float, ...]) -> list[study.Row]:
    """Returns the mean of every way at every size, the best first, with its cost."""
    found = []
    for size in sizes:
        of_size = [row for row in rows if row["size"] in (size, None)]
        paid = {
            row["variant"]: row
            for row in study.means(
                [row for row in of_size if row["cost"] is not None], ["variant"], "cost"
            )
        }
        for mean in sorted(study.means(of_size, ["variant"]), key=lambda each: -each["mean"]):
            spent = paid.get(mean["variant"])
            found.append({**mean, "size": f"{size:g}", "cost": spent and spent["mean"]})
    return found


if __name__ == "__main__":
    study.main("methods", CONFIG, __doc__, work)
