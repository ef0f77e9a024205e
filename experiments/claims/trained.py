"""What was trained with one seed, and which runs a claim is about."""

import dataclasses
import functools
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lth_tf.cli.program import command
from lth_tf.config import CONTROLS, ExperimentConfig
from lth_tf.errors import UsageError
from lth_tf.methods.retrain import Retrain
from lth_tf.runs.run_dir import RunDir

from ..default_config import default_config
from ..results import Run, level_rows

# Fields of `results.level_rows`.
Point = Mapping[str, Any]

REDUCIBLE = (
    "iterations",
    "lr_drops",
    "warmup_iterations",
    "prune_rate_conv",
    "prune_rate_fc",
    "prune_rate_output",
    "precision",
    "eval_interval",
)
"""Fields in which a run may differ from the paper's and still say something of its claims."""

# Only how often the test data are looked at, and what `label` says of the method.
_IGNORED = ("seed", "test_interval", "validation_size", "method", "strategy", "start")
NEAR = 1.13
"""Ratio of two sizes that count as one: a little more than half of a level of 20 %."""


class MissingError(Exception):
    """There is no such training."""


@dataclasses.dataclass(frozen=True)
class Needed:
    """Runs of the paper.

    Attributes:
        network: whose program has the paper's values.
        changes: field -> value in place of them.
        preset: name of the program's own changes.
        more: flags that change no result, e.g. {"reinits": 3}.
        masks_of: runs whose tickets are trained again, in `experiments.retrain`.
    """

    network: str
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    preset: str = ""
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    masks_of: "Needed | None" = None

    @functools.cached_property
    def config(self) -> ExperimentConfig:
        """The paper's config."""
        config, presets = default_config(self.network)
        return config.replace(**(presets[self.preset] if self.preset else {}), **self.changes)

    @property
    def command(self) -> str:
        """The command line that trains them, with one seed.

        Example:
        >>> Needed("conv2", {"learning_rate": 2e-05}, more={"reinits": 3}).command.split()[-2:]
        ['--learning_rate=2e-05', '--reinits=3']
        """
        flags = {**({"preset": self.preset} if self.preset else {}), **self.changes, **self.more}
        words = [f"--{name}={_flag(value)}" for name, value in flags.items()]
        program = self.network if self.masks_of is None else "retrain"
        return " ".join([command(program), *map(shlex.quote, words)])


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How runs differ from the paper's.

    Attributes:
        reductions: (field, value, the paper's value), sorted; none for the paper's protocol.
    """

    reductions: tuple[tuple[str, Any, Any], ...]

    @property
    def word(self) -> str:
        """Full or reduced."""
        return "reduced" if self.reductions else "full"

    @property
    def text(self) -> str:
        """The reductions in words.

        Example:
        >>> Protocol((("iterations", 6000, 20000), ("precision", "bfloat16", "float32"))).text
        'iterations 6,000 for 20,000, precision bfloat16 for float32'
        """
        return ", ".join(
            f"{name.replace('_', ' ')} {_word(value)} for {_word(paper)}"
            for name, value, paper in self.reductions
        )

    @property
    def share(self) -> float:
        """Iterations as a fraction of the paper's."""
        return next((v / paper for name, v, paper in self.reductions if name == "iterations"), 1.0)


class Trained:
    """What was trained with one seed.

    Args:
        rows: of `results.level_rows`, percentages and accuracies in percent.
    """

    def __init__(self, rows: Iterable[Point]):
        self.rows = list(rows)

    @property
    def dense(self) -> Point:
        """The dense network.

        Raises:
            MissingError: if there is none.
        """
        return self.ticket(100)

    def ticket(self, percent: float) -> Point:
        """Returns the ticket that is nearest to a percentage of the weights.

        Raises:
            MissingError: if none is near.
        """
        return self._nearest(percent, "")[0]

    def control(self, kind: str, percent: float) -> Point:
        """Returns the mean of a level's controls of one kind, e.g. of its reinitializations.

        Raises:
            MissingError: if there is none near that percentage of the weights.
        """
        rows = self._nearest(percent, kind)
        numbers = [name for name, value in rows[0].items() if isinstance(value, (int, float))]
        return {name: sum(row[name] for row in rows) / len(rows) for name in numbers}

    def tickets(self, high: float, low: float) -> dict[int, Point]:
        """Returns level -> ticket with at most `high` and at least `low` percent of the weights.

        Raises:
            MissingError: if none is near `low`: the run has not come that far.
        """
        self.ticket(low)
        found = [row for row in self.rows if not row["control"]]
        return {row["level"]: row for row in found if low / 1.005 <= row["remaining"] <= high}

    def _nearest(self, percent: float, kind: str) -> list[Point]:
        found = [row for row in self.rows if row["control"].rpartition("_")[0] == kind]
        distance = {row["remaining"]: _ratio(row["remaining"], percent) for row in found}
        nearest = min(distance, key=distance.__getitem__, default=0.0)
        if not found or distance[nearest] > NEAR:
            what = CONTROLS.get(kind)().label() if kind else "ticket"
            raise MissingError(f"a {what} near {percent:g} %")
        return [row for row in found if row["remaining"] == nearest]


class Shelf:
    """Runs, of which those that a claim is about are found; each is read once.

    Args:
        runs: of any networks and configs.
    """

    def __init__(self, runs: Sequence[Run]):
        self._runs = runs
        self._trained: dict[int, Trained] = {}

    def find(self, needed: Needed) -> dict[Protocol, dict[int, Trained]]:
        """Returns protocol -> seed -> what was trained, of the runs that are needed.

        Runs in the paper's protocol and reduced ones are told apart; others are left out.
        """
        found: dict[Protocol, dict[int, Trained]] = {}
        for number, run in enumerate(self._runs):
            protocol = _protocol(run.config, needed)
            if protocol is None:
                continue
            if number not in self._trained:
                self._trained[number] = Trained(level_rows([run]))
            seeds, trained = found.setdefault(protocol, {}), self._trained[number]
            known = seeds.get(run.config.seed)
            if known is None or len(known.rows) < len(trained.rows):
                seeds[run.config.seed] = trained
        return found


def _protocol(config: Any, needed: Needed) -> Protocol | None:
    """Returns how a run's config differs from what is needed, None if it is something else."""
    if config.kind != "experiment" or config.network != needed.network:
        return None
    if isinstance(config.method, Retrain) != (needed.masks_of is not None):
        return None
    if needed.masks_of is not None and not _is_of(config.method, needed.masks_of):
        return None
    ours, paper = _values(config), _values(needed.config)
    different = sorted(name for name in {**ours, **paper} if ours.get(name) != paper.get(name))
    if needed.masks_of is not None:
        methods = (config.method, needed.config.method)
        own = {field.name for method in methods for field in dataclasses.fields(method)}
        different = [name for name in different if name not in own | {"label"}]
    if any(name not in REDUCIBLE or name in needed.changes for name in different):
        return None
    return Protocol(tuple((name, ours.get(name), paper.get(name)) for name in different))


def _is_of(method: Retrain, needed: Needed) -> bool:
    """Returns whether masks are of runs that are needed; no if these are gone."""
    try:
        return _protocol(RunDir(method.ticket).config(), needed) is not None
    except UsageError:
        return False


def _values(config: Any) -> dict[str, Any]:
    fields = config.as_dict(in_run_name=True)
    kept = {name: value for name, value in fields.items() if name not in _IGNORED}
    return {**kept, "label": config.method.label()}


def _ratio(one: float, other: float) -> float:
    return max(one, other) / max(min(one, other), 1e-9)


def _flag(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return " and ".join(map(_word, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
