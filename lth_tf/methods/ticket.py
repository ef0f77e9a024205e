"""What a training starts from."""

import dataclasses

import numpy as np

from lth_tf.masking.arrays import Masks
from lth_tf.runs.stage import Stage

Weights = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Ticket:
    """What a training starts from.

    Attributes:
        stage: which training it is.
        masks: weight path -> uint8 array; 1 keeps.
        weights: path -> array of every weight, pruned ones included.
        start: how far the weights are trained already, in iterations (epochs in
            `model.fit`): the schedule of learning rates goes on from there.
        stop: where the training ends; None for the length of a level.
        learned: name -> array that the method's hooks begin with, as `Hooks.learned` gave it.
    """

    stage: Stage
    masks: Masks
    weights: Weights
    start: int = 0
    stop: int | None = None
    learned: Weights = dataclasses.field(default_factory=dict)
