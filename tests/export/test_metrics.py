"""How good and how alike outputs are."""

import keras
import numpy as np
import pytest

from export.decisions import Kind, agreement, decide, kind_of
from export.metrics import compiled_metrics, score

LOGITS = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [0.0, 1.0, 5.0], [4.0, 1.0, 2.0]])
SIGMOID = np.array([[0.9], [0.2], [0.6], [0.4]])


@pytest.mark.parametrize(
    ("outputs", "labels", "expected"),
    [
        (LOGITS, np.array([0, 1, 2, 2]), "75.00 %"),
        (LOGITS, np.array([[0], [1], [2], [2]]), "75.00 %"),
        (LOGITS, np.eye(3)[[0, 1, 2, 2]], "75.00 %"),
        (LOGITS, np.eye(3)[[0, 1, 2, 2]].astype(int), "75.00 %"),
        (SIGMOID, np.array([1, 0, 0, 0]), "75.00 %"),
        (SIGMOID, np.array([[1], [0], [0], [0]]), "75.00 %"),
        (SIGMOID[:, 0], np.array([1.0, 0.0, 0.0, 0.0]), "75.00 %"),
        (np.array([[5.0], [-1.0], [0.2], [-3.0]]), np.array([1, 0, 0, 0]), "75.00 %"),
        (np.array([[5.0], [-1.0], [0.5], [-3.0]]), np.array([4.5, -1.0, 0.0, -3.0]), "mae 0.25"),
        (np.array([[0.9, 0.7], [0.1, 0.8]]), np.array([[1, 1], [1, 1]]), "75.00 %"),
        (LOGITS[:, None], np.array([[0], [1], [2], [2]]), "75.00 %"),
        (LOGITS, LOGITS + 0.5, "mae 0.5"),
        (LOGITS, np.zeros((4, 7)), "-"),
        (LOGITS, None, "-"),
    ],
)
def test_scores_by_shape(outputs, labels, expected):
    assert score({"outputs": outputs}, labels) == expected


def test_labels_by_the_names_of_outputs():
    outputs = {"box": LOGITS, "cls": LOGITS}
    assert score(outputs, {"cls": np.array([0, 1, 2, 2])}) == "75.00 %"


@pytest.mark.parametrize(
    ("loss", "metric", "expected"),
    [
        ("binary_crossentropy", "accuracy", "75.00 %"),
        ("mse", "mae", "mae 0.325"),
        ("binary_crossentropy", "auc", "auc 1"),
    ],
)
def test_compiled_metrics_come_first(loss, metric, expected):
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile(loss=loss, metrics=[metric])
    labels = np.array([[1], [0], [0], [0]], np.float32)
    assert score({"outputs": SIGMOID}, labels, compiled_metrics(model)) == expected


def test_a_metric_that_does_not_fit_the_labels_is_left():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
    model.compile(loss="categorical_crossentropy", metrics=[keras.metrics.CategoricalAccuracy()])
    judge = compiled_metrics(model)
    assert score({"outputs": LOGITS}, np.array(["cat", "dog", "cat", "dog"]), judge) == "-"
    assert compiled_metrics(keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])) is None


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (LOGITS, Kind.CLASSES),
        (np.array([[0.5, 0.5], [0.1, 0.9]]), Kind.CLASSES),
        (np.array([[0.5, 0.9], [0.1, 0.9]]), Kind.PROBABILITIES),
        (SIGMOID, Kind.PROBABILITIES),
        (SIGMOID[:, 0], Kind.PROBABILITIES),
        (SIGMOID - 0.5, Kind.SCORES),
        (np.array([[1, 2]]), Kind.IDENTITIES),
    ],
)
def test_what_outputs_are(outputs, expected):
    assert kind_of(outputs, {}) is expected


def test_an_image_made_of_an_image_is_no_decision():
    image = np.random.default_rng(0).normal(size=(2, 4, 4, 3))
    assert kind_of(image, {"inputs": image}) is Kind.NUMBERS
    assert decide(image, Kind.NUMBERS) is None
    assert agreement(image, -image, Kind.NUMBERS) is None


def test_agreement_of_one_unit_is_by_decisions():
    assert agreement(SIGMOID, SIGMOID * 0.8, Kind.PROBABILITIES) == 0.75
    assert agreement(SIGMOID - 0.5, SIGMOID * 0.8 - 0.5, Kind.SCORES) == 0.75


def test_ties_may_go_either_way():
    tied, other = np.array([[1.0, 1.00001], [1.0, 2.0]]), np.array([[1.1, 1.0], [1.0, 2.0]])
    assert agreement(tied, other, Kind.CLASSES) == 1.0
    assert agreement(other, tied, Kind.CLASSES) == 0.5
