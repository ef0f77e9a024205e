"""Which labels the levels of a `fit` predict."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lth_tf.runs.stage import Stage
from lth_tf.tickets.callback import TicketCallback
from lth_tf.tickets.verdict import judge_runs

CLASSES = 3


@pytest.fixture(scope="module")
def examples():
    random = np.random.default_rng(0)
    x = random.random((96, 8)).astype(np.float32)
    return x, x[:, :CLASSES].argmax(1).astype(np.int32)


def classifier(loss="sparse_categorical_crossentropy"):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(16, "relu", name="hidden")]
    layers.append(keras.layers.Dense(CLASSES, "softmax", name="out"))
    model = keras.Sequential([keras.Input((8,)), *layers], name="c")
    model.compile(keras.optimizers.Adam(0.02), loss, metrics=["accuracy"])
    return model


def fit(model, folder, x, y, validation, **options):
    tickets = TicketCallback(
        folder, epochs_per_level=3, levels=1, verbose=0, prune_rates=0.5, **options
    )
    model.fit(
        x,
        y,
        validation_data=validation,
        epochs=tickets.epochs,
        callbacks=[tickets],
        verbose=0,
        shuffle=False,
    )
    return tickets.run_dir


def predicted(model, run_dir, stage, x, y):
    """What the recorded weights of the level's end predict, in a model of its own."""
    from lth_tf.tickets.load import load_ticket

    outputs = load_ticket(run_dir, stage.level).predict(x, verbose=0)
    return outputs.argmax(-1) == y


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("judged_on", ["validation data", "test data"])
def test_arrays_are_told_label_by_label(examples, tmp_path, one_hot, judged_on):
    x, y = examples
    loss = "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
    labels = np.eye(CLASSES)[y] if one_hot else y
    validation, judges = (x[60:80], labels[60:80]), slice(60, 80)
    options = {}
    if judged_on == "test data":
        options, judges = {"test_data": (x[80:], labels[80:])}, slice(80, 96)
    model = classifier(loss)
    run_dir = fit(model, tmp_path / "run", x[:60], labels[:60], validation, **options)
    for stage in (Stage(0), Stage(1)):
        correct, summary = run_dir.correct(stage), run_dir.summary(stage)
        assert correct.accuracy("final") == pytest.approx(summary["final_test_accuracy"])
        assert correct.accuracy("early_stop") == pytest.approx(summary["early_stop_test_accuracy"])
        expected = predicted(model, run_dir, stage, x[judges], y[judges])
        np.testing.assert_array_equal(correct.final, expected)
        assert correct.chance == np.bincount(y[judges]).max() / len(y[judges])
    verdict = judge_runs([run_dir])
    assert not verdict.levels or verdict.levels[0].comparison.basis == "paired"


def test_what_is_no_array_or_weighted_is_not_told(examples, tmp_path):
    x, y = examples
    streamed = tf.data.Dataset.from_tensor_slices((x[60:], y[60:])).batch(12)
    weighted = (x[60:], y[60:], np.linspace(0, 1, 36))
    for name, validation in (("streamed", streamed), ("weighted", weighted)):
        run_dir = fit(classifier(), tmp_path / name, x[:60], y[:60], validation)
        assert run_dir.has(Stage(1)) and run_dir.correct(Stage(1)) is None


def test_nothing_else_changes(examples, tmp_path):
    """The weights are those of a fit whose labels cannot be told."""
    x, y = examples
    told = fit(classifier(), tmp_path / "told", x[:60], y[:60], (x[60:], y[60:]))
    streamed = tf.data.Dataset.from_tensor_slices((x[60:], y[60:])).batch(32)
    not_told = fit(classifier(), tmp_path / "not", x[:60], y[:60], streamed)
    for stage in (Stage(0), Stage(1)):
        one, other = told.trained(stage), not_told.trained(stage)
        assert all(np.array_equal(one[path], other[path]) for path in one)
