"""Eigenvalues of Hessians that are known."""

import numpy as np
import pytest

from lth_tf.analysis.sharpness import lanczos, largest_eigenvalues


def quadratic(matrix):
    """The Hessian product of the loss w A w / 2 with weights in two layers, of 1 and the rest."""

    def product(direction):
        flat = matrix @ np.concatenate([direction["a"].ravel(), direction["b"].ravel()])
        return {"a": flat[:1].reshape(1, 1), "b": flat[1:]}

    return product


def masks(*kept):
    return {"a": np.uint8(kept[:1]).reshape(1, 1), "b": np.uint8(kept[1:])}


def test_largest_eigenvalue_and_not_the_most_negative():
    """Power iteration would find -7."""
    product = quadratic(np.diag([2.0, -7.0, 5.0, 1.0]))
    found = largest_eigenvalues(product, masks(1, 1, 1, 1), 10, np.random.default_rng(0))
    assert found == pytest.approx([5.0, 2.0, 1.0, -7.0])


def test_pruned_weights_have_no_curvature():
    product = quadratic(np.diag([2.0, -7.0, 5.0, 1.0]))
    found = largest_eigenvalues(product, masks(1, 1, 0, 1), 10, np.random.default_rng(0))
    assert found == pytest.approx([2.0, 1.0, -7.0])


def test_weights_that_act_together():
    matrix = np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 0.5]])
    found = largest_eigenvalues(quadratic(matrix), masks(1, 1, 1), 3, np.random.default_rng(0))
    assert found == pytest.approx([3.0, 1.0, 0.5])
    alone = largest_eigenvalues(quadratic(matrix), masks(1, 0, 0), 3, np.random.default_rng(0))
    assert alone[0] == pytest.approx(2.0) and np.isnan(alone[1])


def test_ten_steps_find_the_largest_of_many():
    random = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(random.normal(size=(300, 300)))
    matrix = rotation * np.append([40.0, 20.0, -30.0], random.uniform(0, 1, 297)) @ rotation.T
    found = lanczos(lambda v: matrix @ v, random.normal(size=300), steps=10)
    assert found[:2] == pytest.approx([40.0, 20.0], rel=1e-3) and found.size == 10


def test_nothing_kept():
    with pytest.raises(ValueError, match="keeps a weight"):
        largest_eigenvalues(quadratic(np.eye(3)), masks(0, 0, 0), 2, np.random.default_rng(0))
