"""Controls in `model.fit`: what a ticket is compared with."""

import random

import keras
import numpy as np
import pytest
import sklearn.datasets

import lth_tf
from lth_tf.controls.random_mask import RandomMask
from lth_tf.controls.reinit import Reinit
from lth_tf.methods.imp import IMP
from lth_tf.runs.stage import Stage


def new_model(seed=None):
    initializer = keras.initializers.GlorotUniform(seed)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(20, "relu", name="hidden", kernel_initializer=initializer),
            keras.layers.Dense(10, name="out"),
        ],
        name="m",
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def fit(path, model=None, **options):
    keras.utils.set_random_seed(1)
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    model = model or new_model()
    tickets = lth_tf.TicketCallback(path, epochs_per_level=1, levels=1, verbose=0, **options)
    model.fit(
        x / 16,
        y,
        batch_size=64,
        validation_split=0.2,
        epochs=tickets.epochs,
        callbacks=[tickets],
        shuffle=False,
        verbose=0,
    )
    return tickets.run_dir


@pytest.mark.parametrize("seed", [None, 7], ids=["unseeded", "seeded"])
def test_a_reinitialized_control_has_the_mask_and_other_weights(tmp_path, seed):
    run = fit(tmp_path / "run", new_model(seed), reinits=1)
    assert run.finished() == [
        Stage(0),
        Stage(0, "reinit_0"),
        Stage(1),
        Stage(1, "reinit_0"),
    ]
    ticket, control = run.mask(Stage(1)), run.mask(Stage(1, "reinit_0"))
    for path, mask in ticket.items():
        np.testing.assert_array_equal(control[path], mask)
    # An epoch of Adam at 1e-3 moves a weight by less than 23 * 1e-3.
    far = np.abs(run.trained(Stage(1, "reinit_0"))["hidden/kernel"] - run.origin()["hidden/kernel"])
    near = np.abs(run.trained(Stage(1))["hidden/kernel"] - run.origin()["hidden/kernel"])
    kept = ticket["hidden/kernel"] == 1
    assert near[kept].max() < 0.05
    assert (far[kept] > 0.05).mean() > 0.6


def test_random_masks_keep_the_counts_and_start_from_the_origin(tmp_path):
    run = fit(tmp_path / "run", random_masks=1, random_mask_weights="origin", start="continue")
    ticket, control = run.mask(Stage(1)), run.mask(Stage(1, "random_0"))
    assert {k: v.sum() for k, v in ticket.items()} == {k: v.sum() for k, v in control.items()}
    assert (ticket["hidden/kernel"] != control["hidden/kernel"]).mean() > 0.2
    moved = run.trained(Stage(1, "random_0"))["hidden/kernel"] - run.origin()["hidden/kernel"]
    assert np.abs(moved[control["hidden/kernel"] == 1]).max() < 0.05


def test_objects_are_taken_as_well_as_options(tmp_path):
    one = fit(tmp_path / "one", strategy="oneshot", reinits=1, random_masks=1)
    other = fit(
        tmp_path / "other",
        method=IMP(strategy="oneshot"),
        controls=(Reinit(1), RandomMask(1)),
    )
    assert one.config() == other.config()
    assert one.finished() == other.finished() and len(one.finished()) == 6
    for stage in one.finished():
        for path, value in one.trained(stage).items():
            np.testing.assert_array_equal(other.trained(stage)[path], value)


def test_an_unknown_option_is_one_line(tmp_path):
    with pytest.raises(lth_tf.UsageError, match="Received: reinit."):
        lth_tf.TicketCallback(tmp_path, epochs_per_level=1, levels=1, reinit=1)


def test_the_programs_random_numbers_are_left_alone(tmp_path):
    model = lth_tf.mask_model(new_model())
    from lth_tf.tickets.reinitialize import new_weights

    random.seed(3)
    expected = random.random()
    random.seed(3)
    one, other = new_weights(model, 0, "a"), new_weights(model, 0, "b")
    assert random.random() == expected
    again = new_weights(model, 0, "a")
    np.testing.assert_array_equal(one["hidden/kernel"], again["hidden/kernel"])
    assert (one["hidden/kernel"] != other["hidden/kernel"]).all()


@keras.saving.register_keras_serializable("test_controls")
class Own(keras.layers.Layer):
    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(4, name="d")
        self.function = function

    def call(self, x):
        return self.function(self.dense(x))


def test_a_model_that_cannot_be_made_anew_is_one_line():
    model = keras.Sequential([keras.Input((4,)), Own(lambda x: x), keras.layers.Dense(2)])
    from lth_tf.tickets.reinitialize import new_weights

    with pytest.raises(lth_tf.UsageError, match="Expected a model that Keras can make anew"):
        new_weights(lth_tf.mask_model(model), 0, "a")
