"""Lines between networks whose loss is known everywhere."""

import keras
import numpy as np
import pytest
from keras import layers

from lth_tf.analysis import line
from lth_tf.analysis.bench import Bench, evaluated
from lth_tf.config import ExperimentConfig
from lth_tf.datasets import from_arrays
from lth_tf.masking.model import get_weights, mask_model, weight_variables
from lth_tf.training.trainer import Trainer


def test_barrier_of_a_parabola():
    """Loss (w - 1)(w + 1)... of w from -1 to 1: 0 at the ends, 1 in the middle."""
    seen = []

    def evaluate(weights):
        seen.append(float(weights["w"][0]))
        return 1 - weights["w"][0] ** 2, abs(weights["w"][0]) < 0.75

    found = line.between(evaluate, {"w": np.array([-1.0])}, {"w": np.array([1.0])}, points=5)
    assert seen == [-1.0, -0.5, 0.0, 0.5, 1.0] == (2 * found.way - 1).tolist()
    assert found.loss.tolist() == [0.0, 0.75, 1.0, 0.75, 0.0]
    assert found.error.tolist() == [0, 1, 1, 1, 0]
    assert line.barriers(found) == {"error_barrier": 100.0, "loss_barrier": 1.0}


@pytest.mark.parametrize(
    "values, rise", [([0.1, 0.4, 0.3, 0.2], 0.25), ([0.3, 0.1, 0.3], 0.0), ([0.0, 1.0], 0.5)]
)
def test_barrier_is_the_largest_above_the_mean_of_the_ends(values, rise):
    assert line.barrier(np.array(values)) == pytest.approx(rise)


CONFIG = ExperimentConfig(iterations=2, batch_size=10, eval_interval=1, test_interval=0)


def linear_network():
    """Logits [0, v * u * x]."""
    return mask_model(
        keras.Sequential(
            [
                keras.Input((1,)),
                layers.Dense(1, use_bias=False, name="u"),
                layers.Dense(2, use_bias=False, name="v"),
            ]
        )
    )


@pytest.fixture(scope="module")
def bench():
    x, y = np.ones((60, 1), np.float32), np.arange(60) % 2
    one = (x[:10], np.ones(10, int))  # only the second class: a line has one answer
    data = from_arrays(x, y, validation=one, test=one)
    return Bench(linear_network, data, CONFIG, ticket=lambda level: None)


def test_line_between_a_linear_network_and_its_mirror_image(bench):
    """(u, v) and (-u, -v) are one function; between them it is (1 - 2t) squared times that."""
    one = {"u/kernel": np.float32([[1.0]]), "v/kernel": np.float32([[0.0, 1.0]])}
    other = {path: -value for path, value in one.items()}
    found = line.between(bench.evaluate, one, other, points=5)
    logit = (1 - 2 * found.way) ** 2
    assert found.loss == pytest.approx(np.log1p(np.exp(-logit)), rel=1e-5)
    assert found.error.tolist() == [0, 0, 1, 0, 0]  # in the middle both logits are 0
    barriers = line.barriers(found)
    assert barriers["error_barrier"] == 100.0
    assert barriers["loss_barrier"] == pytest.approx(np.log(2) - np.log1p(np.exp(-1)), rel=1e-5)


def test_hessian_of_logistic_regression_is_known(bench):
    """Of logits [a, b] at x = 1 it is p (1 - p) [[1, -1], [-1, 1]]; u = 3 makes that x = 3."""
    weights = {"u/kernel": np.float32([[3.0]]), "v/kernel": np.float32([[0.0, 0.0]])}
    masks = {"u/kernel": np.uint8([[1]]), "v/kernel": np.uint8([[1, 1]])}
    direction = {"u/kernel": np.float32([[0.0]]), "v/kernel": np.float32([[1.0, 0.0]])}
    found = bench.hessian_product(examples=20)(weights, masks, direction)
    assert found["v/kernel"] == pytest.approx(9 * 0.25 * np.array([[1, -1]]), rel=1e-5)


def test_statistics_of_normalization_are_those_of_the_data():
    """Nothing is left of what they were: batches of ones and of threes have mean 2."""
    x = np.repeat(np.float32([[1.0, 2.0], [3.0, 2.0]]), 100, axis=0)
    x[:100:2, 1] = 4.0  # of the first batch: mean 3, variance 1
    some = (x[:4], np.array([0, 1, 0, 1]))
    data = from_arrays(x, np.arange(200) % 2, validation=some, test=some)
    model = mask_model(
        keras.Sequential(
            [
                keras.Input((2,)),
                layers.BatchNormalization(momentum=0.99, name="bn"),
                layers.Dense(2, name="output"),
            ]
        )
    )
    trainer = Trainer(model, data, CONFIG)
    weights = get_weights(model) | {"bn/moving_mean": np.float32([50.0, -50.0])}
    before = [evaluated(trainer, weights) for _ in range(2)]
    assert before[0] == before[1]
    now = get_weights(model)
    assert now["bn/moving_mean"] == pytest.approx([2.0, 2.5])
    assert now["bn/moving_variance"] == pytest.approx([0.0, 0.5], abs=1e-6)
    assert model.get_layer("bn").momentum == 0.99
    assert set(weight_variables(model)) == set(weights)
