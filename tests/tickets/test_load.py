"""Tickets as plain Keras models, for notebooks."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import sklearn.datasets

import lth_tf
from lth_tf import datasets, networks
from lth_tf.runs.stage import Stage


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits", image_shape=networks.image_shape("lenet"))


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    """Two levels of LeNet on digits."""
    config = lth_tf.ExperimentConfig(iterations=200, eval_interval=20, levels=2)
    config = config.replace(reinits=1)
    return lth_tf.find_tickets(config, digits, tmp_path_factory.mktemp("run") / "seed_0")


def test_a_ticket_takes_images_as_the_data_set_holds_them(run, digits):
    assert digits.test.inputs.dtype == np.uint8
    model = lth_tf.load_ticket(run.path, 1)
    decided = model.predict(digits.test.inputs, verbose=0).argmax(1)
    accuracy = run.summary(Stage(1))["final_test_accuracy"]
    assert (decided == digits.test.labels).mean() == pytest.approx(accuracy, abs=1e-9)


def test_without_scaling_it_takes_what_the_network_was_given(run, digits):
    images = digits.test.inputs[:50]
    with_scaling, without = (lth_tf.load_ticket(run, 2, scale=s) for s in (True, False))
    np.testing.assert_array_equal(
        with_scaling(images), without(images.astype(np.float32) / np.float32(255))
    )
    assert not lth_tf.get_masks(without)


def test_a_ticket_takes_the_rows_of_a_table_as_they_are_published(tmp_path):
    table = datasets.load("breast_cancer", image_shape=(30,))
    config = lth_tf.ExperimentConfig(network="mlp", iterations=60, batch_size=32, levels=1)
    run = lth_tf.find_tickets(config, table, tmp_path / "run", jit="off")
    lth_tf.load_ticket(run, 1).save(tmp_path / "ticket.keras")
    model = keras.models.load_model(tmp_path / "ticket.keras")
    accuracy = run.summary(Stage(1))["final_test_accuracy"]
    assert 0.9 < accuracy < 1
    decided = model.predict(table.test.inputs, verbose=0).argmax(1)
    assert (decided == table.test.labels).mean() == pytest.approx(accuracy, abs=1e-9)


def test_weights_are_those_of_the_run(run):
    kernel = run.mask(Stage(2))["fc1/kernel"].astype(bool)
    origin = lth_tf.load_ticket(run, 2, weights="origin", scale=False).get_layer("fc1").kernel
    np.testing.assert_array_equal(origin, np.where(kernel, run.origin()["fc1/kernel"], 0))
    control = lth_tf.load_ticket(run, 2, control="reinit_0", scale=False).get_layer("fc1").kernel
    trained = run.trained(Stage(2, "reinit_0"))["fc1/kernel"]
    np.testing.assert_array_equal(control, trained)


def test_a_file_saved_from_it_needs_keras_alone(run, digits, tmp_path):
    model = lth_tf.load_ticket(run, 1)
    model.save(tmp_path / "ticket.keras")
    np.save(tmp_path / "images.npy", digits.test.inputs[:5])
    code = (
        "import sys, keras, numpy as np; model = keras.models.load_model(sys.argv[1]); "
        "np.save(sys.argv[2], model(np.load(sys.argv[2]))); assert 'lth_tf' not in sys.modules"
    )
    files = [str(tmp_path / "ticket.keras"), str(tmp_path / "images.npy")]
    subprocess.run([sys.executable, "-c", code, *files], check=True)
    found = np.load(tmp_path / "images.npy")
    np.testing.assert_allclose(found, model(digits.test.inputs[:5]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": 7}, "finished level of .*: 0, 1, 2. Received: level_07"),
        ({"level": 1, "weights": "best"}, "Received: weights='best'"),
        ({"level": 1, "control": "reinit_3"}, "Received: level_01/reinit_3"),
        ({"level": 1, "control": "reinit_0", "weights": "origin"}, "is not kept"),
    ],
)
def test_mistakes_are_one_line(run, arguments, message):
    with pytest.raises(lth_tf.UsageError, match=message):
        lth_tf.load_ticket(run, **arguments)


def test_the_model_of_a_fit(tmp_path):
    x, y = sklearn.datasets.load_iris(return_X_y=True)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    tickets = lth_tf.TicketCallback(tmp_path / "run", epochs_per_level=1, levels=1, verbose=0)
    model.fit(x, y, validation_split=0.2, epochs=9, callbacks=[tickets], verbose=0)
    loaded = lth_tf.load_ticket(tmp_path / "run", 1)
    np.testing.assert_allclose(loaded(x), model(x), rtol=1e-6)
