"""Coded kernels: what is read back, and how many bytes it takes."""

import functools

import keras
import numpy as np
import pytest

from export.saved_model.coding import encode
from export.saved_model.decoding import decode
from export.size import kernel_limit
from lth_tf.errors import UsageError

SHAPES = [(200, 300), (3, 3, 32, 64), (64, 10)]


def kernels(densities, seed=0):
    rng = np.random.default_rng(seed)
    return [
        np.where(rng.random(shape) < density, rng.normal(size=shape), 0).astype(np.float32)
        for shape, density in zip(SHAPES, densities, strict=True)
    ]


def dense(kernel):
    """Returns a layer with the numbers of a kernel."""
    layer = keras.layers.Dense(kernel.shape[-1], use_bias=False)
    layer.build((None, kernel.size // kernel.shape[-1]))
    layer.kernel.assign(kernel.reshape(layer.kernel.shape))
    return layer


def read_back(given, dtype):
    return [kernel.numpy() for kernel in decode(encode(given, dtype))]


def test_gaps_become_unary_and_low_bits():
    kernel = np.zeros((1, 20), np.float32)
    kernel[0, [2, 3, 11]] = [1, 2, 3]  # gaps 2, 0, 7
    (coded,) = encode([kernel], "float32").kernels
    # With 1 low bit: 2 -> 01 and 0, 0 -> 1 and 0, 7 -> 0001 and 1.
    assert coded.low_bits == 1
    assert np.unpackbits(coded.unary, bitorder="little").tolist() == [0, 1, 1, 0, 0, 0, 1, 0]
    assert coded.low.tolist() == [[0b100]]
    assert coded.numbers.tobytes(order="F") == np.array([1, 2, 3], "<f4").tobytes()


def test_low_bits_lie_in_planes():
    kernel = np.zeros((1, 40), np.float32)
    kernel[0, [5, 15, 39]] = 1  # gaps 5, 9, 23
    (coded,) = encode([kernel], "float32").kernels
    assert coded.low_bits == 3  # 101 and 0, 001 and 1, 111 and 2
    assert coded.low.tolist() == [[0b111], [0b100], [0b101]]
    assert np.unpackbits(coded.unary, bitorder="little").tolist() == [1, 0, 1, 0, 0, 1, 0, 0]


@pytest.mark.parametrize("densities", [(0.2, 0.3, 1.0), (0.01, 0.0, 0.2), (0.5, 0.9, 0.05)])
def test_float32_comes_back_bit_for_bit(densities):
    given = kernels(densities)
    for kernel, found in zip(given, read_back(given, "float32"), strict=True):
        assert found.shape == kernel.shape
        assert found.tobytes() == kernel.tobytes()


def test_float16_comes_back_as_the_nearest_number_of_its_kind():
    given = kernels((0.2, 0.01, 0.5))
    for kernel, found in zip(given, read_back(given, "float16"), strict=True):
        np.testing.assert_array_equal(found, kernel.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("densities", [(0.9, 0.9, 0.9), (0.02, 0.03, 0.1)])
def test_int8_comes_back_within_half_a_step_and_keeps_zeros(densities):
    given = kernels(densities)
    for kernel, found in zip(given, read_back(given, "int8"), strict=True):
        step = np.abs(kernel).max() / 127
        assert np.abs(found - kernel).max() <= 0.5001 * step
        assert not found[kernel == 0].any()


def test_int8_has_a_scale_a_unit_where_that_is_cheap():
    kernel = np.ones((1000, 2), np.float32) * [1.0, 100.0]
    few = kernel * (np.arange(1000) % 20 == 0)[:, np.newaxis]
    kernels_ = [kernel.astype(np.float32), few.astype(np.float32)]
    coded = encode(kernels_, "int8")
    assert [(127 * k.scales).tolist() for k in coded.kernels] == [
        pytest.approx([1.0, 100.0]),
        pytest.approx([100.0]),
    ]
    one, other = read_back(kernels_, "int8")
    assert one[0] == pytest.approx([1.0, 100.0])
    assert other[0] == pytest.approx([100 / 127, 100.0])


@pytest.mark.parametrize("density", [0.01, 0.05, 0.1, 0.2, 0.35, 0.5])
@pytest.mark.parametrize(("dtype", "most"), [("float32", 1.01), ("float16", 1.02), ("int8", 1.04)])
def test_payload_is_close_to_the_information_in_the_weights(density, dtype, most):
    given = kernels((density, density, 0.5))
    payload = encode(given, dtype).payload_bytes
    limit = sum(kernel_limit(dense(kernel), dtype) for kernel in given)
    assert 0.95 < payload / limit <= most


def test_a_kernel_of_zeros_between_others_costs_nothing():
    eye = functools.partial(np.eye, dtype=np.float32)
    given = [eye(40), np.zeros((500, 500), np.float32), eye(30)]
    assert encode(given, "float32").payload_bytes < 450
    for kernel, found in zip(given, read_back(given, "float32"), strict=True):
        np.testing.assert_array_equal(found, kernel)


def test_gaps_wider_than_a_window():
    kernel = np.zeros((1, 3_000_000), np.float32)
    kernel[0, [0, 2_999_999]] = 1
    np.testing.assert_array_equal(read_back([kernel], "float32")[0], kernel)


def test_weights_that_are_not_finite():
    kernel = np.array([[1.0, np.nan]], np.float32)
    with pytest.raises(UsageError, match=r"finite weights.*shape \(1, 2\)"):
        encode([kernel], "int8")


def test_weights_too_large_for_float16():
    with pytest.raises(UsageError, match=r"float16 can hold.*1e\+06"):
        encode([np.array([[1e6]], np.float32)], "float16")
