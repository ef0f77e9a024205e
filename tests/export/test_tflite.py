"""TFLite files: small, the same as the dense file, in both interpreters."""

import functools
import pathlib

import keras
import numpy as np
import pytest
from keras import layers

from export.compaction.compact import compact
from export.formats.base import DTYPES
from export.size import information_limit
from export.tflite.convert import to_tflite
from export.tflite.csr import decode, encode, smallest
from export.tflite.flatbuffer import File, Op
from lth_tf import networks
from lth_tf.errors import RunError, UsageError
from lth_tf.masking.model import strip_masks
from tests.export.small_tickets import digits, ticket
from tests.export.tflite_files import dense_tflite, sparsify

pytestmark = pytest.mark.filterwarnings(
    "ignore"
)  # what interpreter and converter say of themselves

INTERPRETERS = ("ai_edge_litert", "tf.lite")


def interpreter(name: str, content: bytes):
    if name == "ai_edge_litert":
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter(model_content=content, num_threads=1)
    import tensorflow as tf

    return tf.lite.Interpreter(model_content=content, num_threads=1)


def run(name: str, content: bytes, inputs: np.ndarray) -> np.ndarray:
    return interpreter(name, content).get_signature_runner("serving_default")(inputs=inputs)[
        "outputs"
    ]


def operators(content: bytes) -> dict[int, int]:
    """How often each built-in operator is in a file."""
    graph = File(content).graphs[0]
    kinds = [graph.kind(operator) for operator in graph.operators]
    return {kind: kinds.count(kind) for kind in kinds}


def pruned(model: keras.Model, density: float) -> keras.Model:
    """Prunes kernels at random and gives biases and statistics values."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        array = weight.numpy()
        if array.ndim > 1:
            array[rng.random(array.shape) >= density] = 0
        elif "variance" in weight.name:
            array = rng.uniform(0.5, 1.5, array.shape)
        else:
            array = array + rng.normal(scale=0.1, size=array.shape)
        weight.assign(array)
    return model


@functools.cache
def full_size(name: str, density: float) -> keras.Model:
    """A network of the paper in its real shape, pruned at random."""
    shape = networks.image_shape(name)
    return pruned(strip_masks(networks.build(name, shape, 10, seed=0)), density)


def images(model: keras.Model, count: int) -> np.ndarray:
    shape = model.inputs[0].shape[1:]
    return np.random.default_rng(1).random((count, *shape), dtype=np.float32)


def check_same(dense: bytes, sparse: bytes, inputs: np.ndarray, exact: bool = True) -> None:
    assert len(sparse) < len(dense)
    for name in INTERPRETERS:
        for batch in (1, 7):
            expected = run(name, dense, inputs[:batch])
            received = run(name, sparse, inputs[:batch])
            if exact:
                np.testing.assert_array_equal(received, expected, err_msg=f"{name} {batch}")
            else:
                np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "density"),
    [("lenet", 0.2), ("lenet", 0.02), ("conv6", 0.03)]
    + [pytest.param("resnet18", 0.05, marks=pytest.mark.slow)],
)
def test_trained_tickets_in_both_interpreters(name, density, dtype):
    model = compact(ticket(name, density))
    inputs, _ = digits(name)
    dense = dense_tflite(model, dtype, inputs[:50])
    content = sparsify(dense)
    direct = name == "lenet" and density < 0.06 and dtype == "float32"
    check_same(dense, content, inputs, exact=not direct)
    expected = model.predict(inputs[:300], verbose=0)
    received = run("ai_edge_litert", content, inputs[:300])
    agreement = np.mean(received.argmax(1) == expected.argmax(1))
    if dtype == "float32":
        assert agreement == 1
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-4)
    else:
        assert agreement > (0.99 if dtype == "float16" else 0.9)


@pytest.mark.parametrize(
    ("name", "density", "dtype", "limit"),
    [
        ("lenet", 0.21, "float32", 1.4),
        ("lenet", 0.01, "float32", 1.4),
        ("lenet", 0.21, "float16", 1.7),
        ("lenet", 0.01, "float16", 1.7),
        ("lenet", 0.21, "int8", 2.0),
        ("lenet", 0.01, "int8", 2.0),
        ("resnet18", 0.05, "float32", 1.2),
        ("resnet18", 0.05, "float16", 1.3),
        ("resnet18", 0.05, "int8", 1.5),
        ("conv6", 0.2, "float32", 1.16),
        ("conv6", 0.02, "float32", 1.16),
        ("conv6", 0.02, "float16", 1.3),
        ("conv6", 0.02, "int8", 1.6),
        pytest.param("vgg19", 0.05, "float32", 1.26, marks=pytest.mark.slow),
        pytest.param("vgg19", 0.05, "float16", 1.45, marks=pytest.mark.slow),
        pytest.param("vgg19", 0.05, "int8", 1.75, marks=pytest.mark.slow),
    ],
)
def test_bytes_against_the_information_limit(name, density, dtype, limit):
    model = full_size(name, density)
    inputs = images(model, 8)
    dense = dense_tflite(model, dtype, inputs)
    content = sparsify(dense)
    assert len(content) / information_limit(model, dtype) <= limit
    check_same(dense, content, inputs, exact=not (name == "lenet" and density == 0.01))


def test_float32_layers_of_few_weights_are_read_directly():
    for density, direct in ((0.01, True), (0.2, False)):
        content = sparsify(dense_tflite(full_size("lenet", density)), runtime="litert")
        graph = File(content).graphs[0]
        versions = {graph.model.operatorCodes[op.opcodeIndex].version for op in graph.operators}
        assert (Op.DENSIFY in operators(content)) != direct
        assert (8 in versions) == direct
    assert Op.DENSIFY in operators(sparsify(dense_tflite(full_size("lenet", 0.01), "float16")))
    # Beside convolutions a dense layer takes no time worth two bytes an index.
    assert operators(sparsify(dense_tflite(full_size("conv6", 0.02))))[Op.DENSIFY] == 9


def test_flatten_is_one_operator():
    content = sparsify(dense_tflite(full_size("lenet", 0.01)), runtime="litert")
    assert operators(content) == {Op.RESHAPE: 1, Op.FULLY_CONNECTED: 3}


def test_sparse_int8_layers_are_convolutions():
    model = full_size("lenet", 0.04)
    inputs = images(model, 20)
    content = sparsify(dense_tflite(model, "int8", inputs))
    assert operators(content) == {
        Op.QUANTIZE: 1,
        Op.DENSIFY: 3,
        Op.CONV_2D: 3,
        # To a row of pixels, between layers where its width changes, and back.
        Op.RESHAPE: 3,
        Op.DEQUANTIZE: 1,
    }


def scales(content: bytes) -> int:
    """The largest number of scales of a constant."""
    return max(
        len(tensor.quantization.scale)
        for tensor in File(content).graphs[0].tensors
        if tensor.quantization is not None and tensor.quantization.scale is not None
    )


def test_int8_has_a_scale_for_every_channel_unless_they_would_dominate():
    for density, expected in ((0.21, 300), (0.02, 1)):
        model = full_size("lenet", density)
        assert scales(dense_tflite(model, "int8", images(model, 10))) == expected


def sequential(shape, *stack, density=0.1) -> keras.Model:
    keras.utils.set_random_seed(0)
    return pruned(keras.Sequential([keras.Input(shape), *stack]), density)


def shared() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs, layer = keras.Input((50,)), layers.Dense(50, activation="relu")
    return pruned(keras.Model(inputs, layers.Dense(3)(layer(layer(inputs)))), 0.1)


def residual() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = stem = layers.Conv2D(32, 3, padding="same", activation="relu")(inputs)
    x = layers.BatchNormalization()(layers.Conv2D(32, 3, padding="same")(x))
    x = layers.Flatten()(layers.ReLU()(layers.Add()([x, stem])))
    return pruned(keras.Model(inputs, layers.Dense(5, activation="softmax")(x)), 0.1)


CORNERS = {
    "one layer": lambda: sequential((64,), layers.Dense(40)),
    "no bias": lambda: sequential(
        (64,), layers.Dense(99, use_bias=False, activation="relu"), layers.Dense(20, use_bias=False)
    ),
    "prime number of inputs": lambda: sequential((263,), layers.Dense(40), layers.Dense(5)),
    "large prime number of inputs": lambda: sequential((1031,), layers.Dense(300), layers.Dense(5)),
    "256 and 257 places": lambda: sequential((257,), layers.Dense(256), layers.Dense(257)),
    "dense and sparse mixed": lambda: sequential(
        (64,), layers.Dense(64), layers.Dense(3), layers.Dense(300), layers.Dense(2)
    ),
    "nothing pruned": lambda: sequential((64,), layers.Dense(40), density=1.0),
    "nothing left": lambda: sequential((64,), layers.Dense(40), density=0.0),
    "one weight in a thousand": lambda: sequential((64,), layers.Dense(400), density=0.001),
    "tensor of rank 3": lambda: sequential((7, 64), layers.Dense(40), layers.Dense(30)),
    "depthwise": lambda: sequential(
        (9, 9, 16),
        layers.DepthwiseConv2D(5, depth_multiplier=4),
        layers.Conv2D(40, 1, activation="relu6"),
        layers.GlobalMaxPooling2D(),
        layers.Dense(30),
    ),
    "conv, flatten, dense": lambda: sequential(
        (8, 8, 3),
        layers.Conv2D(30, 3, strides=2, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(40, activation="relu"),
        layers.Dense(40, activation="tanh"),
    ),
    "dilated": lambda: sequential((9, 9, 8), layers.Conv2D(40, 3, dilation_rate=2)),
    "one dimension": lambda: sequential((20, 8), layers.Conv1D(40, 3), layers.Conv1D(40, 3)),
    "shared layer": shared,
    "residual": residual,
    "reshaped output": lambda: sequential((64,), layers.Dense(60), layers.Reshape((3, 20))),
}


@pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("float16", marks=pytest.mark.slow), "int8"]
)
@pytest.mark.parametrize("corner", CORNERS)
def test_corners(corner, dtype):
    model = CORNERS[corner]()
    inputs = images(model, 10)
    dense = dense_tflite(model, dtype, inputs)
    sparse = sparsify(dense)
    direct = dtype == "float32" and corner in ("one weight in a thousand", "nothing left")
    check_same(dense, sparse, inputs, exact=not direct)
    tolerance = {"float32": 1e-5, "float16": 0.01, "int8": 0.2}[dtype]
    received = run("ai_edge_litert", sparse, inputs)
    expected = model(inputs).numpy()
    assert np.abs(received - expected).max() <= tolerance * (1 + np.abs(expected).max())


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4), (4, 3, 2, 5)])
def test_compressed_rows_come_back(shape):
    rng = np.random.default_rng(0)
    for density in (0, 0.3, 1):
        array = (rng.random(shape) * (rng.random(shape) < density)).astype(np.float16)
        for last in range(len(shape)):
            order = (*(axis for axis in range(len(shape)) if axis != last), last)
            back = decode(encode(array, order))
            assert back.dtype == np.float16
            np.testing.assert_array_equal(back, array)


def test_the_layout_of_the_fewest_bytes():
    array = np.zeros((300, 784), np.float32)
    array[::3, ::4] = 1  # 19,600 nonzeros: two bytes a segment
    csr = smallest(array)
    assert csr.order == (0, 1)  # both axes need two bytes an index: fewest rows win
    assert (csr.segments.dtype, csr.indices.dtype) == (np.uint16, np.uint16)
    assert csr.nbytes == 301 * 2 + 19600 * 2 + 19600 * 4
    csr = smallest(array[:256])
    assert csr.order == (1, 0)  # one byte for 256 places
    assert csr.indices.dtype == np.uint8
    csr = smallest(np.ones((300, 300), np.int8))
    assert csr.segments.dtype == np.int32  # 90,000 nonzeros


def test_what_cannot_be_asked_for(tmp_path):
    model = sequential((64,), layers.Dense(40))
    path = tmp_path / "out.tflite"
    for dtype, examples, message in (
        ("int4", None, "Expected one of float32, float16, int8. Received: dtype='int4'"),
        ("int8", None, r"Expected examples for dtype=int8.*\[n, 64\]"),
        ("int8", np.zeros((5, 63)), r"finite examples \[n, 64\].*Received: shape=\(5, 63\)"),
        ("int8", np.zeros((0, 64)), "finite examples"),
        ("int8", np.full((5, 64), np.nan), "finite=False"),
    ):
        with pytest.raises(UsageError, match=message):
            to_tflite(model, path, dtype=dtype, examples=examples)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_the_converter_refuses_leaves_nothing_behind(tmp_path):
    model = sequential((4,), layers.Lambda(lambda x: keras.ops.erfinv(x)), layers.Dense(2))
    with pytest.raises(RunError, match="Could not convert model .* to TFLite") as caught:
        to_tflite(model, tmp_path / "out.tflite")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="folder that can be written to"):
        to_tflite(sequential((64,), layers.Dense(40)), tmp_path / "file" / "out.tflite")
    assert [path.name for path in pathlib.Path(tmp_path).iterdir()] == ["file"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_written_file_is_the_rewritten_dense_one(dtype, tmp_path):
    model = full_size("lenet", 0.21)
    inputs = images(model, 20)
    path = to_tflite(model, str(tmp_path / "a.tflite"), dtype=dtype, examples=inputs)
    assert path == tmp_path / "a.tflite"
    content = path.read_bytes()
    np.testing.assert_array_equal(
        run("tf.lite", content, inputs), run("tf.lite", dense_tflite(model, dtype, inputs), inputs)
    )
    assert list(tmp_path.iterdir()) == [path]


def test_the_model_is_left_alone(tmp_path):
    model = sequential((64,), layers.Dense(40))
    before = [weight.numpy() for weight in model.weights]
    to_tflite(model, tmp_path / "a.tflite", dtype="int8", examples=images(model, 5))
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())
