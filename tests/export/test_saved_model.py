"""SavedModels: what they compute, how small they are, what is in them."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from export import real_models
from export.saved_model.coding import encode
from export.saved_model.fold_constants import fold_constants
from export.saved_model.write import dense_saved_model, payload_bytes, to_saved_model
from export.size import bytes_on_disk, kernel_limit, kernels
from export.timing import load_cost
from lth_tf import networks
from lth_tf.errors import UsageError
from lth_tf.masking.model import get_masks, set_masks, strip_masks
from tests.export.small_tickets import digits as small_digits
from tests.export.small_tickets import ticket

DTYPES = ("float32", "float16", "int8")
CLOSE = {"float32": 2e-6, "float16": 2e-3, "int8": 0.05}  # of the outputs' range


def outputs_of(path, inputs):
    loaded = tf.saved_model.load(str(path))
    return loaded.signatures["serving_default"](inputs=tf.constant(inputs))["outputs"].numpy()


def with_random_masks(name, density):
    """A network of full size, pruned at random as its experiments prune it."""
    model = networks.build(name, networks.image_shape(name), classes=10, seed=0)
    rng = np.random.default_rng(0)
    kept = {group: density for group in ("conv", "fc")} | {"output": (1 + density) / 2}
    groups = networks.groups(model)
    masks = {
        path: (rng.random(mask.shape) < kept.get(groups[path], 1)).astype(np.uint8)
        for path, mask in get_masks(model).items()
    }
    set_masks(model, masks)
    return strip_masks(model)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "density"),
    [("lenet", 0.2), ("conv6", 0.03), ("resnet18", 0.05)]
    + [pytest.param("vgg19", 0.05, marks=pytest.mark.slow)],
)
def test_computes_what_the_model_does_at_any_batch_size(name, density, dtype, tmp_path):
    model, (images, _) = ticket(name, density), small_digits(name)
    path = to_saved_model(model, tmp_path / "ticket", dtype=dtype)
    for batch in (images[:1], images[:7]):
        expected = model(batch, training=False).numpy()
        found = outputs_of(path, batch)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= CLOSE[dtype] * np.ptp(expected)


@pytest.mark.parametrize("level", [2, 5, 8])
def test_predictions_of_trained_tickets_are_those_of_the_model(lenet, level, tmp_path):
    trained = lenet(level)
    path = to_saved_model(trained.model, tmp_path / "ticket")
    expected = trained.model(trained.images, training=False).numpy().argmax(-1)
    np.testing.assert_array_equal(outputs_of(path, trained.images).argmax(-1), expected)


@pytest.mark.parametrize(("dtype", "most"), [("float32", 1.01), ("float16", 1.02), ("int8", 1.04)])
def test_payload_of_trained_tickets_is_close_to_its_limit(lenet, dtype, most):
    model = lenet(6).model
    assert payload_bytes(model, dtype) <= most * kernel_limit(model, dtype)


@pytest.mark.parametrize(
    ("name", "density", "most"), [("lenet", 0.0185, 13_000), ("resnet18", 0.2, 45_000)]
)
def test_everything_but_the_coded_weights_is_small(name, density, most, tmp_path):
    model = with_random_masks(name, density)
    path = to_saved_model(model, tmp_path / "ticket")
    coded = encode([kernel.numpy() for kernel in kernels(model)], "float32")
    stored = sum(len(part) for kernel in coded.kernels for part in kernel.parts())
    assert bytes_on_disk(path / "assets") == stored
    assert bytes_on_disk(path) - stored <= most


@pytest.mark.slow
def test_loading_takes_at_most_half_as_much_memory_again_as_a_dense_one(tmp_path):
    model, _ = real_models.build("resnet50")
    real_models.prune(model, 20)
    small = load_cost(to_saved_model(model, tmp_path / "small"))
    dense = load_cost(dense_saved_model(model, tmp_path / "dense"))
    assert small.megabytes <= 1.5 * dense.megabytes


def test_is_several_times_smaller_than_a_dense_one(lenet, tmp_path):
    model = lenet(8).model  # 1.7 % of 266,200 weights
    small = bytes_on_disk(to_saved_model(model, tmp_path / "small"))
    dense = bytes_on_disk(dense_saved_model(model, tmp_path / "dense"))
    assert 1_066_440 < dense < 1_120_000
    assert small < 36_000


def test_the_dense_one_computes_the_same(lenet, tmp_path):
    trained = lenet(4)
    path = dense_saved_model(trained.model, tmp_path / "dense")
    expected = trained.model(trained.images[:7], training=False).numpy()
    np.testing.assert_allclose(outputs_of(path, trained.images[:7]), expected, atol=1e-5)


def test_two_files_of_a_model_are_equal_to_the_byte(lenet, tmp_path):
    model = lenet(5).model
    paths = [to_saved_model(model, tmp_path / name) for name in ("one", "other")]
    one, other = ((path / "saved_model.pb").read_bytes() for path in paths)
    assert one == other


def test_files_loaded_side_by_side_do_not_disturb_each_other(lenet, tmp_path):
    images = tf.constant(lenet(2).images[:3])
    models = [lenet(level).model for level in (2, 8)]
    paths = [to_saved_model(m, tmp_path / str(i)) for i, m in enumerate(models)]
    loaded = [tf.saved_model.load(str(path)) for path in (*paths, paths[0])]
    del loaded[2]
    gc.collect()
    for model, object_ in zip(models, loaded, strict=True):
        found = object_.signatures["serving_default"](images)["outputs"]
        np.testing.assert_allclose(found, model(images, training=False), atol=1e-5)


def test_variables_of_other_kinds_stay_exact_with_int8_kernels(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            layers.Conv2D(3, 3, bias_initializer="normal", kernel_initializer="ones"),
            layers.BatchNormalization(gamma_initializer="normal", beta_initializer="normal"),
        ]
    )
    inputs = np.ones((1, 4, 4, 2), np.float32)
    path = to_saved_model(model, tmp_path / "ticket", dtype="int8")
    expected = model(inputs, training=False).numpy()
    np.testing.assert_allclose(outputs_of(path, inputs), expected, rtol=1e-5)


def test_clustered_values_deflate(tmp_path):
    rng = np.random.default_rng(0)
    model = keras.Sequential([keras.Input((100,)), layers.Dense(100, use_bias=False)])
    model.set_weights([rng.choice([-1.5, -0.3, 0.4, 1.7], (100, 100))])
    path = to_saved_model(model, tmp_path / "ticket")
    # 2 bits a weight and its graph, not 32.
    assert bytes_on_disk(path) < 15_000


def test_a_model_without_kernels_to_code(tmp_path):
    model = keras.Sequential([keras.Input((3,)), layers.BatchNormalization()])
    with pytest.raises(UsageError, match="at least one kernel"):
        to_saved_model(model, tmp_path / "ticket")
    assert not list(tmp_path.iterdir())


def test_further_signatures_share_the_weights(tmp_path):
    inputs = keras.Input((40,))
    code = layers.Dense(300, "relu")(inputs)
    model = keras.Model(inputs, layers.Dense(40)(code))
    encoder = keras.Model(inputs, code)
    head = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    alone = to_saved_model(model, tmp_path / "alone")
    path = to_saved_model(model, tmp_path / "both", signatures={"encode": encoder, "head": head})
    added = bytes_on_disk(path / "assets") - bytes_on_disk(alone / "assets")
    assert 0 < added < 60  # the 6 weights of the head
    loaded = tf.saved_model.load(str(path))
    for name, part, size in (
        ("serving_default", model, 40),
        ("encode", encoder, 40),
        ("head", head, 3),
    ):
        given = np.random.default_rng(0).random((5, size), np.float32)
        found = loaded.signatures[name](inputs=tf.constant(given))["outputs"]
        np.testing.assert_allclose(found, part(given), atol=1e-5)
    with pytest.raises(UsageError, match="'serving_default', which is the model's own"):
        to_saved_model(model, tmp_path / "a", signatures={"serving_default": encoder})


def test_folding_computes_what_depends_on_constants_alone():
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [2], name="x")
        factor = tf.math.rsqrt(tf.constant([4.0, 16.0])) * 3.0
        tf.add(x * factor, tf.zeros([2]), name="y")
        definition = graph.as_graph_def()
    folded = fold_constants(definition, ["y:0"])
    assert sorted(node.op for node in folded.node) == ["AddV2", "Const", "Const", "Mul"]
    values = [
        tf.make_ndarray(node.attr["value"].tensor).tolist()
        for node in folded.node
        if node.op == "Const"
    ]
    assert sorted(values) == [[0.0, 0.0], [1.5, 0.75]]


def test_folding_does_not_blow_up_a_file():
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [], name="x")
        tf.add(x, tf.reduce_sum(tf.fill([100, 100], 2.0)), name="y")
        tf.add(x, tf.fill([100, 100], 2.0), name="z")
        definition = graph.as_graph_def()
    assert "Fill" in [node.op for node in fold_constants(definition, ["z:0"]).node]
    assert "Fill" not in [node.op for node in fold_constants(definition, ["y:0"]).node]
