"""The Trainer with and without masks."""

from collections.abc import Iterator

from . import Options, Result, in_turn, register
from .setups import config_of, model_of, trainer_of, trainer_rate


@register("masks")
def masks(options: Options) -> Iterator[Result]:
    """Measures what masks cost an update, network by network."""
    for network in options.networks.split(","):
        config = config_of(network)
        rates = {
            name: trainer_rate(trainer_of(config, model_of(config, masked)), options.seconds)
            for name, masked in (("masked", True), ("no masks", False))
        }
        yield in_turn(f"{network}: masks", rates, options.rounds)
