"""Measures what the library costs: alternatives in turn, in one process, as ratios.

    python -m experiments.benchmark
    python -m experiments.benchmark --measure=fit,masks --networks=conv2,resnet18
    python -m experiments.benchmark --measure=prune

Images are random numbers of the data set's shape, so nothing is downloaded. Every
line is a median over rounds with its smallest and largest value; ratios are taken
round by round. Run it on a machine that does nothing else.
"""

import dataclasses
import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from typing import TYPE_CHECKING

from lth_tf.cli import flags, process, program, tf_logging
from lth_tf.config import ExperimentConfig
from lth_tf.errors import UsageError
from lth_tf.options import Options, option

if TYPE_CHECKING:
    import keras

    from lth_tf.datasets import Data
    from lth_tf.training.trainer import Trainer

Rate = Callable[[], float]


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions(Options):
    """What to measure."""

    measure: str = option(
        "fit,callback,masks,evaluation,augment,jobs,memory,prune",
        "What to measure, comma-separated; worker is what jobs starts.",
    )
    networks: str = option("lenet", "Networks to measure fit and masks of, comma-separated.")
    rounds: int = option(5, "Rounds, each of every alternative in turn.", minimum=1)
    seconds: float = option(3.0, "Seconds of each alternative a round, about.", minimum=0.1)


def main() -> None:
    """Runs the program and exits."""
    sys.exit(program.run_main(_run))


def _run() -> None:
    parsed = flags.parse(sys.argv, __doc__, BenchmarkOptions())
    if parsed is None:
        return
    (options,) = parsed
    measures = {
        "fit": _fit,
        "callback": _callback,
        "masks": _masks,
        "evaluation": _evaluation,
        "augment": _augment,
        "jobs": _jobs,
        "memory": _memory,
        "prune": _prune,
        "worker": _worker,
    }
    chosen = options.measure.split(",")
    for name in chosen:
        if name not in measures:
            raise UsageError(
                f"Expected measure to be out of {', '.join(measures)}. Received: {name!r}."
            )
    tf_logging.import_tensorflow()
    from lth_tf.networks import NETWORKS
    from lth_tf.training import devices

    devices.configure()

    for network in options.networks.split(","):
        NETWORKS.get(network)
    for name in chosen:
        measures[name](options)


def _fit(options: BenchmarkOptions) -> None:
    """The Trainer beside Keras `fit` on the same kind of model."""
    for network in options.networks.split(","):
        config = _config(network)
        masked = _trainer(config, _model(config), validation=_FEW)
        # What fit is compared with: for convolutions the model as Keras users have it.
        plain = network != "lenet"
        rates = {"Trainer, masked": _trainer_rate(masked, options)}
        for steps in (1, 100) if network == "lenet" else (1,):
            model = _model(config, masked=not plain)
            name = f"fit, {steps} step{'s' if steps > 1 else ''} an execution"
            rates[name + (", no masks" if plain else ", masked")] = _fit_rate(
                model, config, steps, options
            )
        _compare(f"{network}: training", rates, options)


def _callback(options: BenchmarkOptions) -> None:
    """LeNet by `fit` with and without TicketCallback, three levels with all their files."""
    import keras

    from lth_tf.masking.model import to_numpy
    from lth_tf.tickets.callback import TicketCallback
    from lth_tf.training.optimizers import make_optimizer

    config = _config("lenet")
    data = _data(config, validation=5_000)
    split, held_out = data.train, data.validation
    model = _model(config)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(make_optimizer(config), loss, metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    fresh = [to_numpy(variable) for variable in model.optimizer.variables]
    levels, epochs = 3, max(1, round(options.seconds / 3))

    def rate(with_tickets: bool) -> float:
        # Compiling anew would be measured as well.
        for variable, value in zip(model.optimizer.variables, fresh, strict=True):
            variable.assign(value)
        with tempfile.TemporaryDirectory() as folder:
            tickets = TicketCallback(folder, epochs_per_level=epochs, levels=levels - 1, verbose=0)
            start = time.perf_counter()
            model.fit(
                data.preprocessing(split.images),
                split.labels,
                batch_size=config.batch_size,
                validation_data=(data.preprocessing(held_out.images), held_out.labels),
                validation_batch_size=1_000,
                epochs=levels * epochs,
                callbacks=[tickets] if with_tickets else [],
                verbose=0,
            )
            return (
                levels * epochs * (len(split) // config.batch_size) / (time.perf_counter() - start)
            )

    rate(with_tickets=True)
    rates = {"fit with TicketCallback": lambda: rate(True), "fit alone": lambda: rate(False)}
    _compare(f"lenet: {levels} levels of {epochs} epochs in fit, masked", rates, options)


def _masks(options: BenchmarkOptions) -> None:
    """The Trainer with and without masks."""
    for network in options.networks.split(","):
        config = _config(network)
        rates = {
            name: _trainer_rate(_trainer(config, _model(config, masked), _FEW), options)
            for name, masked in (("masked", True), ("no masks", False))
        }
        _compare(f"{network}: masks", rates, options)


def _evaluation(options: BenchmarkOptions) -> None:
    """LeNet with the validation loss of 5,000 images every 100 iterations."""
    config = _config("lenet")
    rates = {
        "with evaluation": _trainer_rate(_trainer(config, _model(config), 5_000, 100), options),
        "training alone": _trainer_rate(_trainer(config, _model(config), _FEW), options),
    }
    _compare("lenet: validation every 100 iterations", rates, options)


def _augment(options: BenchmarkOptions) -> None:
    """Resnet-18 with and without augmentation."""
    rates = {}
    for name, augment in (("augmented", True), ("as it is", False)):
        config = dataclasses.replace(_config("resnet18"), augment=augment)
        rates[name] = _trainer_rate(_trainer(config, _model(config), _FEW), options)
    _compare("resnet18: augmentation", rates, options)


def _jobs(options: BenchmarkOptions) -> None:
    """One process on all cores beside one process a core."""
    cores = sorted(os.sched_getaffinity(0))
    rates = {
        f"{len(cores)} processes of one core": lambda: _throughput([{core} for core in cores]),
        "one process": lambda: _throughput([set(cores)]),
    }
    _compare("lenet: trials side by side, iterations/s of all together", rates, options)


def _throughput(shares: list[set[int]]) -> float:
    command = process.command(f"{__package__}.benchmark", "--measure=worker", "--seconds=10")
    children = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            env=process.environment(),
            preexec_fn=lambda share=share: os.sched_setaffinity(0, share),
        )
        for share in shares
    ]
    return sum(float(child.communicate()[0]) for child in children)


def _worker(options: BenchmarkOptions) -> None:
    config = _config("lenet")
    trainer = _trainer(config, _model(config), 5_000, 100)
    print(_trainer_rate(trainer, options)())


def _memory(options: BenchmarkOptions) -> None:
    """Resident memory over 20 levels of LeNet in one process."""
    import numpy as np

    from lth_tf import pruning
    from lth_tf.masking.model import get_masks, get_weights, set_masks, set_weights

    config = _config("lenet")
    model = _model(config)
    trainer = _trainer(config, model, validation=5_000, interval=100, iterations=500)
    origin, sizes = get_weights(model), []
    for _ in range(21):
        set_weights(model, origin)
        trainer.fit()
        trained, masks = get_weights(model), get_masks(model)
        scores = {path: np.abs(trained[path]) for path in masks}
        set_masks(model, pruning.choose(scores, masks, dict.fromkeys(masks, 0.2), "layerwise"))
        with open("/proc/self/statm") as file:
            sizes.append(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6)
    print(
        f"lenet: resident memory {sizes[2]:.0f} MB after level 2, {sizes[-1]:.0f} MB after "
        f"level 20, {100 * (max(sizes[2:]) / sizes[2] - 1):.1f} % more at most\n"
    )


def _prune(options: BenchmarkOptions) -> None:
    """VGG-19, 20 million weights ranked together."""
    from lth_tf import networks, pruning
    from lth_tf.masking.model import get_masks, get_weights

    config = _config("vgg19")
    model = _model(config)
    weights, masks = get_weights(model), get_masks(model)
    rates = pruning.layer_rates(networks.groups(model), config.prune_rates())
    size = sum(weights[path].nbytes for path in masks)

    def prune() -> None:
        context = pruning.PruningContext(masks, weights, weights)
        pruning.prune(context, rates, config.criterion, config.scope, level=1)

    seconds = []
    for _ in range(options.rounds):
        start = time.perf_counter()
        prune()
        seconds.append(time.perf_counter() - start)
    tracemalloc.start()
    prune()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(
        f"vgg19: pruning takes {_spread(seconds, '.2f')} s and {peak / size:.2f} times the "
        f"memory of the weights\n"
    )


_FEW = 60  # validation images where evaluation is not what is measured


def _config(network: str) -> ExperimentConfig:
    return importlib.import_module(f".{network}", __package__).CONFIG


def _model(config: ExperimentConfig, masked: bool = True) -> "keras.Model":
    from lth_tf import networks
    from lth_tf.masking.model import strip_masks

    shape = networks.image_shape(config.network)
    model = networks.build(config.network, shape, 10, seed=0)
    return model if masked else strip_masks(model)


def _data(config: ExperimentConfig, validation: int) -> "Data":
    import numpy as np

    from lth_tf import networks
    from lth_tf.datasets import Data, Split

    random = np.random.default_rng(0)
    shape = networks.image_shape(config.network)

    def split(size: int) -> Split:
        images = random.integers(0, 256, (size, *shape), np.uint8)
        return Split(images, random.integers(0, 10, size, np.int32))

    return Data("random", split(20_000), split(validation), split(_FEW), 10)


def _trainer(
    config: ExperimentConfig,
    model: "keras.Model",
    validation: int,
    interval: int | None = None,
    iterations: int = 10**9,
) -> "Trainer":
    from lth_tf.training.trainer import Trainer

    interval = interval or (1_000 if config.network == "lenet" else 10)
    config = dataclasses.replace(
        config, iterations=iterations, eval_interval=interval, test_interval=0, lr_drops=()
    )
    return Trainer(model, _data(config, validation), config)


def _trainer_rate(trainer: "Trainer", options: BenchmarkOptions) -> Rate:
    evaluations = trainer.evaluations()
    next(evaluations)

    def rate() -> float:
        start, first = time.perf_counter(), trainer.iteration
        while time.perf_counter() - start < options.seconds:
            next(evaluations)
        return (trainer.iteration - first) / (time.perf_counter() - start)

    return rate


def _fit_rate(
    model: "keras.Model", config: ExperimentConfig, steps: int, options: BenchmarkOptions
) -> Rate:
    import keras
    import tensorflow as tf

    from lth_tf.training.optimizers import make_optimizer

    data = _data(config, _FEW)
    split = data.train
    batches = (
        tf.data.Dataset.from_tensor_slices((split.images, split.labels))
        .shuffle(len(split))
        .repeat()
        .batch(config.batch_size)
        .map(lambda images, labels: (data.preprocessing(images), labels))
        .prefetch(2)
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(make_optimizer(config), loss, steps_per_execution=steps)
    count = steps

    def timed() -> float:
        start = time.perf_counter()
        model.fit(batches, steps_per_epoch=count, shuffle=False, verbose=0)
        return time.perf_counter() - start

    timed()
    count = max(steps, round(options.seconds / timed() * count / steps) * steps)
    return lambda: count / timed()


def _compare(title: str, rates: dict[str, Rate], options: BenchmarkOptions) -> None:
    """Measures the alternatives in turn and prints how many times faster the first is."""
    found = {name: [] for name in rates}
    for _ in range(options.rounds):
        for name, rate in rates.items():
            found[name].append(rate())
    first = next(iter(found.values()))
    print(title)
    for name, values in found.items():
        line = f"  {name:<42}{_spread(values, ',.4g'):>28} iterations/s"
        if values is not first:
            ratios = [one / other for one, other in zip(first, values, strict=True)]
            line += f"   the first is {_spread(ratios, '.2f')} x"
        print(line)
    print(flush=True)


def _spread(values: list[float], form: str) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}}-{high:{form}})"


if __name__ == "__main__":
    main()
