"""What --run and --model give, and what is said of wrong ones."""

import shutil

import keras
import numpy as np
import pytest
from keras import layers

from export import command
from export.config import ExportOptions
from export.ticket import load, load_file
from lth_tf.errors import UsageError
from lth_tf.masking.model import mask_model, set_masks
from lth_tf.runs.stage import Stage
from lth_tf.tickets.callback import TicketCallback


def from_run(run_dir, **fields):
    return load(run_dir.path, **fields)


def test_the_smallest_winning_ticket_of_a_run(lenet_run):
    summaries = [lenet_run.summary(Stage(level)) for level in range(9)]
    dense = summaries[0]
    winning = [
        s["level"]
        for s in summaries[1:]
        if s["early_stop_iteration"] <= dense["early_stop_iteration"]
        and s["early_stop_test_accuracy"] >= dense["early_stop_test_accuracy"] - 0.1
    ]
    source = from_run(lenet_run, tolerance=10.0)
    assert source.name == f"lenet_level_{max(winning):02d}"
    assert source.folder == lenet_run.path / "export"


def test_trained_weights_and_those_it_starts_from(lenet_run):
    trained = from_run(lenet_run, level=5).model
    origin = from_run(lenet_run, level=5, weights="origin")
    assert origin.name == "lenet_level_05_origin"
    mask = next(iter(lenet_run.mask(Stage(5)).values()))
    kernels = {
        "trained": next(iter(lenet_run.trained(Stage(5)).values())),
        "origin": next(iter(lenet_run.ticket(5).values())),
    }
    for model, name in ((trained, "trained"), (origin.model, "origin")):
        kernel = model.get_layer("fc1").kernel.numpy()
        np.testing.assert_array_equal(kernel, kernels[name])
        assert not kernel[mask == 0].any()
    assert (kernels["trained"] != kernels["origin"]).any()


def test_run_of_model_fit(tmp_path):
    inputs, labels = np.eye(12, dtype=np.float32)[np.arange(60) % 12], np.arange(60) % 3
    model = keras.Sequential(
        [keras.Input((12,)), layers.Dense(8, "relu", name="one"), layers.Dense(3, name="two")],
        name="own",
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    tickets = TicketCallback(tmp_path / "run", epochs_per_level=1, levels=1, verbose=0)
    model.fit(
        inputs, labels, validation_data=(inputs, labels), epochs=2, callbacks=[tickets], verbose=0
    )
    source = from_run(tickets.run_dir, level=1)
    assert source.name == "own_level_01"
    assert source.train is None and len(source.test) == 64
    kernel = source.model.get_layer("one").kernel.numpy()
    np.testing.assert_array_equal(kernel, tickets.run_dir.trained(Stage(1))["one/kernel"])
    assert np.count_nonzero(kernel) == 77  # 96 - 19
    np.savez(tmp_path / "examples.npz", x=inputs, y=labels)
    source = from_run(tickets.run_dir, level=1, examples=str(tmp_path / "examples.npz"))
    np.testing.assert_array_equal(source.test.labels, labels)
    tickets.run_dir.model_path.unlink()
    with pytest.raises(UsageError, match="Received: a run of a model that Keras could not save"):
        from_run(tickets.run_dir, level=1)


def test_its_test_images_are_what_the_network_was_tested_on(lenet_run, digits):
    source = from_run(lenet_run, level=3)
    np.testing.assert_array_equal(source.test.inputs["inputs"] * 255, digits.test.images)
    outputs = source.model.predict(source.test.inputs["inputs"], verbose=0)
    accuracy = np.mean(outputs.argmax(-1) == source.test.labels)
    assert accuracy == pytest.approx(lenet_run.summary(Stage(3))["final_test_accuracy"], abs=1e-6)
    assert len(source.representative["inputs"]) == 256


def test_the_dense_network_is_no_ticket(lenet_run):
    with pytest.raises(UsageError, match="Expected a ticket.*level 0.*no weight that is 0"):
        from_run(lenet_run, level=0)


def test_a_level_that_is_not_there(lenet_run):
    with pytest.raises(UsageError, match=r"0, 1, 2, 3, 4, 5, 6, 7, 8\. Received: level_40"):
        from_run(lenet_run, level=40)


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(UsageError, match="Expected a run directory"):
        load(tmp_path)


def test_a_run_with_a_truncated_file(lenet_run, tmp_path):
    copy = tmp_path / "seed_0"
    shutil.copytree(lenet_run.path, copy)
    weights = copy / "level_05" / "weights.npz"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UsageError, match="level_05/weights.npz"):
        load(copy, 5)


@pytest.fixture
def pruned(tmp_path):
    """A masked .keras file of the user's; half of its weights are pruned."""
    model = mask_model(keras.Sequential([keras.Input((6,)), layers.Dense(4, name="fc")]))
    set_masks(model, {"fc/kernel": np.resize([0, 1], (6, 4)).astype(np.uint8)})
    model.save(tmp_path / "mine.keras")
    return tmp_path / "mine.keras"


def test_a_masked_keras_file(pruned):
    source = load_file(pruned)
    assert source.name == "mine"
    assert type(source.model.layers[0]) is layers.Dense
    assert np.count_nonzero(source.model.layers[0].kernel) == 12
    assert source.test.inputs["inputs"].shape == (64, 6)
    assert source.train is None


def test_examples_of_the_users(pruned, tmp_path):
    np.savez(tmp_path / "data.npz", x=np.ones((9, 6)), y=np.zeros(9, int))
    source = load_file(pruned, examples=str(tmp_path / "data.npz"))
    assert source.test.inputs["inputs"].dtype == np.float32
    assert source.representative["inputs"].shape == (9, 6)
    assert source.train.labels.tolist() == [0] * 9


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (np.ones((9, 5)), r"examples \[n, 6\].*\(9, 5\)"),
        (np.ones((0, 6)), r"examples \[n, 6\].*\(0, 6\)"),
        (np.ones((9,)), r"examples \[n, 6\].*\(9,\)"),
        (np.array([{}]), r"allow_pickle=False"),
    ],
)
def test_examples_that_do_not_fit(pruned, content, expected, tmp_path):
    np.save(tmp_path / "data.npy", content)
    with pytest.raises(UsageError, match=expected):
        load_file(pruned, examples=str(tmp_path / "data.npy"))


def test_an_npz_file_without_x(pruned, tmp_path):
    np.savez(tmp_path / "data.npz", images=np.ones((9, 6)))
    with pytest.raises(UsageError, match="an .npz file with an array x"):
        load_file(pruned, examples=str(tmp_path / "data.npz"))


def test_a_truncated_keras_file(pruned):
    pruned.write_bytes(pruned.read_bytes()[:2000])
    with pytest.raises(UsageError, match=r"file that Keras can load.*mine\.keras"):
        load_file(pruned)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"Expected a \.keras file"):
        load_file(tmp_path / "none.keras")


def test_a_model_that_is_not_pruned(tmp_path):
    keras.Sequential([keras.Input((6,)), layers.Dense(4)]).save(tmp_path / "dense.keras")
    with pytest.raises(UsageError, match="Expected a ticket or a pruned model"):
        load_file(tmp_path / "dense.keras")


def test_random_inputs_cannot_stand_in_for_whole_numbers(tmp_path):
    model = keras.Sequential([keras.Input((3,), dtype="int32"), layers.Embedding(10, 4)])
    model.layers[0].embeddings.assign(np.eye(10, 4))
    model.save(tmp_path / "words.keras")
    with pytest.raises(UsageError, match="--examples=FILE.npy.*int32"):
        load_file(tmp_path / "words.keras")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "Expected --run=RUN_DIR or --model=FILE.keras"),
        ({"run": "a", "model": "b"}, "Received: both"),
        ({"run": "a", "format": "caffe"}, "keras, onnx, saved_model, tflite.*format='caffe'"),
        ({"run": "a", "format": ""}, "keras, onnx, saved_model, tflite.*format=''"),
        ({"run": "a", "dtype": "int4"}, "float32, float16, int8.*dtype='int4'"),
        ({"run": "a", "cluster": 1}, "0 or at least 2"),
        ({"run": "a", "tolerance": -1.0}, r"tolerance.*\[0.0, 100.0\]"),
    ],
)
def test_options_that_do_not_fit(fields, expected):
    with pytest.raises(UsageError, match=expected):
        command.load(ExportOptions(**fields))
