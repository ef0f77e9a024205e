"""Derivatives by value: against finite differences, and without a trace left in the model."""

import numpy as np
import pytest

from lth_tf.masking.model import get_masks, get_weights
from lth_tf.tickets.find import new_model
from lth_tf.training.derivatives import DataDerivatives
from tests.conftest import TINY


@pytest.fixture(scope="module")
def network(digits):
    model = new_model(TINY, digits, "init")
    derivatives = DataDerivatives(lambda: new_model(TINY, digits, "init"), digits, TINY)
    masks = get_masks(model)
    masks["fc2/kernel"][::2] = 0
    return derivatives, get_weights(model), masks


def test_hessian_product_is_the_change_of_the_gradient(network):
    derivatives, weights, masks = network
    direction = {path: np.zeros(mask.shape, np.float32) for path, mask in masks.items()}
    direction["output/kernel"][:, 3] = 1.0
    ahead, behind = (
        derivatives.gradients(
            weights
            | {"output/kernel": weights["output/kernel"] + step * direction["output/kernel"]},
            masks,
        )
        for step in (0.005, -0.005)
    )
    product = derivatives.hessian_product(weights, masks, direction)
    for path in masks:
        numeric = (ahead[path] - behind[path]) / 0.01
        np.testing.assert_allclose(product[path], numeric, atol=5e-3 * np.abs(numeric).max())


def test_gradients_are_those_of_the_pruned_network_and_reach_pruned_weights(network):
    derivatives, weights, masks = network
    found = derivatives.gradients(weights, masks)
    pruned = {path: weights[path] * masks[path] for path in masks}
    same = derivatives.gradients(weights | pruned, masks)
    np.testing.assert_array_equal(found["fc2/kernel"], same["fc2/kernel"])
    assert (found["fc2/kernel"][masks["fc2/kernel"] == 0] != 0).mean() > 0.5


def test_temperature_divides_the_logits(network):
    derivatives, weights, masks = network
    # Hot logits are all alike: the gradient of the output bias's layer is 1/T of p - y.
    hot = derivatives.gradients(weights, masks, temperature=1e4)["output/kernel"]
    hotter = derivatives.gradients(weights, masks, temperature=2e4)["output/kernel"]
    np.testing.assert_allclose(hot, 2 * hotter, rtol=1e-3, atol=1e-9)


def test_what_flows_in_flows_through_every_layer(network):
    derivatives, weights, masks = network
    positive = {path: np.abs(value) for path, value in weights.items()}
    found = derivatives.flow_gradients(positive, masks)
    flows = [(found[path] * positive[path] * masks[path]).sum() for path in masks]
    assert flows == pytest.approx([flows[0]] * 3, rel=1e-12)
    assert found["fc1/kernel"].dtype == np.float64


def test_the_model_stays_as_it_is(digits):
    model = new_model(TINY, digits, "init")
    before = get_weights(model)
    derivatives = DataDerivatives(lambda: model, digits, TINY)
    masks = {path: mask * 0 for path, mask in get_masks(model).items()}
    derivatives.gradients({path: value + 1 for path, value in before.items()}, masks)
    for path, value in get_weights(model).items():
        np.testing.assert_array_equal(value, before[path])
    assert all(mask.all() for mask in get_masks(model).values())
