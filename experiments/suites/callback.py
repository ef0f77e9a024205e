"""LeNet by `fit` with and without TicketCallback, three levels with all their files."""

import tempfile
import time
from collections.abc import Iterator

import keras

from lth_tf.masking.model import to_numpy
from lth_tf.tickets.callback import TicketCallback
from lth_tf.training.optimizers import make_optimizer

from . import Options, Result, in_turn, register
from .setups import config_of, model_of, random_data

_LEVELS = 3


@register("callback")
def callback(options: Options) -> Iterator[Result]:
    """Measures what the callback costs."""
    config = config_of("lenet")
    data = random_data(config, validation=5_000)
    split, held_out = data.train, data.validation
    model = model_of(config)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(make_optimizer(config), loss, metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    fresh = [to_numpy(variable) for variable in model.optimizer.variables]
    epochs = max(1, round(options.seconds / 3))

    def rate(with_tickets: bool) -> float:
        # Compiling anew would be measured as well.
        for variable, value in zip(model.optimizer.variables, fresh, strict=True):
            variable.assign(value)
        with tempfile.TemporaryDirectory() as folder:
            tickets = TicketCallback(folder, epochs_per_level=epochs, levels=_LEVELS - 1, verbose=0)
            start = time.perf_counter()
            model.fit(
                data.preprocessing(split.images),
                split.labels,
                batch_size=config.batch_size,
                validation_data=(data.preprocessing(held_out.images), held_out.labels),
                validation_batch_size=1_000,
                epochs=_LEVELS * epochs,
                callbacks=[tickets] if with_tickets else [],
                verbose=0,
            )
            seconds = time.perf_counter() - start
        return _LEVELS * epochs * (len(split) // config.batch_size) / seconds

    rate(with_tickets=True)
    rates = {"fit with TicketCallback": lambda: rate(True), "fit alone": lambda: rate(False)}
    yield in_turn(
        f"lenet: {_LEVELS} levels of {epochs} epochs in fit, masked", rates, options.rounds
    )
