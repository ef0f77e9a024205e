"""Where masks live: in a small layer below the one whose weights they mask.

So Keras and TensorFlow track and save them with the layer, without the layer's own
saving code knowing.
"""

import contextlib
from typing import Any

import keras

from lth_tf import keras_internals as internals
from lth_tf.masking.effective import Effective
from lth_tf.masking.variables import Slot, put_mask, reading_stored, stored_value

# Where a layer keeps its holder: no name that a layer's own code would use.
HOLDER = "_lth_tf_masks"


@keras.saving.register_keras_serializable(package="lth_tf")
class MaskHolder(keras.layers.Layer):
    """Holds the masks of one layer, so that Keras and TensorFlow track and save them with it.

    Attributes:
        slots: the masked weights that it holds masks of.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.slots: list[Slot] = []
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Returns its inputs: code that calls a model's layers in turn may meet it."""
        return inputs

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: masks are not quantized."""

    def add(self, weight: keras.Variable) -> None:
        """Masks a weight with ones."""
        slot = Slot(weight, self.variable(weight, "mask", "ones", trainable=False, dtype="bool"))
        put_mask(slot)
        self.slots.append(slot)

    def variable(
        self, weight: keras.Variable, name: str, initializer: Any, **kwargs: Any
    ) -> keras.Variable:
        """Makes a variable that belongs to a weight.

        It is also an attribute, by which TensorFlow's checkpoints know it, and has a path
        of its own, by which .h5 files do.
        """
        kwargs.setdefault("shape", weight.shape)
        kwargs.setdefault("dtype", weight.dtype)
        scopes = weight.path.split("/")[:-1]
        with contextlib.ExitStack() as stack, internals.trackable(self):
            for scope in scopes:
                stack.enter_context(keras.name_scope(scope))
            made = self.add_weight(name=f"{weight.name}_{name}", initializer=initializer, **kwargs)
            setattr(self, f"variable_{len(internals.own_variables(self)) - 1}", made)
        return made

    def use(self, slot: Slot, rule: Effective) -> None:
        """Gives a slot another rule with new variables of its own."""

        def add_variable(
            name: str, shape: tuple[int, ...], initializer: Any, trainable: bool = True
        ) -> keras.Variable:
            return self.variable(slot.weight, name, initializer, shape=shape, trainable=trainable)

        with reading_stored():
            state = rule.build(slot.weight, add_variable)
        slot.rule, slot.state = rule, state

    def save_own_variables(self, store: Any) -> None:
        """Saves the masks, and what Keras would merge: weights and their LoRA adapters."""
        super().save_own_variables(store)
        for name, variable in self._adapted().items():
            store[name] = stored_value(variable)

    def load_own_variables(self, store: Any) -> None:
        """Loads what `save_own_variables` saved, after the layer's own variables."""
        adapted = self._adapted()
        super().load_own_variables({k: store[k] for k in store.keys() if k not in adapted})
        for name, variable in adapted.items():
            if name in store.keys():
                variable.assign(store[name])

    def _adapted(self) -> dict[str, keras.Variable]:
        """Returns the weights and adapters of a layer whose weights have adapters."""
        found: dict[str, keras.Variable] = {}
        for slot in self.slots:
            found |= {v.name: v for v in vars(self)["_adapters"](slot.weight)}
        return found


def layers_of(root: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns `root` and the layers below it, without the mask holders."""
    return [layer for layer in internals.all_layers(root) if not isinstance(layer, MaskHolder)]


def holder_of(layer: keras.layers.Layer) -> MaskHolder | None:
    """Returns what holds a layer's masks, or None."""
    return vars(layer).get(HOLDER)


def own_slots(layer: keras.layers.Layer) -> list[Slot]:
    """Returns the masked weights whose masks a layer holds."""
    holder = holder_of(layer)
    return [] if holder is None else list(holder.slots)
