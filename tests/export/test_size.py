"""Sizes, and the least size that the remaining weights allow."""

import gzip

import keras
import numpy as np
import pytest
from keras import layers

from export.size import information_limit, kernel_limit, size_report


@pytest.fixture
def model():
    """4 of 16 weights in a kernel, 3 biases, 4 numbers of batch normalization a channel."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(4, use_bias=False),
            layers.BatchNormalization(),
            layers.Dense(3, kernel_initializer="ones"),
        ]
    )
    model.layers[0].set_weights([np.eye(4)])
    return model


# 16 bits of entropy 0.811278 in the first kernel, none in the second.
@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float32", 16 * 4 + 1.622556), ("float16", 16 * 2 + 1.622556), ("int8", 16 + 1.622556)],
)
def test_limit_of_kernels(model, dtype, expected):
    assert kernel_limit(model, dtype) == pytest.approx(expected)


def test_limit_counts_all_other_numbers_as_float32(model):
    assert information_limit(model, "int8") == pytest.approx(17.622556 + 4 * (16 + 3))


def test_report_of_a_file(model, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a" * 500)
    report = size_report(path, model)
    assert report.bytes == 500
    assert report.dense_bytes == 4 * (16 + 16 + 12 + 3)
    assert report.ratio == pytest.approx(188 / 500)
    assert report.ratio_to_limit == pytest.approx(500 / (65.622556 + 76))
    assert report.gzip_bytes == len(gzip.compress(b"a" * 500, 9))


def test_report_of_a_folder_counts_every_file(model, tmp_path):
    (tmp_path / "saved" / "variables").mkdir(parents=True)
    (tmp_path / "saved" / "saved_model.pb").write_bytes(bytes(3000))
    (tmp_path / "saved" / "variables" / "variables.index").write_bytes(bytes(50))
    report = size_report(tmp_path / "saved", model, dense_bytes=6100)
    assert report.bytes == 3050
    assert report.ratio == 2.0
    assert 50 < report.gzip_bytes < 1000
