"""What tests of whole runs share."""

import numpy as np
import pytest

from lth_tf.masking.model import get_masks, get_weights
from lth_tf.runs.run_dir import RunDir
from lth_tf.tickets import find


def run(path, config, data, **options):
    run_dir = RunDir(path)
    with run_dir.writing(config, {"versions": {"keras": "3"}, "device": "CPU"}):
        find.find_tickets(config, data, run_dir, **options)
    return run_dir


def assert_same_results(one, other):
    """Bit for bit: masks, weights, metrics and every number but the time it took."""
    assert one.finished() == other.finished()
    pairs = [(one.origin(), other.origin())]
    for stage in one.finished():
        pairs += [
            (getattr(one, kind)(stage), getattr(other, kind)(stage))
            for kind in ("mask", "trained", "history")
        ]
        correct = (one.correct(stage), other.correct(stage))
        if None not in correct:
            pairs.append(tuple(map(vars, correct)))
        assert (correct[0] is None) == (correct[1] is None)
        first, second = ({**d.summary(stage), "seconds": 0} for d in (one, other))
        assert first == second
    for first, second in pairs:
        assert first.keys() == second.keys()
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])
    assert one.metrics() == other.metrics()


class Starts:
    """Keeps what each stage starts from."""

    def __init__(self, monkeypatch):
        self.models = {}
        original = find.TrainerLearner._resume

        def resume(learner, ticket):
            model = learner._trainer.model
            self.models[str(ticket.stage)] = (get_masks(model), get_weights(model))
            return original(learner, ticket)

        monkeypatch.setattr(find.TrainerLearner, "_resume", resume)


# Its levels take minutes on a CPU.
HUGE = ("resnet50",)


def marked(networks):
    """Networks as parameters: those that are large are left to the slow tests."""
    return [
        pytest.param(name, marks=[pytest.mark.slow] if name in HUGE else []) for name in networks
    ]
