import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from lth_tf import networks
from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Data, Split, preprocessing
from lth_tf.errors import RunError
from lth_tf.masking.model import (
    get_masks,
    get_weights,
    set_masks,
    set_weights,
    to_numpy,
    weight_variables,
)
from lth_tf.training.batches import InMemoryBatches
from lth_tf.training.choice import uses_jit
from lth_tf.training.schedules import WarmupAndDrops
from lth_tf.training.trainer import Trainer

TINY = ExperimentConfig(dataset="digits", iterations=60, batch_size=32, eval_interval=20)


def lenet(seed=0):
    return networks.build("lenet", (28, 28, 1), 10, seed=seed)


def thin(model, rate=0.7, seed=0):
    """Masks that prune `rate` of the weights."""
    random = np.random.default_rng(seed)
    masks = {
        k: (random.random(v.shape) > rate).astype(np.uint8) for k, v in get_masks(model).items()
    }
    set_masks(model, masks)
    return masks


def same(one, other):
    return all(np.array_equal(one[path], other[path]) for path in one)


OPTIMIZERS = [
    {"optimizer": "adam"},
    {"optimizer": "sgd", "learning_rate": 0.1},
    {"optimizer": "momentum", "learning_rate": 0.05, "weight_decay": 1e-2},
]


@pytest.mark.parametrize("jit", ["on", "off"])
@pytest.mark.parametrize("changes", OPTIMIZERS, ids=lambda c: c["optimizer"])
def test_pruned_weights_stay_exactly_zero_and_the_others_move(digits, changes, jit):
    model = lenet()
    masks = thin(model)
    before = get_weights(model)
    Trainer(model, digits, dataclasses.replace(TINY, **changes), jit).fit()
    for path, mask in masks.items():
        # The stored variable, not what the layer makes of it.
        stored = to_numpy(weight_variables(model)[path])
        assert (stored[mask == 0] == 0).all()
        moved = stored != before[path]
        kept = (mask == 1) & (before[path] != 0)
        negative = kept & (before[path] < 0)
        # Inputs that are always 0 (the margins of the digits) move no weight without decay.
        assert moved[negative].mean() > 0.5
        assert moved[kept].mean() > 0.5


def test_the_compiled_loop_matches_plain_keras(digits):
    """The fast path against `train_on_batch` on the same batches."""
    config = dataclasses.replace(TINY, optimizer="sgd", learning_rate=0.1, iterations=20)
    fast = lenet()
    trainer = Trainer(fast, digits, config, "off")
    history = trainer.fit()
    slow = lenet()
    slow.compile(
        keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    batches = InMemoryBatches(digits.train, digits.preprocessing, config)
    losses = [
        slow.train_on_batch(
            digits.train.images[rows].astype(np.float32) / 255, digits.train.labels[rows]
        )
        for rows in batches.feed(0, 20).numpy()
    ]
    for path, value in get_weights(slow).items():
        np.testing.assert_allclose(get_weights(fast)[path], value, atol=1e-5)
    assert len(losses) == 20
    logits = slow(digits.test.images.astype(np.float32) / 255)
    expected = np.argmax(logits, -1) == digits.test.labels
    assert history.final_test_accuracy == pytest.approx(np.mean(expected), abs=0.003)
    # One label may be decided by rounding.
    assert np.count_nonzero(history.correct.final != expected) <= 1
    assert history.correct.chance == np.bincount(digits.test.labels).max() / 360


def test_labels_predicted_by_the_best_and_the_last_weights(digits):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, name="output")])
    model.set_weights([np.array([[0.0, 1.0]]), np.zeros(2)])  # the larger number is class 1
    count = 1_203  # three batches, the last one smaller
    inputs = np.random.default_rng(0).standard_normal((count, 1)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int32)
    labels[[0, 700, 1202]] ^= 1
    few = Split(inputs[:300], 1 - labels[:300])  # learned, all is wrong
    data = Data("numbers", few, Split(inputs[:400], labels[:400]), Split(inputs, labels), 2)
    config = dataclasses.replace(
        TINY, dataset="numbers", optimizer="sgd", learning_rate=1.0, iterations=40
    )
    history = Trainer(model, data, config).fit()
    assert history.early_stop_iteration == 0
    assert np.flatnonzero(~history.correct.early_stop).tolist() == [0, 700, 1202]
    assert history.early_stop_test_accuracy == 1_200 / 1_203
    assert history.final_test_accuracy < 0.1
    assert history.correct.final.sum() / count == history.final_test_accuracy


def test_same_seed_same_bits_other_seed_other_bits(digits):
    def trained(seed):
        model = lenet()
        history = Trainer(model, digits, dataclasses.replace(TINY, seed=seed)).fit()
        return get_weights(model), history

    (one, first), (two, second), (three, _) = trained(0), trained(0), trained(1)
    assert same(one, two)
    assert first.evaluations == second.evaluations
    assert not same(one, three)


def test_compiled_once_for_all_levels(digits):
    model = lenet()
    trainer = Trainer(model, digits, dataclasses.replace(TINY, iterations=50))
    for level in range(3):
        thin(model, rate=0.2 * level)
        trainer.fit()
    assert trainer.traces == 1


def test_every_training_starts_afresh(digits):
    """Optimizer slots and schedule of one level leave no trace in the next."""
    config = dataclasses.replace(TINY, optimizer="momentum", learning_rate=0.1, lr_drops=(30,))
    model = lenet()
    start = get_weights(model)
    trainer = Trainer(model, digits, config)
    first = trainer.fit()
    ended = get_weights(model)
    set_weights(model, start)
    trainer.restart()
    state = trainer.state()
    assert state["optimizer/0"] == 0  # updates made
    slots = [v for name, v in state.items() if name.startswith("optimizer/") and v.ndim > 1]
    assert len(slots) == 3 and all((slot == 0).all() for slot in slots)
    second = trainer.fit()
    assert same(ended, get_weights(model))
    assert first.evaluations == second.evaluations


def test_early_stop_is_the_first_minimum_of_the_validation_loss(digits):
    # So fast that the validation loss turns up again.
    config = dataclasses.replace(TINY, iterations=300, learning_rate=0.01, eval_interval=10)
    model = lenet()
    trainer = Trainer(model, digits, config)
    history = trainer.fit()
    losses = [e.validation_loss for e in history.evaluations]
    assert [e.iteration for e in history.evaluations] == list(range(0, 301, 10))
    assert history.early_stop_iteration == 10 * int(np.argmin(losses))
    assert 0 < history.early_stop_iteration < 300
    again = lenet()
    stopped = Trainer(again, digits, config)
    for _ in stopped.evaluations(until=history.early_stop_iteration):
        pass
    assert stopped.accuracy("test") == history.early_stop_test_accuracy
    assert trainer.accuracy("test") == history.final_test_accuracy
    assert trainer.accuracy("train") == history.final_train_accuracy


def test_test_labels_decide_nothing(digits):
    wrong = dataclasses.replace(
        digits, test=Split(digits.test.images, (digits.test.labels + 1) % 10)
    )
    results = []
    for data in (digits, wrong):
        model = lenet()
        results.append((Trainer(model, data, TINY).fit(), get_weights(model)))
    (right, one), (false, two) = results
    assert same(one, two)
    assert right.early_stop_iteration == false.early_stop_iteration
    assert right.early_stop_test_accuracy != false.early_stop_test_accuracy


def test_last_shorter_interval_and_test_curve(digits):
    config = dataclasses.replace(TINY, iterations=50, test_interval=40)
    history = Trainer(lenet(), digits, config).fit()
    assert [e.iteration for e in history.evaluations] == [0, 20, 40, 50]
    tested = [e.test_accuracy is not None for e in history.evaluations]
    assert tested == [True, False, True, False]
    assert "test_accuracy" not in history.evaluations[1].to_json()


@pytest.mark.parametrize("size", [40, 1_000, 1_237])
def test_evaluation_covers_every_example_once(digits, size):
    validation = Split(digits.train.images[:size], digits.train.labels[:size])
    data = dataclasses.replace(digits, validation=validation)
    model = lenet()
    evaluation = next(Trainer(model, data, TINY).evaluations())
    logits = model(validation.images.astype(np.float32) / 255)
    loss = keras.losses.sparse_categorical_crossentropy(validation.labels, logits, from_logits=True)
    assert evaluation.validation_loss == pytest.approx(float(np.mean(loss)), rel=1e-5)
    right = np.mean(np.argmax(logits, -1) == validation.labels)
    assert evaluation.validation_accuracy == pytest.approx(right)


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_state_goes_on_bit_for_bit(digits, stop):
    config = dataclasses.replace(TINY, optimizer="momentum", learning_rate=0.1)
    model = lenet()
    masks = thin(model)
    start = get_weights(model)
    trainer = Trainer(model, digits, config)
    for number, _ in enumerate(trainer.evaluations()):
        if number == stop:
            state = trainer.state()
    whole, ended = trainer.history(), get_weights(model)

    other = lenet(seed=9)
    set_masks(other, masks)
    set_weights(other, start)
    resumed = Trainer(other, digits, config)
    resumed.restore(state)
    for _ in resumed.evaluations():
        pass
    assert same(ended, get_weights(other))
    assert resumed.history().evaluations == whole.evaluations
    assert resumed.history().early_stop_test_accuracy == whole.early_stop_test_accuracy


def test_state_with_batch_norm_dropout_and_augmentation(digits_rgb):
    def tiny_network():
        keras.utils.set_random_seed(3)
        from lth_tf.masking.model import mask_model

        return mask_model(
            keras.Sequential(
                [
                    keras.Input((32, 32, 3)),
                    keras.layers.Conv2D(4, 3, strides=4, name="conv"),
                    keras.layers.BatchNormalization(name="bn"),
                    keras.layers.Flatten(),
                    keras.layers.Dropout(0.5),
                    keras.layers.Dense(10, name="output"),
                ]
            )
        )

    config = dataclasses.replace(TINY, augment=True, iterations=40)
    model = tiny_network()
    moving = get_weights(model)["bn/moving_mean"]
    trainer = Trainer(model, digits_rgb, config)
    states = [trainer.state() for _ in trainer.evaluations()]
    other = tiny_network()
    resumed = Trainer(other, digits_rgb, config)
    resumed.restore(states[1])
    for _ in resumed.evaluations():
        pass
    assert same(get_weights(model), get_weights(other))
    assert (get_weights(model)["bn/moving_mean"] != moving).all()


def test_weight_decay_is_added_to_the_gradient_of_kernels_only():
    images = np.zeros((40, 2, 2, 1), np.uint8)
    split = Split(images, np.zeros(40, np.int32))
    data = Data("zeros", split, split, split, classes=10)
    model = networks.build("lenet", (2, 2, 1), 10, seed=0)
    start = get_weights(model)
    config = ExperimentConfig(
        iterations=1, batch_size=10, optimizer="sgd", learning_rate=0.5, weight_decay=0.1
    )
    Trainer(model, data, config).fit()
    # Images of 0 give the first kernel no gradient but its decay: w - 0.5 * 0.1 * w.
    np.testing.assert_allclose(
        get_weights(model)["fc1/kernel"], 0.95 * start["fc1/kernel"], rtol=1e-5
    )
    plain = networks.build("lenet", (2, 2, 1), 10, seed=0)
    Trainer(plain, data, dataclasses.replace(config, weight_decay=0.0)).fit()
    np.testing.assert_array_equal(
        get_weights(model)["output/bias"], get_weights(plain)["output/bias"]
    )


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_loss_that_is_not_finite_stops_with_the_iteration(digits):
    config = dataclasses.replace(TINY, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(RunError) as error:
        Trainer(lenet(), digits, config).fit()
    assert str(error.value) == (
        "The loss is not finite at iteration 2. Try a smaller learning_rate."
    )


def test_jit_is_off_for_convolutions_on_a_cpu():
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("an accelerator compiles everything")
    conv = networks.build("resnet18", (32, 32, 3), 10, seed=0)
    assert [uses_jit(conv, jit) for jit in ("auto", "on", "off")] == [False, True, False]
    assert [uses_jit(lenet(), jit) for jit in ("auto", "on", "off")] == [True, True, False]


def test_schedule():
    schedule = WarmupAndDrops(0.1, drops=(20, 25), warmup_iterations=10)
    rates = [float(schedule(t)) for t in (0, 1, 10, 19, 20, 24, 25)]
    assert rates == pytest.approx([0, 0.01, 0.1, 0.1, 0.01, 0.01, 0.001])
    copy = WarmupAndDrops.from_config(schedule.get_config())
    assert float(copy(21)) == pytest.approx(0.01)


class TestAugment:
    images = np.arange(2 * 6 * 6 * 1, dtype=np.uint8).reshape(2, 6, 6, 1)

    def test_every_result_is_a_crop_of_the_padded_image_or_its_mirror(self):
        padded = np.pad(self.images, ((0, 0), (4, 4), (4, 4), (0, 0)))
        crops = [
            {
                view[y : y + 6, x : x + 6].tobytes()
                for y in range(9)
                for x in range(9)
                for view in (image, image[:, ::-1])
            }
            for image in padded
        ]
        seen = set()
        for seed in range(60):
            result = preprocessing.augment(tf.constant(self.images), tf.constant([0, seed]))
            assert result.dtype == tf.uint8
            for image, allowed in zip(result.numpy(), crops, strict=True):
                assert image.tobytes() in allowed
                seen.add(image.tobytes())
        assert len(seen) > 60

    def test_follows_its_seed(self):
        one, two, three = (
            preprocessing.augment(tf.constant(self.images), tf.constant(seed)).numpy()
            for seed in ([1, 2], [1, 2], [1, 4])
        )
        np.testing.assert_array_equal(one, two)
        assert (one != three).any()


def test_rate_is_that_of_the_iteration_after_rewinding(digits):
    """Adam's bias correction starts afresh with its slots; the schedule does not."""
    config = dataclasses.replace(TINY, iterations=31, lr_drops=(30,), learning_rate=0.01)
    model = lenet()
    trainer = Trainer(model, digits, config)
    for start, rate in ((29, 0.01), (30, 0.001)):
        trainer.restart(start)
        before = get_weights(model)["output/kernel"]
        for _ in trainer.evaluations(until=start + 1):
            pass
        # Adam's first step is its rate in each direction.
        step = np.abs(get_weights(model)["output/kernel"] - before)
        assert np.median(step) == pytest.approx(rate, rel=0.02)
