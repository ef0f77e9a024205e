"""What evaluation costs: the loss every 100 iterations, and the end of a level."""

import time
from collections.abc import Iterator

from lth_tf.training.trainer import Trainer

from . import Options, Rate, Result, in_turn, register
from .setups import config_of, model_of, random_data, trainer_of, trainer_rate


@register("evaluation")
def evaluation(options: Options) -> Iterator[Result]:
    """Measures LeNet with and without validation and test, and what a level ends with."""
    config = config_of("lenet")

    def rate(validation: int, interval: int | None, test_interval: int) -> Rate:
        trainer = trainer_of(
            config, model_of(config), validation, interval, test_interval=test_interval
        )
        return trainer_rate(trainer, options.seconds)

    rates = {
        "training alone": rate(60, None, 0),
        "and 5,000 validation images every 100 iterations": rate(5_000, 100, 0),
        "and 10,000 test images every 500": rate(5_000, 100, 500),
    }
    yield in_turn("lenet: evaluation", rates, options.rounds)
    yield _level_end(options)


def _level_end(options: Options) -> Result:
    config = config_of("lenet").replace(iterations=1)
    data = random_data(config, 5_000, 10_000)

    def seconds(step: str) -> Rate:
        trainer = Trainer(model_of(config), data, config, step=step)
        trainer.fit()

        def measure() -> float:
            start = time.perf_counter()
            trainer.history()
            return 1e3 * (time.perf_counter() - start)

        return measure

    return in_turn(
        "lenet: accuracies at the end of a level (20,000 train, twice 10,000 test images)",
        {f"{step} step": seconds(step) for step in ("dense", "sparse")},
        options.rounds,
        unit="ms",
    )
