"""What the compiled programs are made of."""

import dataclasses
import functools
import re

import pytest
import tensorflow as tf

from lth_tf import networks
from lth_tf.config import METHODS, ExperimentConfig
from lth_tf.masking.model import get_weights, set_weights
from lth_tf.methods.base import Method
from lth_tf.tickets import find
from lth_tf.training.trainer import Trainer
from tests.methods import small
from tests.small_runs import marked

HOST_CALLS = ("custom-call", "send", "recv", "outfeed", "infeed")


def whole_interval(config, data, stage="hlo"):
    """Returns XLA's program of an interval with validation, test and what else there is."""
    few = {name: getattr(data, name).take(range(12)) for name in ("train", "validation", "test")}
    data = dataclasses.replace(data, **few)
    config = config.replace(batch_size=4, iterations=14, eval_interval=7, test_interval=7)
    model = find.new_model(config, data, "init")
    hooks = config.method.hooks(model, find.network_rates(config, model), config)
    loop = Trainer(model, data, config, "on", hooks=hooks)._loop
    zero, feed = tf.constant(0), loop._batches.feed(0, config.eval_interval)
    program = loop._programs["whole"]
    return program.experimental_get_compiler_ir(feed, zero, zero, tf.constant(True))(stage)


def of_network(network):
    augment = networks.takes(network) == "images"
    return ExperimentConfig(network=network, augment=augment, weight_decay=0.1, lr_drops=(3,))


def assert_has_no_host_calls(program):
    # Of training, validation and test; what some methods add has loops of its own.
    assert len(re.findall(r"\bwhile\(", program)) >= 3
    assert not re.findall(rf"\b(?:{'|'.join(HOST_CALLS)})\b", program)


@pytest.mark.parametrize("network", marked(networks.NETWORKS.names()))
def test_an_interval_is_one_program_without_host_calls(network, data_of):
    program = whole_interval(of_network(network), data_of(network))
    assert_has_no_host_calls(program)
    assert len(re.findall(r"\bwhile\(", program)) == 3


@functools.cache
def small_interval(**changes):
    return whole_interval(small.CONFIG.replace(network=small.convolutions, **changes), small.data())


@pytest.mark.parametrize(
    "field, value, of_it",
    [
        ("precision", "mixed_bfloat16", "bf16[4,8,8,4]"),
        ("precision", "mixed_float16", "f16[4,8,8,4]"),
        ("batch_norm", "fused", "batch-norm-grad("),
        ("granularity", "channel", "pred[4]{0} parameter("),
    ],
    ids=["bfloat16", "float16", "fused", "channel"],
)
def test_so_it_is_however_the_step_computes(field, value, of_it):
    program = small_interval(**{field: value})
    assert_has_no_host_calls(program)
    assert of_it in program
    assert of_it not in small_interval()


@pytest.mark.parametrize(
    "method",
    [name for name in small.METHOD_NAMES if METHODS.get(name).hooks is not Method.hooks],
)
def test_so_it_is_with_what_methods_add_to_an_update(method):
    assert_has_no_host_calls(whole_interval(small.config_of(method), small.data()))


def test_the_trip_count_is_known_when_the_loop_is_compiled(digits):
    program = whole_interval(of_network("lenet"), digits, "optimized_hlo")
    assert re.findall(r'"known_trip_count":{"n":"(\d+)"}', program) == ["7"]
    assert not re.findall(rf"\b(?:{'|'.join(HOST_CALLS)})\b", program)


@pytest.mark.optimized
def test_results_do_not_depend_on_the_interval(digits):
    """Whole intervals, parts and single updates give the same bits."""
    found = []
    for interval in (1, 4):
        config = ExperimentConfig(iterations=6, batch_size=16, eval_interval=interval)
        model = networks.build("lenet", digits.image_shape, 10, seed=0)
        trainer = Trainer(model, digits, config)
        trainer.fit()
        found.append(get_weights(model))
        assert trainer.traces == 1
    for path, value in found[0].items():
        assert value.tobytes() == found[1][path].tobytes(), path


def test_gradients_are_added_up_in_one_order(digits_rgb):
    """At this batch size TensorFlow would add up those of a residual network as they come."""
    config = ExperimentConfig(network="resnet18", iterations=1, batch_size=128, eval_interval=1)
    model = networks.build("resnet18", digits_rgb.image_shape, 10, seed=0)
    start, trainer = get_weights(model), Trainer(model, digits_rgb, config)
    found = set()
    for _ in range(4):
        set_weights(model, start)
        trainer.restart()
        next(trainer.evaluations())
        trainer._loop.interval(0, 1, tested=False)
        found.add(b"".join(value.tobytes() for value in get_weights(model).values()))
    assert len(found) == 1
