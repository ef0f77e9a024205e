"""Which kernels of a TFLite file are stored how, and that nothing changes by it."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import interpreter
from keras import layers

from export.formats import FORMATS, WriteOptions
from export.signature import signature_of
from export.tflite.convert import to_tflite
from export.tflite.flatbuffer import File, Op
from export.tflite.sparsify import direct_density, rewrite
from export.verification import verify
from lth_tf.errors import UsageError
from tests.export.tflite_files import dense_tflite, sparsify

pytestmark = pytest.mark.filterwarnings("ignore")  # what interpreters say of themselves

RNG = np.random.default_rng(0)
DIRECT, UNPACKED = "sparse, read directly", "sparse, unpacked at load"


def pruned(model, density=0.05):
    random = np.random.default_rng(0)
    for weight in model.trainable_variables:
        if len(weight.shape) >= 2:
            array = np.asarray(weight)
            weight.assign(np.where(random.random(array.shape) < density, array, 0))
    return model


def stack(shape, *parts, dtype="float32"):
    keras.utils.set_random_seed(0)
    return pruned(keras.Sequential([keras.Input(shape, dtype=dtype), *parts]))


def embedding():
    pool = layers.GlobalAveragePooling1D()
    return stack((20,), layers.Embedding(2000, 64), pool, layers.Dense(4), dtype="int32")


def autoencoder():
    options = {"padding": "same", "activation": "relu"}
    return stack(
        (28, 28, 1),
        layers.Conv2D(32, 3, strides=2, **options),
        layers.Conv2DTranspose(64, 3, strides=2, **options),
        layers.Conv2DTranspose(32, 3, **options),
        layers.Conv2D(1, 3, padding="same"),
    )


def recurrent():
    return stack((20, 32), layers.LSTM(64), layers.Dense(4))


def attention():
    inputs = keras.Input((16, 128))
    attended = layers.MultiHeadAttention(4, 32)(inputs, inputs)
    top = layers.Dense(4)(layers.GlobalAveragePooling1D()(attended))
    keras.utils.set_random_seed(0)
    return pruned(keras.Model(inputs, top))


def volumes():
    return stack((8, 8, 8, 4), layers.Conv3D(32, 3), layers.Flatten(), layers.Dense(30))


def floats(*shape):
    return RNG.random(shape, dtype=np.float32)


WORDS = RNG.integers(0, 2000, (16, 20)).astype(np.int32)
# Name -> model, examples, how many times smaller than dense in float32, float16 and int8.
CASES = {
    "embedding": (embedding, WORDS, (13, 6.5, 6)),
    "autoencoder": (autoencoder, floats(8, 28, 28, 1), (11, 5.5, 4.5)),
    "recurrent": (recurrent, floats(8, 20, 32), (8, 4.5, 2)),
    "attention": (attention, floats(8, 16, 128), (12, 8.5, 4.5)),
    "volumes": (volumes, floats(8, 8, 8, 8, 4), (10, 6, 8)),
}


@functools.cache
def dense_case(name, dtype="float32"):
    build, inputs, _ = CASES[name]
    return dense_tflite(build(), dtype, inputs)


def outputs(format_name, content, inputs, folder):
    (folder / "a.tflite").write_bytes(content)
    form = FORMATS.get(format_name)
    found = []
    for runtime in form.runtimes:
        runner = runtime.open(str(folder / "a.tflite"))
        sizes = [runner.batch_size] * 2 if runner.batch_size else (1, 5)
        # Called again: what is unpacked once must still be there.
        found += [runner({"inputs": inputs[:size]})["outputs"] for size in sizes]
    return found


@pytest.mark.parametrize(
    "name, dtype",
    [
        pytest.param(
            name,
            dtype,
            marks=[pytest.mark.slow]
            if dtype == "float16" and name in ("recurrent", "attention", "volumes")
            else [],
        )
        for name in CASES
        for dtype in ("float32", "float16", "int8")
    ],
)
def test_every_kind_of_kernel_gets_small_and_computes_the_same(name, dtype, tmp_path):
    _, inputs, ratios = CASES[name]
    dense = dense_case(name, dtype)
    content = sparsify(dense, optimize="size")
    assert len(dense) / len(content) > ratios[("float32", "float16", "int8").index(dtype)]
    expected = outputs("tflite", dense, inputs, tmp_path)
    for wanted, found in zip(expected, outputs("tflite", content, inputs, tmp_path), strict=True):
        np.testing.assert_array_equal(found, wanted)


def how(content, **options):
    return [kernel.how for kernel in rewrite(content, **options)[1]]


@pytest.mark.parametrize("wide", [layers.LSTM(200), layers.Dense(200)])
def test_what_is_fast_computes_the_same_up_to_rounding(wide, tmp_path):
    shape = (6, 200) if isinstance(wide, layers.LSTM) else (784,)
    dense, inputs = dense_tflite(stack(shape, wide, layers.Dense(4))), floats(8, *shape)
    assert DIRECT in how(dense)
    expected = outputs("tflite", dense, inputs, tmp_path)
    found = outputs("tflite", sparsify(dense), inputs, tmp_path)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)


def test_rows_and_density_decide_what_is_read_directly():
    dense = dense_tflite(stack((784,), layers.Dense(300), layers.Dense(500)))  # 5 %
    assert how(dense) == [DIRECT, DIRECT]
    assert how(dense, batch_size=64) == [UNPACKED, UNPACKED]
    assert how(dense, optimize="size") == [UNPACKED, UNPACKED]
    assert how(dense, runtime="micro") == ["dense", "dense"]
    tokens = dense_case("attention")  # 16 rows an example, one behind the pooling
    assert how(tokens) == 5 * [UNPACKED]
    large = [direct_density(rows, 784 * 300 * 4) for rows in (1, 2, 5, 100)]
    assert large == [0.06, 0.03, 0.02, 0.012]


def test_kernels_that_stay_in_the_cache_are_read_directly_at_few_weights_only():
    dense = dense_tflite(stack((784,), layers.Dense(300), layers.Dense(100)))  # 120 kB at 5 %
    assert how(dense) == [DIRECT, UNPACKED]
    assert how(dense_case("recurrent")) == 3 * [UNPACKED]
    sizes = (64 * 256, 128 * 512, 784 * 120, 784 * 160, 784 * 200)
    assert [direct_density(1, 4 * size) for size in sizes] == [0.012, 0.012, 0.03, 0.03, 0.06]
    assert direct_density(7, 4 * 784 * 120) == 0.02


def test_a_batch_that_is_asked_for_decides(tmp_path):
    model = stack((784,), layers.Dense(300), layers.Dense(100))
    content = to_tflite(model, batch_size=64, runtime="litert")
    kinds = {graph.kind(op) for graph in File(content).graphs for op in graph.operators}
    assert kinds == {Op.DENSIFY, Op.FULLY_CONNECTED}


def test_int8_layers_of_several_rows_are_sparse_only_for_size():
    dense = dense_case("attention", "int8")
    assert how(dense).count("dense") == 4  # convolutions are slower there
    assert how(dense, optimize="size").count("dense") == 0


def test_int8_kernels_of_unrolled_steps_are_sparse_only_for_size():
    dense = dense_case("recurrent", "int8")
    assert how(dense).count("dense") == 2  # those of the LSTM
    assert how(dense, optimize="size").count("dense") == 0


def test_an_int8_table_whose_zero_point_is_not_0_gets_small_too(tmp_path):
    model = embedding()
    table = np.asarray(model.layers[0].embeddings)
    model.layers[0].embeddings.assign(np.where(table > 0, 3 * table, table))
    dense = dense_tflite(model, "int8", WORDS)
    content = sparsify(dense)
    assert len(dense) / len(content) > 6
    expected = outputs("tflite", dense, WORDS, tmp_path)
    for wanted, found in zip(expected, outputs("tflite", content, WORDS, tmp_path), strict=True):
        assert np.abs(found - wanted).max() <= 0.02 * np.ptp(wanted)


def test_tflite_micro_refuses_what_it_would_answer_wrongly():
    dense = dense_tflite(stack((784,), layers.Dense(300)))

    def unpacking(**options):
        (graph,) = File(sparsify(dense, **options)).graphs
        return len(list(graph.operators_of(Op.DENSIFY)))

    assert unpacking() == 1  # of one number that nothing reads
    assert unpacking(runtime="litert") == 0
    assert unpacking(runtime="micro") == 0
    micro = pytest.importorskip("tflite_micro.python.tflite_micro.runtime").Interpreter
    with pytest.raises(RuntimeError):
        micro.from_bytes(sparsify(dense))


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_tflite_micro_runs_what_is_written_for_it(dtype, tmp_path):
    pytest.importorskip("tflite_micro")
    model, inputs = stack((784,), layers.Dense(60, "relu"), layers.Dense(4)), floats(8, 784)
    options = WriteOptions(dtype=dtype, examples={"inputs": inputs}, batch_size=1, runtime="micro")
    form, path = FORMATS.get("tflite"), tmp_path / "a.tflite"
    form.write(model, path, signature_of(model), options)
    runtimes = form.runtimes_of(options)
    verified = verify(path, model, inputs, dtype=dtype, least_agreement=0, runtimes=runtimes)
    assert [check.runtime for check in verified.checks][-1] == "tflite_micro"
    assert verified.relative_difference < (1e-5, 0.05)[dtype == "int8"]


def test_the_content_of_a_file_without_a_path(tmp_path):
    model = stack((64,), layers.Dense(40))
    assert to_tflite(model) == to_tflite(model, tmp_path / "a.tflite").read_bytes()
    for options in ({"optimize": "speed"}, {"runtime": "tvm"}):
        (name,) = options
        with pytest.raises(UsageError, match=f"Expected one of .* Received: {name}="):
            to_tflite(model, **options)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(number):
    model = stack((64,), layers.Dense(40))
    model.layers[-1].kernel.assign(np.full((64, 40), number))
    with pytest.raises(UsageError, match=r"finite weights.*shape \(64, 40\)"):
        to_tflite(stack((64,), layers.Dense(40)), signatures={"part": model})


def test_float16_is_nothing_for_micro():
    with pytest.raises(UsageError, match="float32 or int8 for TFLite Micro.*dtype='float16'"):
        to_tflite(stack((64,), layers.Dense(40)), dtype="float16", runtime="micro")


@pytest.mark.parametrize("runtime", [tf.lite, interpreter])
def test_further_signatures_share_the_weights(runtime):
    inputs = keras.Input((40,))
    code = layers.Dense(300, "relu")(inputs)
    model = pruned(keras.Model(inputs, layers.Dense(40)(code)))
    parts = {"encode": keras.Model(inputs, code), "head": stack((3,), layers.Dense(2))}
    content = to_tflite(model, signatures=parts)
    assert len(content) - len(to_tflite(model)) < 1000  # of 14,500: the kernels are there once
    run = runtime.Interpreter(model_content=content).get_signature_runner
    for name, part in {"serving_default": model, **parts}.items():
        given = floats(5, *part.input_shape[1:])
        np.testing.assert_allclose(run(name)(inputs=given)["outputs"], part(given), atol=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"dtype": "int8", "examples": np.zeros((8, 64))}, "ranges of int8.*signatures=part"),
        ({"runtime": "micro"}, "TFLite Micro runs one.*signatures=part"),
    ],
)
def test_files_of_one_signature(options, message):
    model = stack((64,), layers.Dense(40))
    with pytest.raises(UsageError, match=message):
        to_tflite(model, signatures={"part": model}, **options)
