"""Tickets of own networks on own arrays, as in a notebook."""

import keras
import numpy as np
import pytest
import sklearn.datasets

import lth_tf
from lth_tf.config import ExperimentConfig
from lth_tf.runs.stage import Stage


def table():
    x, y = sklearn.datasets.load_breast_cancer(return_X_y=True)
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32), y


def unnamed(input_shape, classes):
    """Layers without names of their own."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Dense(20, activation="relu"),
            keras.layers.Dense(10, activation="relu"),
            keras.layers.Dense(classes),
        ]
    )


def own(**changes):
    config = ExperimentConfig(
        network=unnamed,
        iterations=60,
        batch_size=32,
        eval_interval=20,
        levels=2,
        learning_rate=0.01,
    )
    return config.replace(**changes)


def test_a_function_is_a_network_and_arrays_are_a_data_set(tmp_path):
    data = lth_tf.from_arrays(*table())
    keras.layers.Dense(1)  # Keras has counted names before
    run = lth_tf.find_tickets(own(reinits=1, rewind_iteration=10), data, tmp_path / "run")
    # 30 * 20 + 20 * 10 by 0.2, 10 * 2 by 0.1.
    assert [run.summary(Stage(n))["remaining"] for n in range(3)] == [820, 658, 528]
    assert run.mask(Stage(2)).keys() == {"dense/kernel", "dense_1/kernel", "dense_2/kernel"}
    assert int(run.mask(Stage(2))["dense_2/kernel"].sum()) == 16
    assert run.summary(Stage(2))["final_test_accuracy"] > 0.9
    assert run.config().dataset == "arrays" and run.provenance()["data"]["classes"] == 2
    again = lth_tf.find_tickets(own(reinits=1, rewind_iteration=10), data, tmp_path / "again")
    for path, value in run.trained(Stage(2, "reinit_0")).items():
        np.testing.assert_array_equal(again.trained(Stage(2, "reinit_0"))[path], value)


def test_other_data_are_refused_and_nothing_is_lost(tmp_path):
    x, y = table()
    config = own(levels=0)
    run = lth_tf.find_tickets(config, lth_tf.from_arrays(x, y), tmp_path / "run")
    with pytest.raises(lth_tf.UsageError, match="Received: other examples"):
        lth_tf.find_tickets(config.replace(levels=1), lth_tf.from_arrays(x, 1 - y), run.path)
    assert run.finished() == [Stage(0)]


def test_a_function_is_a_criterion(tmp_path):
    def first_go(context):
        return {
            path: np.arange(mask.size, dtype=np.float32).reshape(mask.shape)
            for path, mask in context.masks.items()
        }

    run = lth_tf.find_tickets(
        own(criterion=first_go, levels=1), lth_tf.from_arrays(*table()), tmp_path / "run"
    )
    kept = run.mask(Stage(1))["dense/kernel"].ravel()
    assert not kept[:120].any() and kept[120:].all()


def test_levels_with_nothing_left_to_prune_are_not_trained(tmp_path):
    def tiny(input_shape, classes):
        return keras.Sequential(
            [keras.Input(input_shape), keras.layers.Dense(classes, name="output", use_bias=False)]
        )

    inputs = np.random.default_rng(0).normal(size=(40, 2)).astype("float32")
    data = lth_tf.from_arrays(inputs, (inputs[:, 0] > 0).astype("int32"), validation_size=8)
    config = ExperimentConfig(
        network=tiny, iterations=2, eval_interval=2, batch_size=8, levels=9, prune_rate_output=0.3
    )
    # 4 weights; 0.3 of the last one is none.
    with pytest.warns(UserWarning, match="Levels 4 to 9 are not trained: at level 3 nothing is"):
        run = lth_tf.find_tickets(config, data, tmp_path / "run")
    assert [run.summary(stage)["remaining"] for stage in run.finished()] == [4, 3, 2, 1]


def test_in_fit_they_are_not_trained_either(tmp_path, capsys):
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(2, name="output", use_bias=False)], name="tiny"
    )
    model.compile("adam", "mse")
    inputs = np.random.default_rng(0).normal(size=(40, 2)).astype("float32")
    tickets = lth_tf.TicketCallback(
        tmp_path / "run", epochs_per_level=1, levels=9, prune_rates=0.3, metric="loss"
    )
    model.fit(
        inputs, inputs, validation_split=0.2, epochs=tickets.epochs, callbacks=[tickets], verbose=0
    )
    assert "Levels 4 to 9 are not trained: at level 3 nothing is left" in capsys.readouterr().out
    assert [stage.level for stage in tickets.run_dir.finished()] == [0, 1, 2, 3]
    assert tickets.epochs == 0


@pytest.mark.parametrize(
    "network, received",
    [
        ("conv2", "Expected images .* for the network conv2. Received: float32 of shape (30,)"),
        ("transformer", "Expected whole numbers .* for the network transformer. Received: float32"),
    ],
)
def test_a_network_that_is_made_for_other_inputs_is_refused(network, received, tmp_path):
    data = lth_tf.from_arrays(*table())
    with pytest.raises(lth_tf.UsageError, match=received.replace("(30,)", r"\(30,\)")):
        lth_tf.find_tickets(own(network=network), data, tmp_path / "run")
