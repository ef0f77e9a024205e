"""Every criterion on weights whose scores can be written down."""

import numpy as np
import pytest

from lth_tf.config import CRITERIA
from lth_tf.errors import UsageError
from lth_tf.pruning import PruningContext

ORIGIN = [2.0, -1.0, 0.5, -3.0]
TRAINED = [-3.0, -2.0, 0.25, -4.0]
GRADIENT = [0.5, -1.0, 4.0, 0.0]
CURVATURE = [1.0, 2.0, -3.0, 4.0]  # of a diagonal Hessian


class Quadratic:
    """The derivatives of a network, written down."""

    def gradients(self, weights, masks, temperature=1.0):
        return {"w": np.array(GRADIENT) / temperature}

    def hessian_product(self, weights, masks, direction, temperature=1.0):
        return {"w": np.array(CURVATURE) * direction["w"] / temperature}

    def flow_gradients(self, weights, masks):
        assert (weights["w"] >= 0).all()
        return {"w": weights["w"] + 1}


def scores(name, network=None):
    context = PruningContext(
        masks={"w": np.ones(4, np.uint8)},
        trained={"w": np.array(TRAINED), "bias": np.array([-1.0])},
        origin={"w": np.array(ORIGIN)},
        network=network,
    )
    return CRITERIA.get(name)(context)["w"].tolist()


@pytest.mark.parametrize(
    "name, expected",
    [
        ("magnitude", [3.0, 2.0, 0.25, 4.0]),
        ("squared_magnitude", [9.0, 4.0, 0.0625, 16.0]),
        ("magnitude_increase", [1.0, 1.0, -0.25, 1.0]),
        ("movement", [5.0, 1.0, 0.25, 1.0]),
        ("large_init", [2.0, 1.0, 0.5, 3.0]),
        ("large_init_large_final", [2.0, 1.0, 0.25, 3.0]),
        ("magnitude_same_sign", [0.0, 2.0, 0.25, 4.0]),
    ],
)
def test_scores_of_trained_weights(name, expected):
    assert scores(name) == expected


@pytest.mark.parametrize(
    "name, expected",
    [
        ("gradient_times_weight", [1.5, 2.0, 1.0, 0.0]),
        ("snip", [1.5, 2.0, 1.0, 0.0]),
        ("grasp", [-1.5 / 200**2, 4.0 / 200**2, -3.0 / 200**2, 0.0]),
        ("synflow", [12.0, 6.0, 0.3125, 20.0]),
    ],
)
def test_scores_from_derivatives(name, expected):
    assert scores(name, Quadratic()) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["snip", "grasp", "synflow"])
def test_without_a_network_it_is_an_error(name):
    with pytest.raises(UsageError, match="a network that can be asked for gradients"):
        scores(name)
