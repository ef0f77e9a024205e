"""What a rule for effective weights is."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras

    AddVariable = Callable[..., keras.Variable]


class Effective:
    """A rule that makes the effective weight from the stored weight and its mask.

    The base of soft masks: a subclass adds trainable variables of its own for each
    weight, e.g. scores, and defines what the layer computes with. Give it to
    `lth_tf.masking.model.set_effective`. Register the class with Keras
    (`keras.saving.register_keras_serializable`) to save models that use it.

    Example:
    >>> import keras
    >>> class Sigmoid(Effective):
    ...     def build(self, weight, add_variable):
    ...         return {"score": add_variable("score", weight.shape, "zeros")}
    ...
    ...     def __call__(self, weight, mask, state):
    ...         return weight * keras.ops.sigmoid(state["score"])
    """

    # Whether applying the rule to its own result changes nothing and pruned weights
    # are 0 in it. Such a rule is also applied where a weight is read outside layers.
    idempotent = False

    def build(
        self, weight: "keras.Variable", add_variable: "AddVariable"
    ) -> "dict[str, keras.Variable]":
        """Makes the variables that the rule keeps beside one weight.

        Args:
            weight: the masked weight, any shape; read it with `keras.ops`.
            add_variable: `(name, shape, initializer, trainable=True)` -> a variable
                that is trained and saved with the weight's layer.

        Returns:
            name -> variable.
        """
        return {}

    def __call__(
        self,
        weight: "keras.KerasTensor",
        mask: "keras.KerasTensor",
        state: "dict[str, keras.KerasTensor]",
    ) -> "keras.KerasTensor":
        """Returns the effective weight.

        Args:
            weight: the stored weight, any shape, in the dtype the layer computes in.
            mask: bool, same shape; True keeps.
            state: values of the variables that `build` made.
        """
        raise NotImplementedError

    def get_config(self) -> dict:
        """Returns the arguments that the rule was made with."""
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "Effective":
        """Returns the rule that `get_config` described."""
        return cls(**config)
