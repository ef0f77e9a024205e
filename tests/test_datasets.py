import dataclasses
import pathlib

import numpy as np
import pytest

from lth_tf import datasets
from lth_tf.datasets import Preprocessing, tfds
from lth_tf.errors import UsageError

SHAPE = (28, 28, 1)


def same(one, other):
    return np.array_equal(one.images, other.images) and np.array_equal(one.labels, other.labels)


def test_digits(digits):
    assert [len(s) for s in (digits.train, digits.validation, digits.test)] == [1_237, 200, 360]
    assert (digits.image_shape, digits.classes) == (SHAPE, 10)
    assert digits.train.images.dtype == np.uint8
    assert digits.train.labels.dtype == np.int32
    assert (digits.train.images.min(), digits.train.images.max()) == (0, 255)
    assert sorted(set(digits.test.labels)) == list(range(10))


def test_digits_for_colour_networks(digits, digits_rgb):
    assert digits_rgb.image_shape == (32, 32, 3)
    np.testing.assert_array_equal(digits_rgb.test.images[..., 0], digits_rgb.test.images[..., 2])
    np.testing.assert_array_equal(digits_rgb.test.labels, digits.test.labels)


def test_digits_for_networks_that_are_made_for_no_images():
    data = datasets.load("digits", image_shape=(30,))
    assert (data.image_shape, data.test.images.max()) == ((8, 8, 1), 255)


@pytest.mark.parametrize(
    "name, sizes, columns, classes",
    [("breast_cancer", [398, 57, 114], 30, 2), ("wine", [124, 18, 36], 13, 3)],
)
def test_tables_are_standardized_by_what_is_not_tested(name, sizes, columns, classes):
    data = datasets.load(name, image_shape=(7,))
    assert [len(s) for s in (data.train, data.validation, data.test)] == sizes
    assert (data.input_shape, data.classes, data.train.inputs.dtype) == (
        (columns,),
        classes,
        np.float32,
    )
    seen = np.concatenate([data.train.inputs, data.validation.inputs])
    assert seen.mean() > 20  # stored as they are published
    table = data.preprocessing(seen)
    np.testing.assert_allclose(table.mean(0), np.zeros(columns), atol=1e-4)
    np.testing.assert_allclose(table.std(0), np.ones(columns), atol=1e-4)
    assert 0.01 < np.abs(data.preprocessing(data.test.inputs).mean(0)).max() < 1
    rows = {row.tobytes() for row in seen}
    assert not any(row.tobytes() in rows for row in data.test.inputs)


def test_columns_are_standardized_one_by_one():
    table = np.float32([[1, 10, 5], [3, 10, 5], [5, 10, 20]])
    found = Preprocessing.standardizing(table)
    assert found.mean == (3.0, 10.0, 10.0) and found.by_column
    np.testing.assert_allclose(found.divisor, [8 / 3**0.5 / 8**0.5, 1.0, 50**0.5])
    np.testing.assert_allclose(found(table)[0], [-(1.5**0.5), 0.0, -(0.5**0.5)], rtol=1e-6)
    assert not Preprocessing(255.0).by_column


def test_the_manual_is_text_and_what_follows_each_character():
    data = datasets.load("manual", image_shape=(16,))
    train, test = data.train, data.test
    assert train.inputs.shape == train.labels.shape == (len(train), 16) and data.classes == 71
    np.testing.assert_array_equal(test.inputs[:, 1:], test.labels[:, :-1])
    np.testing.assert_array_equal(test.inputs[1:, 0], test.labels[:-1, -1])
    assert len(data.validation) == len(test) and len(train) > 5 * len(test)
    assert (train.inputs == 0).mean() < 0.01  # in no alphabet
    assert datasets.load("manual", image_shape=(32, 32, 3)).input_shape == (64,)


def test_validation_is_taken_out_of_training_by_seed(digits):
    again, other = (datasets.load("digits", image_shape=SHAPE, seed=seed) for seed in (0, 1))
    assert same(digits.validation, again.validation) and same(digits.train, again.train)
    assert not same(digits.validation, other.validation)
    assert same(digits.test, other.test)
    assert len(digits.train) + len(digits.validation) == 1_437
    pixels = {image.tobytes() for image in digits.train.images}
    assert not any(image.tobytes() in pixels for image in digits.validation.images)


def test_validation_size():
    data = datasets.load("digits", image_shape=SHAPE, validation_size=37)
    assert (len(data.validation), len(data.train)) == (37, 1_400)
    with pytest.raises(UsageError, match="below the 1437 training examples of 'digits'"):
        datasets.load("digits", image_shape=SHAPE, validation_size=1_437)


def test_unknown_dataset():
    with pytest.raises(
        UsageError, match="Expected breast_cancer, digits, .*or the name of a TFDS data set"
    ):
        datasets.load("nonesuch", image_shape=SHAPE)


class FakeInfo:
    """A TFDS builder's answers, for the paths that need no real data set."""


@pytest.fixture
def mnist_source(tmp_path):
    """MNIST as a cached file would hold it, 20 examples."""
    random = np.random.default_rng(0)
    return {
        "train_images": random.integers(0, 255, (12, 28, 28, 1)).astype(np.uint8),
        "train_labels": np.arange(12, dtype=np.int32) % 10,
        "test_images": random.integers(0, 255, (8, 28, 28, 1)).astype(np.uint8),
        "test_labels": np.arange(8, dtype=np.int32),
        "classes": np.array(10),
    }


def test_second_start_reads_the_cache(tmp_path, monkeypatch, mnist_source):
    decoded = []
    monkeypatch.setattr(tfds, "_decode", lambda *names: decoded.append(names) or mnist_source)
    options = {"image_shape": SHAPE, "validation_size": 2, "cache_dir": tmp_path / ".cache"}
    first = datasets.load("mnist", data_dir="/data", **options)
    second = datasets.load("mnist", data_dir="/data", **options)
    assert decoded == [("mnist", "/data")]
    assert same(first.train, second.train) and same(first.test, second.test)
    datasets.load("mnist", data_dir="/elsewhere", **options)
    assert decoded[1:] == [("mnist", "/elsewhere")]


def test_failed_download_says_what_to_do(tmp_path, monkeypatch):
    import tensorflow_datasets

    def refuse(self, *args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tensorflow_datasets.core.DatasetBuilder, "download_and_prepare", refuse)
    with pytest.raises(UsageError) as error:
        datasets.load("mnist", image_shape=SHAPE, data_dir=str(tmp_path))
    message = str(error.value)
    assert "Could not download mnist (ConnectionError: no route to host)" in message
    assert "data_dir" in message and "digits" in message and "--" not in message
    assert error.value.arguments == ("data_dir", "dataset")


needs_mnist = pytest.mark.skipif(
    not list(pathlib.Path("~/tensorflow_datasets/mnist").expanduser().glob("*/dataset_info.json")),
    reason="MNIST is not prepared on this machine",
)


@needs_mnist
def test_mnist_has_the_papers_split():
    data = datasets.load("mnist", image_shape=SHAPE)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [55_000, 5_000, 10_000]
    assert data.image_shape == (28, 28, 1)
    assert np.bincount(data.test.labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip


def test_split_is_a_plain_record(digits):
    with pytest.raises(dataclasses.FrozenInstanceError):
        digits.train.labels = None
