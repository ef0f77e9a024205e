"""Which stage of which run is trained next, and what becomes of it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from lth_tf import signals
from lth_tf.errors import RunError, UsageError
from lth_tf.runs.parcel import Parcel
from lth_tf.runs.stage import Stage

from .cluster import Cluster
from .run import Run
from .view import View
from .work import Failed, Plan, Stopped
from .worker import name_of

_SECONDS = 0.5  # between two looks at what goes on


@dataclasses.dataclass
class _Task:
    """Work under way: a run's plan, or a stage of it."""

    run: Run
    stage: Stage | None
    data: Any = None
    iteration: int = 0

    @property
    def name(self) -> str:
        """What it is called at the desk."""
        return name_of(self.run.work.path, self.stage) if self.stage else ""

    @property
    def text(self) -> str:
        """The same for people."""
        return f"{self.run.wanted.label} {self.stage or 'plan'}"


class Driver:
    """Trains runs on a cluster.

    What others wait for comes first, in the order of the runs; controls, which nothing waits for,
    fill up what is left, so that no machine is without work until the end. All of a group comes
    before the next one.

    Args:
        runs: what is trained.
        cluster: where.
        retries: how often a stage is tried again that failed, or whose machine is gone.
        view: told of what goes on.
    """

    def __init__(self, runs: Sequence[Run], cluster: Cluster, retries: int, view: View):
        self._runs = list(runs)
        self._cluster = cluster
        self._retries = retries
        self._view = view
        self._tasks: dict[Any, _Task] = {}
        self._failures: dict[tuple[int, Stage | None], int] = {}
        self._stopping = False

    def run(self) -> None:
        """Trains all that can be trained; `failed` of the runs says what could not.

        Ctrl-C, SIGTERM and SIGHUP wait for the next evaluations, which are kept.
        """
        # Ray has handlers of its own, under which a process ends at once.
        with signals.raised(), signals.held_back() as held:
            while self._start() or self._tasks:
                if held.arrived and not self._stopping:
                    self._stopping = True
                    self._cluster.stop()
                ended = self._cluster.ended(list(self._tasks), _SECONDS)
                # First what was heard of them: the checkpoints to go on from.
                self._listen()
                for each in ended:
                    self._end(self._tasks.pop(each), each)
                self._view.running([f"{t.text} at {t.iteration:,}" for t in self._tasks.values()])
            if held.arrived:
                self._view.told("Kept: all that was trained. The same command goes on from there.")

    def _start(self) -> bool:
        """Starts what there is room for; returns whether anything was started."""
        started = False
        while not self._stopping and len(self._tasks) < self._cluster.places():
            possible = self._possible()
            if not possible:
                break
            self._submit(*min(possible, key=self._place))
            started = True
        return started

    def _possible(self) -> list[tuple[Run, Stage | None]]:
        busy = {(id(task.run), task.stage) for task in self._tasks.values()}
        found: list[tuple[Run, Stage | None]] = []
        for run in self._runs:
            if run.is_planned:
                found += [(run, stage) for stage in run.ready()]
            elif not run.failed:
                found.append((run, None))
        return [(run, stage) for run, stage in found if (id(run), stage) not in busy]

    def _place(self, work: tuple[Run, Stage | None]) -> tuple[int, bool, int, int]:
        run, stage = work
        return (
            run.wanted.group,
            stage is not None and run.is_last(stage),
            self._runs.index(run),
            -1 if stage is None else run.stages.index(stage),
        )

    def _submit(self, run: Run, stage: Stage | None) -> None:
        if stage is None:
            plan, data = self._cluster.plan(run.work)
            self._tasks[plan] = _Task(run, None, data)
            return
        try:
            sent = run.sent(stage)
        except UsageError as error:
            self._give_up(run, stage, str(error))
            return
        self._tasks[self._cluster.train(run.work, stage, sent, run.data)] = _Task(run, stage)

    def _end(self, task: _Task, ended: Any) -> None:
        """Takes what a task came to."""
        run, stage = task.run, task.stage
        try:
            outcome = self._cluster.result(ended)
        except RunError as error:
            self._again(task, str(error))
            return
        if isinstance(outcome, Failed):
            self._give_up(run, stage, outcome.reason)
        elif isinstance(outcome, Plan):
            self._begin(run, outcome, task.data)
        elif isinstance(outcome, Parcel) and stage is not None:
            run.finish(stage, outcome)
            self._view.finished(run.wanted.label, stage, run.summary(stage))
        elif isinstance(outcome, Stopped) and not self._stopping:
            self._again(task, "it was told to stop")  # with its machine
        if run.is_complete:
            run.close()

    def _begin(self, run: Run, plan: Plan, data: Any) -> None:
        try:
            run.begin(plan, data)
        except (UsageError, RunError) as error:
            self._give_up(run, None, str(error))
            return
        self._view.planned(len(run.stages), plan.notes)
        for stage in run.stages:
            if stage in run.done:
                self._view.finished(run.wanted.label, stage, run.summary(stage))

    def _again(self, task: _Task, reason: str) -> None:
        """Has a task tried again, unless it was often enough."""
        key = (id(task.run), task.stage)
        self._failures[key] = self._failures.get(key, 0) + 1
        if self._stopping:
            return
        if self._failures[key] > self._retries:
            reason = f"{reason} ({self._failures[key]} times)"
            self._give_up(task.run, task.stage, reason)
        else:
            since = 0 if task.stage is None else task.run.reached(task.stage)
            self._view.told(f"{task.text}: {reason}; it is tried again from iteration {since:,}.")

    def _give_up(self, run: Run, stage: Stage | None, reason: str) -> None:
        run.failed[stage] = reason
        self._view.told(f"{run.wanted.label} {stage or 'plan'} failed: {reason}")

    def _listen(self) -> None:
        """Writes the checkpoints that have come."""
        named = {task.name: task for task in self._tasks.values() if task.stage}
        for name, news in self._cluster.news().items():
            task = named.get(name)
            if task is None or task.stage is None:
                continue
            task.iteration = max(task.iteration, news.iteration)
            if news.checkpoint is not None:
                task.run.keep(task.stage, news.checkpoint)


def check(runs: Sequence[Run]) -> None:
    """Says what a sweep could not do.

    Raises:
        UsageError: if nothing of it can be done, for one reason.
        RunError: if something failed.
    """
    failed = [(run, stage, why) for run in runs for stage, why in run.failed.items()]
    if not failed:
        return
    reasons = {why for _, _, why in failed}
    if len(reasons) == 1 and all(None in run.failed for run in runs):
        raise UsageError(reasons.pop())
    missing = sum(len(run.stages) - len(run.done) for run in runs)
    names = ", ".join(f"{run.wanted.label} {stage or 'plan'}" for run, stage, _ in failed)
    raise RunError(
        f"{missing} trainings are missing: {names} failed, and what needs them waits. "
        "The same command tries them again."
    )
