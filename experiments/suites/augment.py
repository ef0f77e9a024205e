"""What augmentation costs."""

from collections.abc import Iterator

from . import Options, Result, in_turn, register
from .setups import config_of, model_of, trainer_of, trainer_rate


@register("augment")
def augment(options: Options) -> Iterator[Result]:
    """Measures ResNet-20 with and without augmentation."""
    rates = {}
    for name, augmented in (("augmented", True), ("as it is", False)):
        config = config_of("resnet18").replace(augment=augmented)
        rates[name] = trainer_rate(trainer_of(config, model_of(config)), options.seconds)
    yield in_turn("resnet18: augmentation", rates, options.rounds)
