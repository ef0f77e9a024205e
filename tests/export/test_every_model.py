"""Models of every kind: what their files compute in stock runtimes, or the line that is said."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from export.compaction.compact import compact
from export.examples import named
from export.formats import FORMATS
from export.saved_model.write import to_saved_model
from export.signature import predict, signature_of
from export.tflite.convert import to_tflite
from lth_tf.errors import RunError, UsageError
from lth_tf.masking import stripping
from lth_tf.units.graph import NoGraph

pytestmark = pytest.mark.filterwarnings("ignore")  # what interpreters say of themselves

RNG = np.random.default_rng(0)
CLOSE = {"float32": 1e-5, "float16": 3e-3, "int8": 0.05}  # of the outputs' range


def floats(*shape):
    return RNG.random(shape, dtype=np.float32)


def ids(high, *shape):
    return RNG.integers(0, high, shape).astype(np.int32)


def pruned(model):
    """The model with nine of ten weights of its kernels 0."""
    for weight in model.trainable_variables:
        if len(weight.shape) >= 2 and not weight.name.endswith("bias"):
            array = np.asarray(weight.numpy()).astype(np.float32)
            array[np.abs(array) <= np.quantile(np.abs(array), 0.9)] = 0
            weight.assign(array)
    return model


def stack(shape, *parts, dtype="float32"):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *parts])


def text_lstm():
    return stack((20,), layers.Embedding(500, 32), layers.LSTM(32), layers.Dense(4), dtype="int32")


def dicts():
    a, b = keras.Input((8,), name="a"), keras.Input((6,), name="b")
    hidden = layers.Dense(64, "relu")(layers.Concatenate()([a, b]))
    return keras.Model({"a": a, "b": b}, {"cls": layers.Dense(4)(hidden), "box": 2 * hidden})


def lists():
    a, b = keras.Input((8,)), keras.Input((6,))
    hidden = layers.Dense(64, "relu")(layers.Concatenate()([a, b]))
    return keras.Model([a, b], [layers.Dense(4)(hidden), layers.Dense(2)(hidden)])


def adapted():
    layer = layers.Normalization()
    layer.adapt(RNG.normal(3, 5, (100, 8)).astype(np.float32))
    return stack((8,), layer, layers.Dense(64, "relu"), layers.Dense(3))


def eager_constant():
    inputs = keras.Input((12,))
    shift = keras.ops.convert_to_tensor(floats(1, 300))
    return keras.Model(inputs, layers.Dense(4)(layers.Dense(300, "relu")(inputs) + shift))


def with_lambda():
    return stack((16,), layers.Dense(64), layers.Lambda(lambda x: x * 2), layers.Dense(3))


def of_policy(policy):
    keras.config.set_dtype_policy(policy)
    try:
        return stack(
            (8, 8, 3),
            layers.Conv2D(16, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(10),
        )
    finally:
        keras.config.set_dtype_policy("float32")


def camera():
    return stack(
        (24, 24, 3),
        layers.Rescaling(1 / 127.5, -1),
        layers.Conv2D(16, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10),
        dtype="uint8",
    )


def fixed_batch():
    inputs = keras.Input(batch_shape=(1, 8, 8, 3))
    return keras.Model(inputs, layers.Dense(10)(layers.Flatten()(layers.Conv2D(8, 3)(inputs))))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.one, self.two = layers.Dense(64, "relu"), layers.Dense(4)

    def call(self, inputs):
        return self.two(self.one(inputs))


class TwoArguments(keras.Model):
    def __init__(self, units):
        super().__init__()
        self.embedding, self.top = layers.Embedding(50, 16), layers.Dense(units)

    def call(self, words, extra, training=None):
        return {"top": self.top(self.embedding(words)), "twice": extra * 2}


def called(model, *inputs):
    model(*[array[:1] for array in inputs])
    return model


WORDS, EXTRA = ids(50, 16, 5), floats(16, 3)

# Name -> model, inputs, dtypes that a .tflite file can have.
ALL = ("float32", "float16", "int8")
MODELS = {
    "LSTM": (text_lstm, ids(500, 16, 20), ("float32", "float16")),
    "GRU of free length": (
        lambda: stack((None, 8), layers.GRU(32, return_sequences=True), layers.Dense(3)),
        floats(16, 12, 8),
        ("float32",),
    ),
    "SimpleRNN": (
        lambda: stack((10, 8), layers.SimpleRNN(32), layers.Dense(3)),
        floats(16, 10, 8),
        ("float32", "int8"),
    ),
    "Bidirectional": (
        lambda: stack((10, 8), layers.Bidirectional(layers.LSTM(16)), layers.Dense(3)),
        floats(16, 10, 8),
        ("float32",),
    ),
    "ConvLSTM2D": (
        lambda: stack((3, 8, 8, 2), layers.ConvLSTM2D(8, 3), layers.Flatten(), layers.Dense(3)),
        floats(16, 3, 8, 8, 2),
        ("float32",),
    ),
    "dicts": (dicts, {"a": floats(16, 8), "b": floats(16, 6)}, ALL),
    "lists": (lists, [floats(16, 8), floats(16, 6)], ("float32",)),
    "adapted Normalization": (adapted, floats(16, 8), ("float32", "int8")),
    "eager constant": (eager_constant, floats(16, 12), ("float32",)),
    "Lambda": (with_lambda, floats(16, 16), ("float32",)),
    "swish": (
        lambda: stack((8,), layers.Dense(64, "swish"), layers.Dense(3)),
        floats(16, 8),
        ("float32",),
    ),
    "mixed_float16": (lambda: of_policy("mixed_float16"), floats(16, 8, 8, 3), ("float32", "int8")),
    "mixed_bfloat16": (lambda: of_policy("mixed_bfloat16"), floats(16, 8, 8, 3), ("float32",)),
    "float16": (lambda: of_policy("float16"), floats(16, 8, 8, 3), ("float32",)),
    "bfloat16": (lambda: of_policy("bfloat16"), floats(16, 8, 8, 3), ("float32",)),
    "uint8 images": (camera, ids(256, 16, 24, 24, 3).astype(np.uint8), ALL),
    "fixed batch": (fixed_batch, floats(16, 8, 8, 3), ("float32", "int8")),
    "subclassed": (lambda: called(Subclassed(), floats(16, 12)), floats(16, 12), ALL),
    "two arguments": (
        lambda: called(TwoArguments(3), WORDS, EXTRA),
        {"words": WORDS, "extra": EXTRA},
        ("float32",),
    ),
    "StringLookup": (
        lambda: stack(
            (1,),
            layers.StringLookup(vocabulary=["a", "b", "c"], output_mode="multi_hot"),
            layers.Dense(64, "relu"),
            layers.Dense(3),
            dtype="string",
        ),
        np.array([["a"], ["c"], ["zz"]]),
        (),
    ),
    "IntegerLookup": (
        lambda: stack(
            (3,),
            layers.IntegerLookup(vocabulary=[5, 7, 9]),
            layers.Embedding(10, 32),
            layers.Flatten(),
            layers.Dense(3),
            dtype="int64",
        ),
        RNG.integers(5, 10, (16, 3)),
        (),
    ),
}


@pytest.fixture(scope="module", params=MODELS)
def case(request):
    build, examples, dtypes = MODELS[request.param]
    keras.utils.set_random_seed(0)
    model = pruned(build())
    signature = signature_of(model, examples)
    inputs = named(signature, examples)
    return model, examples, dtypes, inputs, predict(signature, model, inputs)


def check(form, path, inputs, expected, share):
    runner = FORMATS.get(form).load(path)
    for size in [runner.batch_size] if runner.batch_size else (1, 3):
        found = runner({name: array[:size] for name, array in inputs.items()})
        assert set(found) == set(expected)
        for name, wanted in expected.items():
            scale = max(np.ptp(wanted), np.abs(wanted).max())
            assert np.abs(found[name] - wanted[:size]).max() <= share * scale, (name, size)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_saved_models(case, dtype, tmp_path):
    model, examples, _, inputs, expected = case
    path = to_saved_model(model, tmp_path / "ticket", dtype=dtype, examples=examples)
    check("saved_model", path, inputs, expected, CLOSE[dtype])


def test_tflite(case, tmp_path):
    model, examples, possible, inputs, expected = case
    for dtype in possible:
        path = to_tflite(model, tmp_path / "a.tflite", dtype=dtype, examples=examples)
        check("tflite", path, inputs, expected, CLOSE[dtype])
    if not possible:
        with pytest.raises(
            RunError, match="TFLite has no built-in operators for .*SavedModel"
        ) as caught:
            to_tflite(model, tmp_path / "a.tflite")
        assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


def test_stripped_and_compacted_models_compute_the_same(case):
    model, examples, _, inputs, expected = case
    if isinstance(model, TwoArguments):
        with pytest.raises(NoGraph):
            compact(model)
        return
    plain = stripping.strip(model)
    try:
        plain = compact(plain)
    except NoGraph:
        assert isinstance(model, Subclassed)
    found = predict(signature_of(plain, examples), plain, inputs)
    for name, wanted in expected.items():
        np.testing.assert_allclose(found[name], wanted, atol=1e-5)


def test_an_unrolled_int8_file_takes_any_batch(tmp_path):
    model = pruned(stack((6, 8), layers.LSTM(16), layers.Dense(3)))
    path = to_tflite(model, tmp_path / "a.tflite", dtype="int8", examples=floats(16, 6, 8))
    assert FORMATS.get("tflite").load(path).batch_size is None
    assert not model.layers[0].unroll


def test_int8_of_a_free_length_is_one_line(tmp_path):
    model = pruned(stack((None, 8), layers.GRU(16), layers.Dense(3)))
    with pytest.raises(RunError, match="cannot hold loops.*fixed length") as caught:
        to_tflite(model, tmp_path / "a.tflite", dtype="int8", examples=floats(16, 6, 8))
    assert "\n" not in str(caught.value)


def test_a_batch_size_that_is_asked_for(tmp_path):
    model = pruned(stack((10, 8), layers.GRU(16), layers.Dense(3)))
    path = to_tflite(model, tmp_path / "a.tflite", batch_size=4)
    runner = FORMATS.get("tflite").load(path)
    inputs = {"inputs": floats(4, 10, 8)}
    assert runner.batch_size == 4
    expected = predict(signature_of(model), model, inputs)["outputs"]
    np.testing.assert_allclose(runner(inputs)["outputs"], expected, atol=1e-5)


def test_memory_between_calls_is_refused():
    inputs = keras.Input(batch_shape=(1, 10, 8))
    model = keras.Model(inputs, layers.LSTM(4, stateful=True)(inputs))
    with pytest.raises(UsageError, match="stateful=True. Build the model with stateful=False"):
        signature_of(model)


def test_a_model_of_half_precision_keeps_its_policy():
    model = of_policy("mixed_float16")
    predict(signature_of(model), model, {"inputs": floats(2, 8, 8, 3)})
    assert {layer.compute_dtype for layer in model.layers} == {"float16"}


def test_a_variable_that_keras_does_not_know_is_saved_with_the_model(tmp_path):
    hidden = tf.Variable([1.0, 2.0, 3.0])
    inputs = keras.Input((16,))
    outputs = layers.Lambda(lambda x: x * hidden, output_shape=(3,))(layers.Dense(3)(inputs))
    model = pruned(keras.Model(inputs, outputs))
    examples = {"inputs": floats(3, 16)}
    expected = predict(signature_of(model), model, examples)
    path = to_saved_model(model, tmp_path / "ticket")
    check("saved_model", path, examples, expected, 1e-5)
