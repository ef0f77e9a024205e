"""What a granularity is, and what it makes of a model's weights."""

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lth_tf.errors import UsageError
from lth_tf.masking.arrays import Masks
from lth_tf.pruning import select

if TYPE_CHECKING:
    import keras

Arrays = Mapping[str, np.ndarray]
Rates = Mapping[str, float | Fraction]
Shapes = Mapping[str, int | tuple[int, ...]]


class Units:
    """What is chosen in place of single weights; here each weight is a unit of its own.

    Names are those of what a layer is for weights: the path of a kernel. Where layers are
    chosen together it is that of the first.
    """

    @property
    def arguments(self) -> tuple["Units", ...]:
        """Itself, as a further argument of a method; nothing if each weight is a unit.

        So methods need not take it that plan single weights alone.
        """
        return () if type(self) is Units else (self,)

    def rates(self, rates: Rates) -> dict[str, float | Fraction]:
        """Returns name -> fraction to prune of the units of that name.

        Args:
            rates: weight path -> fraction to prune.
        """
        return dict(rates)

    def shared(self, rates: Rates) -> dict[str, float]:
        """Returns weight path -> fraction to prune, the same for what goes together."""
        return {path: float(rate) for path, rate in rates.items()}

    def shapes(self, shapes: Shapes) -> dict[str, int | tuple[int, ...]]:
        """Returns name -> shape of the weights of all units of that name."""
        return dict(shapes)

    def sizes(self, name: str) -> int | np.ndarray:
        """Returns the number of weights of a unit, or of each unit of that name."""
        return 1

    def least(self, name: str) -> int:
        """Returns the number of weights that are never pruned."""
        return 0

    def fold(self, masks: Masks) -> Masks:
        """Returns name -> uint8 array of units; 1 keeps."""
        return masks

    def score(self, scores: Arrays, masks: Masks) -> dict[str, np.ndarray]:
        """Returns name -> float array of the units' scores.

        Args:
            scores: weight path -> score of each weight.
            masks: weight path -> uint8 array.
        """
        return dict(scores)

    def unfold(self, units: Masks, masks: Masks, scores: Arrays) -> Masks:
        """Returns the masks without the weights of units that are not kept.

        Args:
            units: name -> uint8 array of units.
            masks: weight path -> uint8 array: what is pruned from. Not changed.
            scores: weight path -> score of each weight.
        """
        return units

    def spread(self, values: Arrays, masks: Masks) -> dict[str, np.ndarray]:
        """Returns weight path -> sum of the values of a weight's unit, the same for all of it.

        Args:
            values: path -> array of some of the weights, e.g. the scales of normalization.
            masks: weight path -> uint8 array of all.

        Raises:
            UsageError: if a weight is a unit of its own, or none of a unit's has a value.
        """
        raise UsageError(
            "Expected granularity='channel' with a criterion of whole channels. "
            "Received: another granularity."
        )

    def as_many(self, scores: Arrays, masks: Masks, wanted: Masks) -> Masks:
        """Returns masks of the highest scores, with as many units as `wanted` keeps.

        Args:
            scores: weight path -> score of each weight.
            masks: weight path -> uint8 array: what is chosen from.
            wanted: weight path -> uint8 array.
        """
        found = select.as_many(self.score(scores, masks), self.fold(masks), self.fold(wanted))
        return self.unfold(found, masks, scores)


EVERY_WEIGHT = Units()


class Granularity:
    """What is kept or pruned as one.

    Attributes:
        fixed: whether units are known before their weights are: `units` gives a `Grouped`, or
            each weight.
    """

    fixed: ClassVar[bool] = True

    def units(self, model: "keras.Model") -> Units:
        """Returns the units of a masked model, and masks what has to go with them.

        Raises:
            UsageError: if the model has none.
        """
        raise NotImplementedError(f"{type(self).__name__}.units")
