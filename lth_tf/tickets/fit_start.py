"""What a compiled model's optimizers and random generators start every level of a `fit` with."""

import json
from typing import Any

import keras
import numpy as np

from lth_tf.errors import UsageError
from lth_tf.keras_internals import trained_by, variable_scope
from lth_tf.masking.model import random_states, to_numpy, weight_variables
from lth_tf.runs.run_dir import RunDir


class FreshState:
    """The values they have before the first update, kept in the run directory.

    A model may have more optimizers than the compiled one, such as a GAN: all that are
    attributes of it count. Those make their variables in the first training step.

    Args:
        model: a compiled model.
        run_dir: where the values are, or are put if the run begins.

    Raises:
        UsageError: if the run begins with an optimizer that has made updates, or goes
            on with another model or optimizer.
    """

    def __init__(self, model: keras.Model, run_dir: RunDir):
        self._model = model
        self._optimizer, *self._others = _optimizers(model)
        if not self._optimizer.built:
            with variable_scope(model):
                self._optimizer.build(model.trainable_variables)
        self._variables = [*self._optimizer.variables, *random_states(model)]
        stored = run_dir.optimizer_init()
        if stored is None and self.updates():
            raise UsageError(
                f"Expected a newly compiled model. Received: an optimizer that has made "
                f"{self.updates()} updates. Call compile again before fit."
            )
        if stored is None:
            stored = self._first_values()
            run_dir.save_optimizer_init(stored)
        self._check(stored, run_dir)
        self._values = stored

    def _first_values(self) -> dict[str, np.ndarray]:
        """Returns what a run begins with; most values are zeros and left out."""
        values = {
            str(i): value
            for i, value in enumerate(map(_unless_zero, self._variables))
            if value is not None
        }
        for k, optimizer in enumerate(self._others):
            for i, variable in enumerate(optimizer.variables):
                values[f"other/{k}/{i}"] = to_numpy(variable)
        values["names"] = np.array(json.dumps(self._names()))
        values["weights"] = np.array(json.dumps(self._shapes()))
        return values

    def updates(self) -> int:
        """Returns how many updates were made; of several optimizers by the one with the most."""
        optimizers = [self._optimizer, *self._others]
        return max(int(to_numpy(optimizer.iterations)) for optimizer in optimizers)

    def variables(self) -> dict[str, keras.Variable]:
        """Returns name -> variable of all that changes beside the weights."""
        found = {f"changing/{i}": variable for i, variable in enumerate(self._variables)}
        for k, optimizer in enumerate(self._others):
            found |= {f"other/{k}/{i}": v for i, v in enumerate(optimizer.variables)}
        return found

    def restore(self) -> None:
        """Gives optimizers and random generators these values."""
        for i, variable in enumerate(self._variables):
            zeros = keras.ops.zeros(variable.shape, variable.dtype)
            variable.assign(self._values.get(str(i), zeros))
        for k, optimizer in enumerate(self._others):
            count = sum(name.startswith(f"other/{k}/") for name in self._values)
            values = [self._values[f"other/{k}/{i}"] for i in range(count)]
            variables = optimizer.variables
            made_since = variables[len(values) :]
            if made_since:
                new = type(optimizer).from_config(optimizer.get_config())
                new.build(trained_by(optimizer))
                values = [*values, *new.variables[len(values) :]]
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def built(self) -> dict[str, np.ndarray]:
        """Returns, for a checkpoint, the paths of the weights that the other optimizers train."""
        paths = {id(v): path for path, v in weight_variables(self._model).items()}
        return {
            f"built/{k}": np.array(json.dumps([paths[id(v)] for v in trained_by(optimizer)]))
            for k, optimizer in enumerate(self._others)
            if optimizer.built
        }

    def assign(self, state: dict[str, np.ndarray]) -> None:
        """Gives optimizers and random generators the values of a checkpoint."""
        weights = weight_variables(self._model)
        for k, optimizer in enumerate(self._others):
            if f"built/{k}" in state and not optimizer.built:
                with variable_scope(self._model):
                    optimizer.build([weights[p] for p in json.loads(str(state[f"built/{k}"]))])
        for name, variable in self.variables().items():
            variable.assign(state[name])

    def _check(self, stored: dict[str, np.ndarray], run_dir: RunDir) -> None:
        shapes = json.loads(str(stored["weights"])) if "weights" in stored else self._shapes()
        for path, shape in self._shapes().items():
            if shapes.get(path) != shape:
                raise UsageError(
                    f"Expected the model that {run_dir.path} was begun with. Received another: "
                    f"{path!r} has shape {tuple(shape)}, there "
                    f"{tuple(shapes[path]) if path in shapes else 'is no such weight'}. "
                    "Use that model, or another run_dir."
                )
        same = json.loads(str(stored["names"])) == self._names()
        if same and not self.updates():
            for i, variable in enumerate(self._optimizer.variables):
                now, first = _unless_zero(variable), stored.get(str(i))
                same &= now is first if now is None or first is None else np.array_equal(now, first)
        if not same:
            raise UsageError(
                f"Expected the optimizer, with its values, that {run_dir.path} was begun with. "
                "Received: another one. Compile the model with that one, or use another run_dir."
            )

    def _names(self) -> list[str]:
        # Names begin with those of model and optimizer, which Keras counts up.
        names = [f"{v.name.rpartition('_')[2]} {tuple(v.shape)}" for v in self._variables]
        return names + [type(optimizer).__name__ for optimizer in [self._optimizer, *self._others]]

    def _shapes(self) -> dict[str, list[int]]:
        return {path: list(v.shape) for path, v in weight_variables(self._model).items()}


def _unless_zero(variable: keras.Variable) -> np.ndarray | None:
    """Returns a variable's value, None if it is all zeros."""
    value = to_numpy(variable)
    return value if value.any() else None


def _optimizers(model: keras.Model) -> list[keras.optimizers.Optimizer]:
    """Returns the compiled optimizer and the others that a model has as attributes."""
    found = [model.optimizer]
    for value in vars(model).values():
        inner: Any = value.values() if isinstance(value, dict) else value
        for item in inner if isinstance(value, (list, tuple, dict)) else [value]:
            if isinstance(item, keras.optimizers.Optimizer) and item not in found:
                found.append(item)
    return found
