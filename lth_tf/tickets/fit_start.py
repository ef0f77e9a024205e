"""What a compiled model's optimizer and random generators start every level of a `fit` with."""

import json

import keras
import numpy as np

from lth_tf.errors import UsageError
from lth_tf.masking.model import random_states, to_numpy
from lth_tf.runs.run_dir import RunDir


class FreshState:
    """The values they have before the first update, kept in the run directory.

    Args:
        model: a compiled model.
        run_dir: where the values are, or are put if the run begins.

    Raises:
        UsageError: if the run begins with an optimizer that has made updates, or goes
            on with another one.
    """

    def __init__(self, model: keras.Model, run_dir: RunDir):
        self._optimizer = model.optimizer
        if not self._optimizer.built:
            with model.distribute_strategy.scope():
                self._optimizer.build(model.trainable_variables)
        self._variables = [*self._optimizer.variables, *random_states(model)]
        now = [to_numpy(variable) for variable in self._variables]
        # Names begin with those of model and optimizer, which Keras counts up.
        names = [f"{v.name.rpartition('_')[2]} {tuple(v.shape)}" for v in self._variables]
        names.append(type(self._optimizer).__name__)
        updates = int(to_numpy(self._optimizer.iterations))
        stored = run_dir.start()
        if stored is None and updates:
            raise UsageError(
                f"Expected a newly compiled model. Received: an optimizer that has made {updates} "
                "updates. Call compile again before fit."
            )
        if stored is None:
            # Most are zeros.
            values = {str(i): value for i, value in enumerate(now) if value.any()}
            run_dir.save_start({"names": np.array(json.dumps(names)), **values})
            stored = run_dir.start()
        self._values = [stored.get(str(i), np.zeros_like(v)) for i, v in enumerate(now)]
        if json.loads(str(stored["names"])) != names or not (updates or self._is_same(now)):
            raise UsageError(
                f"Expected the optimizer, with its values, that {run_dir.path} was begun with. "
                "Received: another one. Compile the model with that one, or use another run_dir."
            )

    def restore(self) -> None:
        """Gives optimizer and random generators these values."""
        for variable, value in zip(self._variables, self._values, strict=True):
            variable.assign(value)

    def _is_same(self, now: list[np.ndarray]) -> bool:
        """Returns whether an optimizer that has made no updates is the one of the run."""
        count = len(self._optimizer.variables)
        pairs = zip(now[:count], self._values[:count], strict=True)
        return all(np.array_equal(one, other) for one, other in pairs)
