"""Training on examples that are read when they are needed, against the same in memory."""

import dataclasses
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import lth_tf
from lth_tf import networks
from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Split, streamed
from lth_tf.datasets.base import Source
from lth_tf.datasets.streamed import Indexed, Rows
from lth_tf.errors import RunError, UsageError
from lth_tf.masking.model import get_weights
from lth_tf.runs.stage import Stage
from lth_tf.training.choice import Loops
from lth_tf.training.trainer import Trainer
from tests.small_runs import assert_same_results, run

TINY = ExperimentConfig(
    dataset="digits", iterations=13, batch_size=32, eval_interval=5, test_interval=5, levels=1
)


def trained(data, config, jit="off"):
    model = networks.build(config.network, data.image_shape, data.classes, seed=0)
    trainer = Trainer(model, data, config, jit)
    history = trainer.fit()
    assert trainer.traces == 1
    return get_weights(model), dataclasses.replace(history, seconds=0)


def assert_same_training(one, other):
    for path, value in one[0].items():
        np.testing.assert_array_equal(value, other[0][path])
    first, second = (dataclasses.asdict(history) for _, history in (one, other))
    for name, value in first.pop("correct").items():
        np.testing.assert_array_equal(value, second["correct"][name])
    del second["correct"]
    assert first == second


@pytest.fixture(scope="module")
def in_memory(digits):
    return trained(digits, TINY)


@pytest.mark.parametrize("updates", [2, 5, 1000], ids="{} updates a call".format)
def test_streamed_examples_give_the_bits_of_those_in_memory(
    digits, in_memory, updates, monkeypatch
):
    monkeypatch.setattr(streamed, "READ_AHEAD", updates * 32 * 28 * 28)
    data = digits.streamed()
    assert data.checksum == digits.checksum
    assert_same_training(trained(data, TINY), in_memory)


@pytest.mark.slow
@pytest.mark.optimized
def test_with_xla(digits):
    assert_same_training(trained(digits.streamed(), TINY, "on"), trained(digits, TINY, "on"))


def test_with_augmentation(digits):
    config = TINY.replace(iterations=4, eval_interval=4, test_interval=4, augment=True)
    assert_same_training(trained(digits.streamed(), config), trained(digits, config))


@pytest.mark.slow
def test_with_augmentation_convolutions_and_momentum(digits_rgb):
    few = {name: getattr(digits_rgb, name).take(range(40)) for name in ("validation", "test")}
    data = dataclasses.replace(digits_rgb, **few)
    config = TINY.replace(
        network="resnet18", batch_size=8, iterations=3, eval_interval=2, test_interval=0,
        optimizer="momentum", learning_rate=0.1, augment=True,
    )  # fmt: skip
    data = dataclasses.replace(data, train=data.train.take(range(40)))
    assert_same_training(trained(data.streamed(), config), trained(data, config))


def test_a_training_goes_on_in_the_middle(digits, in_memory):
    data = digits.streamed()
    model = networks.build("lenet", data.image_shape, 10, seed=0)
    first = Trainer(model, data, TINY, "off")
    list(first.evaluations(until=7))
    state = first.state()
    second = Trainer(networks.build("lenet", data.image_shape, 10, seed=5), data, TINY, "off")
    second.restore(state)
    assert second.iteration == 7
    list(second.evaluations())
    for path, value in get_weights(second.model).items():
        np.testing.assert_allclose(value, in_memory[0][path], atol=1e-6)
    list(first.evaluations())
    assert [e.validation_loss for e in second.history().evaluations] == [
        e.validation_loss for e in first.history().evaluations
    ]
    for path, value in get_weights(second.model).items():
        np.testing.assert_array_equal(value, get_weights(model)[path])


def test_a_run_of_files_mapped_into_memory(digits, tmp_path):
    for name in ("inputs", "labels"):
        np.save(tmp_path / name, getattr(digits.train, name)[:200])
    rows = Rows(
        *(np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("inputs", "labels"))
    )
    parts = Indexed(rows).take(range(150)), Indexed(rows).take(range(150, 200))
    arrays = [Split(part.inputs, part.labels) for part in parts]
    config = TINY.replace(iterations=4, eval_interval=4, test_interval=0, criterion="snip")
    runs = [
        run(tmp_path / name, config, Source(*splits, 10, 20).data("digits", 0), jit="off")
        for name, splits in (("streamed", parts), ("in_memory", arrays))
    ]
    assert_same_results(*runs)
    assert runs[0].provenance() is not None and runs[0].summary(Stage(1))["remaining"] == 213_060


@pytest.mark.slow
def test_sequences_with_several_labels(data_of):
    text = data_of("transformer")
    few = {name: getattr(text, name).take(range(24)) for name in ("train", "validation", "test")}
    text = dataclasses.replace(text, **few)
    config = TINY.replace(
        network="transformer", dataset="manual", batch_size=8, iterations=3, eval_interval=3,
        test_interval=3,
    )  # fmt: skip
    assert_same_training(trained(text.streamed(), config), trained(text, config))


def passes(digits, part, size=96, known=True):
    """Returns what makes a pass of a tf.data.Dataset, shuffled by a seed."""
    split = getattr(digits, part).take(range(size))

    def make(seed):
        order = np.random.default_rng(seed).permutation(size) if part == "train" else range(size)
        examples = ((split.inputs[i], np.int64(split.labels[i])) for i in order)
        signature = (tf.TensorSpec((28, 28, 1), tf.uint8), tf.TensorSpec((), tf.int64))
        if known:
            rows = split.take(np.array(order))
            return tf.data.Dataset.from_tensor_slices((rows.inputs, rows.labels.astype(np.int64)))
        return tf.data.Dataset.from_generator(lambda: examples, output_signature=signature)

    return make


def own_data(digits, **options):
    parts = [passes(digits, part, **options) for part in ("train", "validation", "test")]
    return lth_tf.from_datasets(*parts, classes=10)


def test_own_datasets_are_found_tickets_on_and_gone_on_with(digits, tmp_path):
    data = own_data(digits)
    assert len(data.train) == 96 and data.image_shape == (28, 28, 1)
    whole = run(tmp_path / "whole", TINY, data, jit="off")

    class Stop(Exception):
        pass

    class Stops(lth_tf.tickets.listener.RunListener):
        def evaluated(self, stage, evaluation):
            if stage == Stage(1) and evaluation.iteration == 10:
                raise Stop

    path, kept = tmp_path / "stopped", {"jit": "off", "checkpoint_seconds": 0.0}
    with pytest.raises(Stop):
        run(path, TINY, data, listeners=[Stops()], **kept)
    assert_same_results(run(path, TINY, own_data(digits), **kept), whole)


def test_a_batch_may_span_passes(digits):
    """32 of 50 examples: the second batch has the last 18 of a pass and 14 of the next."""
    train = own_data(digits, size=50).train
    batches = train.batches(32, order=3, change=None, first=0)
    labels = np.concatenate([next(batches)[1].numpy() for _ in range(7)])
    counts = np.bincount(digits.train.labels[:50], minlength=10).tolist()
    for start in (0, 50, 100, 150):
        assert np.bincount(labels[start : start + 50], minlength=10).tolist() == counts
    assert labels[:50].tolist() != labels[50:100].tolist()
    for first in (1, 2, 5):
        later = next(train.batches(32, order=3, change=None, first=first))[1].numpy()
        assert later.tolist() == labels[32 * first : 32 * first + 32].tolist()


def test_datasets_are_counted_and_checked(digits):
    assert len(own_data(digits, size=7, known=False).test) == 7
    good = passes(digits, "test")
    made = [
        (lambda: 3, "Expected train to return a tf.data.Dataset. Received: int."),
        (lambda: tf.data.Dataset.range(3), "Expected train to return pairs"),
        (lambda: good(0).batch(2), "of known shapes"),
        (lambda: good(0).repeat(), "Received: a dataset without an end."),
        (lambda: good(0).take(0), "Received: no example."),
        (lambda: good(0).map(lambda x, y: (x[:5], y)), "inputs of shape .5, 28, 1. in validation"),
    ]
    for make, message in made:
        with pytest.raises(UsageError, match=message):
            lth_tf.from_datasets(make, good, good, classes=10)


def test_the_sparse_step_is_for_memory(digits):
    model = networks.build("lenet", digits.image_shape, 10, seed=0)
    with pytest.raises(UsageError, match="Received: streamed examples. Use step='dense'"):
        Loops(model, digits.streamed(), TINY, "off", None, "sparse")


class Torn(Rows):
    """Rows of which one cannot be read."""

    def example(self, index, seed):
        with tf.control_dependencies([tf.debugging.assert_none_equal(index, np.int64(7))]):
            return super().example(tf.identity(index), seed)


def test_an_example_that_cannot_be_read_is_named(digits):
    rows = Torn(digits.train.inputs, digits.train.labels)
    data = dataclasses.replace(digits, train=Indexed(rows, np.arange(5, 15)))
    with pytest.raises(RunError, match=r"Expected examples that can be read. Received: row 7 \("):
        trained(data, TINY.replace(batch_size=8))


LARGE = """
import resource, sys
import numpy as np, tensorflow as tf
import lth_tf
from lth_tf import networks
from lth_tf.config import ExperimentConfig
from lth_tf.training.trainer import Trainer

def made(count):
    def image(number):
        noise = tf.random.stateless_uniform((16, 16, 3), (number, 1), 0, 256, tf.int32)
        image = tf.repeat(tf.repeat(tf.cast(noise, tf.uint8), 32, 0), 32, 1)
        return image, tf.cast(number % 10, tf.int32)
    return lambda: tf.data.Dataset.range(count).map(image)

data = lth_tf.from_datasets(made(640), made(20), made(20), classes=10)
data_bytes = 640 * data.train.example_bytes
config = ExperimentConfig(iterations=20, batch_size=8, eval_interval=10, network="lenet")
if sys.argv[1] == "memory":
    config = config.replace(iterations=1, eval_interval=1)
limit = 400 << 20
now = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (now + limit, now + limit))
assert data_bytes > limit
if sys.argv[1] == "memory":
    data = data.in_memory()
import keras
pool = keras.Sequential([
    keras.Input((512, 512, 3)), keras.layers.AveragePooling2D(64), keras.layers.Flatten(),
    keras.layers.Dense(10, name="output")])
trainer = Trainer(lth_tf.mask_model(pool), data, config, "off")
print(trainer.fit().evaluations[-1].iteration)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("where", "code"), [("stream", 0), ("memory", 1)])
def test_a_set_larger_than_the_memory_that_may_be_had(where, code):
    """503 MB of images, 400 MB beyond what TensorFlow has when it has started."""
    done = subprocess.run(
        [sys.executable, "-c", LARGE, where], capture_output=True, text=True, check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert (done.returncode == 0) == (code == 0), done.stderr
    if not code:
        assert done.stdout == "20\n"


KILLED = """
import sys
from lth_tf import datasets
from lth_tf.config import ExperimentConfig
from lth_tf.tickets.listener import RunListener
from tests.small_runs import run
import os, signal

class Killer(RunListener):
    def evaluated(self, stage, evaluation):
        if str(stage) == "level_01" and evaluation.iteration == 10:
            os.kill(os.getpid(), signal.SIGKILL)

config = ExperimentConfig(dataset="digits", iterations=20, batch_size=32, eval_interval=5, levels=1)
data = datasets.load("digits", image_shape=(28, 28, 1), stream=True)
run(sys.argv[1], config, data, listeners=[Killer()], checkpoint_seconds=0.0)
"""


@pytest.mark.slow
@pytest.mark.optimized
def test_a_killed_run_goes_on_to_the_same_bits(digits, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "killed")], check=False,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    config = TINY.replace(iterations=20, test_interval=0)
    again = run(tmp_path / "killed", config, digits.streamed())
    assert_same_results(again, run(tmp_path / "whole", config, digits))
