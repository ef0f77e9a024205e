"""Own arrays as data sets, of any shape and type, up to a training on them."""

import keras
import numpy as np
import pytest
from keras import layers

import lth_tf.datasets
from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Data, Preprocessing, Split, from_arrays
from lth_tf.errors import UsageError
from lth_tf.masking.model import mask_model
from lth_tf.training.trainer import Trainer

LABELS = np.arange(100) % 4


def images(shape=(100, 6, 6), dtype=np.uint8):
    random = np.random.default_rng(0)
    return (random.integers(0, 5, shape) + LABELS.reshape(-1, *[1] * (len(shape) - 1)) * 9).astype(
        dtype
    )


def test_parts_are_drawn_by_seed_and_share_no_example():
    x = np.arange(200, dtype=np.float64).reshape(100, 2)
    one, again, other = (from_arrays(x, LABELS, seed=seed) for seed in (0, 0, 1))
    assert [len(one.train), len(one.validation), len(one.test)] == [81, 9, 10]
    assert (one.classes, one.input_shape, one.train.inputs.dtype) == (4, (2,), np.float32)
    np.testing.assert_array_equal(one.validation.inputs, again.validation.inputs)
    assert not np.array_equal(one.validation.inputs, other.validation.inputs)
    together = np.concatenate([s.inputs[:, 0] for s in (one.train, one.validation, one.test)])
    assert sorted(together) == x[:, 0].tolist()
    for split in (one.train, one.validation, one.test):
        np.testing.assert_array_equal(split.labels, (split.inputs[:, 0] / 2) % 4)


@pytest.mark.parametrize(
    "labels",
    [
        LABELS.astype(np.uint8),
        LABELS.astype(np.int64)[:, None],
        LABELS.astype(np.float32),
        np.eye(4)[LABELS],
    ],
    ids=["uint8", "column", "float", "one-hot"],
)
def test_every_usual_form_of_labels(labels):
    data = from_arrays(images(), labels, validation_size=20, test_size=30)
    assert (data.train.labels.dtype, data.train.labels.shape) == (np.int32, (50,))
    np.testing.assert_array_equal(data.train.labels, data.train.inputs.min((1, 2)) // 9)


@pytest.mark.parametrize(
    ("x", "divisor"),
    [
        (images(), 255.0),
        (images((100, 6, 6, 3)), 255.0),
        (images((100, 6)), None),
        (images(dtype=np.float32), None),
        (images((100, 6), np.int32), None),
    ],
)
def test_only_uint8_images_are_scaled(x, divisor):
    data = from_arrays(x, LABELS)
    assert data.preprocessing == Preprocessing(divisor)
    expected = x[:3] / 255 if divisor else x[:3]
    for given in (x[:3], keras.ops.convert_to_tensor(x[:3])):
        np.testing.assert_allclose(np.array(data.preprocessing(given)), expected, rtol=1e-6)
    assert from_arrays(x, LABELS, preprocessing=Preprocessing(7.0)).preprocessing.divisor == 7.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"y": LABELS[:99]},
            "as many examples in x as in y, and at least one. Received: 100 and 99",
        ),
        ({"y": LABELS - 1}, "y to be classes from 0 on. Received: -1"),
        ({"y": LABELS + 0.5}, "whole numbers .* Received: float64 of shape"),
        ({"y": np.ones((100, 3), int)}, "one-hot .* Received: int64 of shape .100, 3."),
        ({"x": np.array(["a"] * 100)}, "Expected x to be numbers"),
        ({"x": np.zeros(100)}, "Expected x to be numbers .examples, ...."),
        ({"test_size": 100}, "test_size of at least 1 and below the 100 examples"),
        ({"validation_size": 0}, "validation_size of at least 1"),
        ({"classes": 3}, "labels below classes=3. Received: 3 in x"),
        ({"test": (images()[:, :5], LABELS)}, r"\(examples, 6, 6\) in test, as in x"),
        ({"test": (images(), LABELS), "test_size": 3}, "test or test_size. Received: both"),
    ],
)
def test_mistakes(changes, message):
    with pytest.raises(UsageError, match=message):
        from_arrays(**{"x": images(), "y": LABELS, **changes})


class Plain(keras.Model):
    """A subclassed model whose call knows no `training`."""

    def __init__(self):
        super().__init__()
        self.output_layer = layers.Dense(4)

    def call(self, x):
        return self.output_layer(layers.Flatten()(x))


NETWORKS = {
    "images": (images(), lambda: [layers.Flatten()]),
    "table": (images((100, 5), np.float64), lambda: []),
    "sequence": (images((100, 7, 2), np.float32), lambda: [layers.SimpleRNN(3)]),
    "volume": (images((100, 3, 3, 3, 1), np.float32), lambda: [layers.Flatten()]),
    "tokens": (images((100, 5), np.int64), lambda: [layers.Embedding(40, 6), layers.Flatten()]),
    "bytes": (images((100, 5)), lambda: [layers.Embedding(40, 6), layers.Flatten()]),
}
CONFIG = ExperimentConfig(
    iterations=60, batch_size=16, eval_interval=30, test_interval=30, learning_rate=0.03
)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_trainer_learns_from_any_inputs(kind):
    x, body = NETWORKS[kind]
    data = from_arrays(x, LABELS, classes=4)
    keras.utils.set_random_seed(0)
    inputs = keras.Input(data.input_shape, dtype="int32" if kind in ("tokens", "bytes") else None)
    model = keras.Sequential([inputs, *body(), layers.Dense(16, "relu"), layers.Dense(4)])
    history = Trainer(mask_model(model), data, CONFIG, "on" if kind == "tokens" else "off").fit()
    logits = model.predict(data.preprocessing(data.test.inputs), verbose=0)
    correct = np.mean(np.argmax(logits, -1) == data.test.labels)
    assert history.final_test_accuracy == history.evaluations[-1].test_accuracy == correct
    assert history.evaluations[-1].train_loss < history.evaluations[0].validation_loss


def test_models_without_a_training_argument():
    data = from_arrays(images(), LABELS)
    model = Plain()
    model(data.train.inputs[:1])
    assert Trainer(mask_model(model), data, CONFIG, "off").fit().final_train_accuracy > 0.5


def test_a_label_for_every_position():
    tokens = images((100, 5), np.int32)
    split = Split(tokens, tokens % 4)
    data = Data("positions", split, split, split, classes=4)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((5,), dtype="int32"), layers.Embedding(40, 8), layers.Dense(4)]
    )
    trainer = Trainer(mask_model(model), data, CONFIG, "off")
    history = trainer.fit()
    logits = model.predict(tokens, verbose=0)
    assert history.final_test_accuracy == np.mean(np.argmax(logits, -1) == split.labels) > 0.5
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(split.labels, logits)
    assert history.evaluations[-1].validation_loss == pytest.approx(float(loss), rel=1e-5)


def test_augmentation_is_for_images():
    data = lth_tf.datasets.from_arrays(images((100, 5)), LABELS)
    model = mask_model(keras.Sequential([keras.Input((5,)), layers.Dense(4)]))
    with pytest.raises(UsageError, match=r"augment=True. Received: inputs of shape \(81, 5\)"):
        Trainer(model, data, ExperimentConfig(augment=True))
