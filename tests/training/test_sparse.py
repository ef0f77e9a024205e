"""Training on the remaining weights alone, against the dense step."""

import dataclasses

import keras
import numpy as np
import pytest

from lth_tf import networks
from lth_tf.config import ExperimentConfig
from lth_tf.datasets import from_arrays
from lth_tf.errors import RunError, UsageError
from lth_tf.masking.model import get_masks, get_weights, mask_model, set_masks, set_weights
from lth_tf.methods.hooks import Hooks
from lth_tf.runs.stage import Stage
from lth_tf.tickets.find import find_tickets
from lth_tf.training.sparse.network import DenseLayer, remaining
from lth_tf.training.trainer import Trainer

TINY = ExperimentConfig(
    dataset="digits", iterations=60, batch_size=32, eval_interval=20, test_interval=20
)
OPTIMIZERS = [
    {"optimizer": "adam"},
    {"optimizer": "adam", "weight_decay": 1e-2, "batch_size": 100},
    {"optimizer": "sgd", "learning_rate": 0.1, "lr_drops": (30,)},
    {
        "optimizer": "momentum",
        "learning_rate": 0.05,
        "weight_decay": 1e-3,
        "lr_drops": (50,),
        "warmup_iterations": 10,
        "batch_size": 64,
    },
]


def lenet(seed=0):
    return networks.build("lenet", (28, 28, 1), 10, seed=seed)


def thin(model, density, seed=0):
    random = np.random.default_rng(seed)
    set_masks(
        model, {k: (random.random(m.shape) < density) * 1 for k, m in get_masks(model).items()}
    )
    return model


def trained(data, config, step, density=0.2, seed=0):
    """Returns what a training comes to, and the weights at its end."""
    model = thin(lenet(), density, seed)
    history = Trainer(model, data, config, "off", step=step).fit()
    return history, get_weights(model)


def assert_equal_up_to_rounding(one, other):
    (first, weights), (second, others) = one, other
    for column, values in first.arrays().items():
        atol = 0.01 if "accuracy" in column else 0
        np.testing.assert_allclose(values, second.arrays()[column], rtol=1e-4, atol=atol)
    for path, value in weights.items():
        np.testing.assert_allclose(value, others[path], rtol=0, atol=1e-4, err_msg=path)
        np.testing.assert_array_equal(value == 0, others[path] == 0)
    assert first.final_train_accuracy == pytest.approx(second.final_train_accuracy, abs=0.005)
    assert (first.correct.early_stop == second.correct.early_stop).mean() > 0.98


def assert_same_bits(one, other):
    (first, weights), (second, others) = one, other
    assert first.evaluations == second.evaluations
    for path, value in weights.items():
        np.testing.assert_array_equal(value, others[path])
    for name in ("early_stop", "final"):
        np.testing.assert_array_equal(getattr(first.correct, name), getattr(second.correct, name))


@pytest.mark.parametrize("changes", OPTIMIZERS, ids=lambda c: "-".join(map(str, c.values())))
def test_results_are_those_of_the_dense_step_up_to_rounding(digits, changes):
    """Dense, sparse, and so sparse that most units are dead."""
    config = dataclasses.replace(TINY, **changes)
    models = [lenet(), lenet()]
    trainers = [
        Trainer(model, digits, config, "off", step=step)
        for model, step in zip(models, ("sparse", "dense"), strict=True)
    ]
    start = get_weights(models[0])
    for density in (1.0, 0.2, 0.01):
        found = []
        for model, trainer in zip(models, trainers, strict=True):
            thin(model, density)
            set_weights(model, start)
            found.append((trainer.fit(), get_weights(model)))
        assert_equal_up_to_rounding(*found)


def test_losses_of_500_iterations_and_the_next_masks_are_the_dense_steps(digits, tmp_path):
    config = TINY.replace(iterations=500, eval_interval=1, test_interval=0, levels=1)
    config = config.replace(prune_rate_fc=0.9, prune_rate_output=0.5)
    runs = [
        find_tickets(config, digits, tmp_path / step, step=step) for step in ("sparse", "dense")
    ]
    for stage in (Stage(0), Stage(1)):
        one, other = (run.history(stage) for run in runs)
        assert len(one["train_loss"]) == 501
        # Rounding errors grow with the iterations, most where the loss has come near 0.
        np.testing.assert_allclose(one["train_loss"], other["train_loss"], rtol=0.01, atol=2e-4)
        assert [run.summary(stage)["step"] for run in runs] == ["sparse", "dense"]
    masks, others = (run.mask(Stage(1)) for run in runs)
    for path, mask in masks.items():
        assert (mask == others[path]).mean() > 0.9999, path


def test_same_bits_twice_and_other_bits_for_another_seed(digits):
    one, two = trained(digits, TINY, "sparse"), trained(digits, TINY, "sparse")
    assert_same_bits(one, two)
    other = trained(digits, dataclasses.replace(TINY, seed=1), "sparse")
    assert (other[1]["fc1/kernel"] != one[1]["fc1/kernel"]).any()


@pytest.mark.parametrize("stop", [0, 2])
@pytest.mark.parametrize("changes", OPTIMIZERS[1:], ids=lambda c: c["optimizer"])
def test_state_goes_on_bit_for_bit(digits, changes, stop):
    config = dataclasses.replace(TINY, **changes)
    model = thin(lenet(), 0.2)
    trainer = Trainer(model, digits, config, step="sparse")
    states = [trainer.state() for _ in trainer.evaluations()]
    whole = trainer.history(), get_weights(model)
    other = thin(lenet(seed=9), 0.2)
    # The state says which step it is of.
    resumed = Trainer(other, digits, config, "off")
    resumed.restore(states[stop])
    for _ in resumed.evaluations():
        pass
    assert resumed.step == "sparse"
    assert_same_bits(whole, (resumed.history(), get_weights(other)))


def test_the_model_has_the_weights_that_accuracies_are_of(digits):
    model = thin(lenet(), 0.2)
    trainer = Trainer(model, digits, TINY, step="sparse")
    evaluation = list(trainer.evaluations(until=40))[-1]
    logits = model(digits.test.images.astype(np.float32) / 255)
    expected = np.mean(np.argmax(logits, -1) == digits.test.labels)
    assert expected == pytest.approx(evaluation.test_accuracy, abs=0.003)
    assert trainer.accuracy("test") == evaluation.test_accuracy
    set_weights(model, {path: value * 0 for path, value in get_weights(model).items()})
    assert trainer.accuracy("test") == pytest.approx(np.mean(digits.test.labels == 0))


def hand_made(decay=0.0):
    """Three inputs, two hidden units; unit 1 is read by nothing, unit 0 reads input 0 alone."""
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(3, activation="relu", name="hidden"),
            keras.layers.Dense(2, name="output"),
        ]
    )
    mask_model(model)
    masks = {
        "hidden/kernel": np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]]),
        "output/kernel": np.array([[1, 0], [0, 0], [1, 1]]),
    }
    set_masks(model, masks)
    set_weights(model, {path: v * 0 + 0.5 for path, v in get_weights(model).items()})
    random = np.random.default_rng(0)
    inputs = random.random((200, 3), np.float32)
    data = from_arrays(inputs, (inputs[:, 0] > 0.5) * 1)
    config = ExperimentConfig(
        iterations=50, batch_size=20, eval_interval=50, learning_rate=0.01, weight_decay=decay
    )
    return model, data, config


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_dead_units_are_right(decay):
    """One that nothing reads, one that reads nothing, and inputs that nothing reads."""
    found = []
    for step in ("sparse", "dense"):
        model, data, config = hand_made(decay)
        history = Trainer(model, data, config, "off", step=step).fit()
        found.append((history, get_weights(model)))
    assert_equal_up_to_rounding(*found)
    weights = found[0][1]
    # Nothing reads unit 1: its weights move by their decay alone, its bias not at all.
    moved = weights["hidden/kernel"][:, 1] != 0.5
    assert moved.tolist() == [bool(decay), bool(decay), True]
    assert (weights["hidden/kernel"][2] == 0).all()
    assert weights["hidden/bias"][1] == 0.5
    assert weights["hidden/bias"][2] != 0.5


def test_dead_units_cost_nothing():
    masks = [np.zeros((64, 30), np.uint8), np.zeros((30, 4), np.uint8)]
    masks[0][:, :20] = 1  # units 20 to 29 read nothing
    masks[1][15:25] = 1  # nothing reads units 0 to 14 and 25 to 29
    left = remaining([DenseLayer(masks[0], True, True), DenseLayer(masks[1], False, True)])
    assert [len(units) for units in left.units] == [10, 4]
    assert [len(entries) for entries in left.weights] == [64 * 5, 40]
    assert [len(entries) for entries in left.others] == [64 * 15, 0]
    assert len(left.layout.source) == 64 * 5 + 40


def test_networks_without_a_bias_with_a_layer_of_its_own_for_relu_and_odd_sizes():
    found = []
    random = np.random.default_rng(0)
    inputs = random.normal(size=(300, 5, 7)).astype(np.float32)
    data = from_arrays(inputs, (inputs[:, 0, 0] > 0) * 1 + (inputs[:, 1, 1] > 0))
    config = ExperimentConfig(iterations=30, batch_size=7, eval_interval=10)
    for step in ("sparse", "dense"):
        keras.utils.set_random_seed(0)
        entrance = keras.Input((5, 7))
        hidden = keras.layers.Flatten()(entrance)
        hidden = keras.layers.Dense(9, use_bias=False, name="hidden")(hidden)
        hidden = keras.layers.Dense(6, activation="relu", name="other")(keras.layers.ReLU()(hidden))
        model = mask_model(keras.Model(entrance, keras.layers.Dense(3, name="output")(hidden)))
        thin(model, 0.6)
        history = Trainer(model, data, config, "off", step=step).fit()
        found.append((history, get_weights(model)))
    assert_equal_up_to_rounding(*found)


def sequential(*layers, shape=(28, 28, 1)):
    return mask_model(keras.Sequential([keras.Input(shape), *layers]))


DENSE = keras.layers.Dense
REFUSED = {
    "Conv2D 'conv'": lambda: sequential(
        keras.layers.Conv2D(2, 3, name="conv"), keras.layers.Flatten(), DENSE(10)
    ),
    "Dropout 'drop'": lambda: sequential(
        keras.layers.Flatten(), keras.layers.Dropout(0.5, name="drop"), DENSE(10)
    ),
    "Dense 'tanh' with more than weights, a bias and ReLU": lambda: sequential(
        keras.layers.Flatten(), DENSE(5, activation="tanh", name="tanh"), DENSE(10)
    ),
    "its losses": lambda: sequential(keras.layers.Flatten(), DENSE(10, kernel_regularizer="l2")),
    "a model whose outputs are not those of a dense layer alone": lambda: sequential(
        keras.layers.Flatten(), DENSE(10, activation="relu")
    ),
}


@pytest.mark.parametrize("obstacle", REFUSED)
def test_other_networks_are_refused_in_one_line_and_trained_densely_by_auto(digits, obstacle):
    model = REFUSED[obstacle]()
    with pytest.raises(UsageError) as error:
        Trainer(model, digits, TINY, step="sparse")
    assert str(error.value) == (
        "Expected a network of dense layers with ReLU for step='sparse'. "
        f"Received: {obstacle}. Use step='dense'."
    )
    assert error.value.arguments == ("step",)
    trainer = Trainer(model, digits, TINY.replace(iterations=2_000), "off", step="auto")
    trainer.restart()
    assert (trainer.step, trainer.timed) == ("dense", False)


@pytest.mark.parametrize(
    ("changes", "hooks", "obstacle"),
    [
        ({"precision": "mixed_bfloat16"}, None, "precision='mixed_bfloat16'"),
        ({"augment": True}, None, "augment=True"),
        ({}, type("Mine", (Hooks,), {})(), "a method that changes updates"),
    ],
    ids=["precision", "augment", "hooks"],
)
def test_other_trainings_are_refused(digits, changes, hooks, obstacle):
    config = dataclasses.replace(TINY, **changes)
    with pytest.raises(UsageError, match=obstacle):
        Trainer(lenet(), digits, config, hooks=hooks, step="sparse")


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_loss_that_is_not_finite_stops_with_the_iteration(digits):
    config = dataclasses.replace(TINY, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(RunError) as error:
        Trainer(lenet(), digits, config, step="sparse").fit()
    assert str(error.value) == (
        "The loss is not finite at iteration 2. Try a smaller learning_rate."
    )
