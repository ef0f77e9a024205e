"""Everything of Keras that is used and not documented. Checked with Keras 3.13 to 3.15.

A newer version that renames one of them needs a change in this file only.
"""

import collections
import contextlib
import gc
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import keras
from keras.src.backend import compute_output_spec
from keras.src.backend.common import global_state
from keras.src.backend.common.stateless_scope import get_stateless_scope, in_stateless_scope
from keras.src.saving import serialization_lib

from lth_tf.lazy import lazy_imports

with lazy_imports():
    from lth_tf import tensorflow_internals

_WRAPPER = "_lth_tf_quantize"

# ---- names


@contextlib.contextmanager
def names_from_start() -> Iterator[None]:
    """Counts the names of new layers from 0, so that one built twice has one name."""
    before = global_state.get_global_attribute("object_name_uids")
    global_state.set_global_attribute("object_name_uids", collections.defaultdict(int))
    try:
        yield
    finally:
        global_state.set_global_attribute("object_name_uids", before)


# ---- variables


def in_layer_call() -> bool:
    """True while a layer or model is being called in this thread."""
    return global_state.get_global_attribute("current_call_ctx") is not None


def in_training() -> bool:
    """True while a layer or model is being called with training=True in this thread."""
    context = global_state.get_global_attribute("current_call_ctx")
    return bool(context is not None and context.get_value("training"))


def is_bound(variable: keras.Variable) -> bool:
    """True unless a stateless function runs that was not given this variable's value."""
    if not in_stateless_scope():
        return True
    return get_stateless_scope().get_current_value(variable) is not None


def has_value(variable: keras.Variable) -> bool:
    """True unless JAX's `fit` has taken the variable's value away for the time being."""
    return variable._value is not None


def own_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Returns the variables that a layer itself tracks, also if they belong to others too."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


# ---- layers


def direct_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns the layers right below one."""
    return [inner for inner in layer._layers if isinstance(inner, keras.layers.Layer)]


def all_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns a layer and all below it, whatever holds them."""
    return list(layer._flatten_layers(include_self=True, recursive=True))


@contextlib.contextmanager
def trackable(layer: keras.layers.Layer) -> Iterator[None]:
    """Lets a built layer take in variables and layers."""
    locked = layer._tracker.locked
    layer._tracker.unlock()
    try:
        yield
    finally:
        if locked:
            layer._tracker.lock()


def forget_layer(layer: keras.layers.Layer, attribute: str) -> None:
    """Deletes a layer's attribute, a layer, from it."""
    with trackable(layer):
        layer._tracker.untrack(getattr(layer, attribute))
        delattr(layer, attribute)


def has_default_config(layer_class: type[keras.layers.Layer]) -> bool:
    """True if Keras writes a layer's config from the arguments that it was made with."""
    return getattr(layer_class.get_config, "_is_default", False)


def mark_default_config(get_config: Callable) -> Callable:
    """Tells Keras that a function calls its own way of writing a config."""
    vars(get_config)["_is_default"] = True
    return get_config


def quantize_by_class(layer: keras.layers.Layer) -> None:
    """Makes `layer.quantize` the method of its class, which Keras hides behind a wrapper."""
    if "quantize" in vars(layer):
        vars(layer)[_WRAPPER] = vars(layer).pop("quantize")


def quantize_by_instance(layer: keras.layers.Layer) -> None:
    """Puts the wrapper that `quantize_by_class` took away back."""
    if _WRAPPER in vars(layer):
        vars(layer)["quantize"] = vars(layer).pop(_WRAPPER)


def object_config(object_class: type, config: dict) -> dict:
    """Returns what `keras.saving.deserialize_keras_object` makes an object of a class from."""
    return serialization_lib.serialize_with_public_class(object_class, config)


def variable_scope(model: keras.Model) -> contextlib.AbstractContextManager:
    """Where variables of a model must be made: its distribution strategy, if it has one."""
    strategy = getattr(model, "distribute_strategy", None)
    return contextlib.nullcontext() if strategy is None else strategy.scope()


# ---- graphs


def graph_of(model: keras.Model) -> keras.Model | None:
    """Returns the Functional model that a Sequential or Functional model runs, if it is one."""
    if isinstance(model, keras.Sequential):
        return getattr(model, "_functional", None)
    return model if has_graph(model) else None


class Use(NamedTuple):
    """An operation's place in a graph."""

    operation: Any
    inputs: list[keras.KerasTensor]
    args: tuple
    kwargs: dict[str, Any]


def producers(tensors: Iterable[keras.KerasTensor]) -> list[Use]:
    """Returns for each symbolic tensor the use of an operation that made it."""
    found = []
    for tensor in tensors:
        operation, index, _ = tensor._keras_history
        node = operation._inbound_nodes[index]
        found.append(Use(operation, node.input_tensors, node.arguments.args, node.arguments.kwargs))
    return found


def called_with(model: keras.Model) -> Any:
    """Returns the tensors that a Functional or Sequential model takes, nested as it takes them.

    None for a subclassed model, which has no graph of its own.
    """
    if isinstance(model, keras.Sequential):
        return model.inputs[0] if model.inputs else None
    return getattr(model, "_inputs_struct", None)


def returned(model: keras.Model) -> Any:
    """Returns the tensors that a Functional model returns, nested as it returns them."""
    return model._outputs_struct


def built_with(model: keras.Model) -> dict[str, Any]:
    """Returns argument -> shape, nested, of the first call of a subclassed model."""
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    return {name.removesuffix("_shape"): shape for name, shape in shapes.items()}


def calls_in_order(model: keras.Model) -> list[Any]:
    """Returns Keras's records of the calls a Functional model consists of, as they run."""
    nodes = model._nodes_by_depth
    return [node for depth in sorted(nodes, reverse=True) for node in nodes[depth]]


def calls_of(operation: keras.Operation) -> list[Any]:
    """Returns Keras's records of the calls of a layer or operation."""
    return list(operation._inbound_nodes)


def has_graph(model: keras.Model) -> bool:
    """Whether the calls that a model consists of are known."""
    return hasattr(model, "_nodes_by_depth")


def example_call(model: keras.Model) -> tuple[tuple, dict[str, Any]]:
    """Returns symbolic arguments of the shapes that a model was built with.

    Raises:
        ValueError: if it was built with none, or several.
    """
    (shapes,) = (model._build_shapes_dict or {}).values()
    inputs = keras.tree.map_shape_structure(
        lambda shape: keras.KerasTensor((None, *shape[1:]), model.input_dtype), shapes
    )
    return (inputs,), {}


def trace_call(layer: keras.layers.Layer, args: tuple, kwargs: dict[str, Any]) -> None:
    """Runs the code of a layer's call once, on placeholders in place of symbolic arguments."""
    compute_output_spec(layer, *args, **kwargs)


# ---- compiled functions


def forget_compiled_functions(variables: Iterable[keras.Variable]) -> None:
    """Makes every compiled function that reads one of the variables be traced anew.

    Those are `fit`, `evaluate` and `predict` of every living model that holds one,
    whether it lies inside or around the masked one, and with TensorFlow every
    `tf.function`, e.g. a decorated `call` or a training step by hand. Who holds them
    is not known to the variable, so all living objects are looked at, which takes some
    tenths of a second in a large program; with TensorFlow only if any graph reads one.
    """
    variables = list(variables)
    ids = {id(variable) for variable in variables}
    handles: set[int] = set()
    models = _kinds(keras.Model)
    functions: set[type] = set()
    if keras.backend.backend() == "tensorflow":
        stored = [part for variable in variables for part in _parts(variable)]
        if not any(tensorflow_internals.is_captured(part) for part in stored):
            return
        handles, functions = (
            {id(part.handle) for part in stored},
            _kinds(tensorflow_internals.Function),
        )
    kinds = models | functions
    for item in [item for item in _living_objects() if type(item) in kinds]:
        if type(item) in models:
            _renew(item, ids)
        else:
            tensorflow_internals.forget_traces(item, handles)


def _living_objects() -> list[Any]:
    # Python lists none of those that are kept from the search for garbage. Keeping them from it
    # again would keep all that lives by now from it, for ever.
    gc.unfreeze()
    return gc.get_objects()


def _kinds(base: Any) -> set[type]:
    return {base}.union(*(_kinds(kind) for kind in type.__subclasses__(base)))


def _renew(model: keras.Model, ids: set[int]) -> None:
    made = [kind for kind in ("train", "test", "predict") if vars(model).get(f"{kind}_function")]
    if made and any(id(variable) in ids for variable in model.variables):
        for kind in made:
            # Anew at once: inside `fit` nobody would make it before the next batch.
            getattr(model, f"make_{kind}_function")(force=True)


def _parts(variable: keras.Variable) -> list[Any]:
    # A distribution strategy keeps one variable a device.
    stored = variable._value
    return [part for part in getattr(stored, "values", [stored]) if hasattr(part, "handle")]


# ---- training


def trained_by(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Returns the variables that a built optimizer updates."""
    return getattr(optimizer, "inner_optimizer", optimizer)._trainable_variables


def loss_knows_training(model: keras.Model) -> bool:
    """Whether a model's `compute_loss` is told if it is called in training."""
    return model._compute_loss_has_training_arg


def has_schedule(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether an optimizer's learning rate is a function of its iterations."""
    schedule = keras.optimizers.schedules.LearningRateSchedule
    return isinstance(optimizer._learning_rate, schedule)


def better_values(metric: keras.metrics.Metric) -> str | None:
    """Returns "up" or "down", as which values of a metric Keras takes to be better."""
    return getattr(metric, "_direction", None)


def metric_function(metric: keras.metrics.Metric) -> Callable[[Any, Any], Any] | None:
    """Returns the function of labels and outputs whose mean a metric is; None if there is none."""
    function = getattr(metric, "_fn", None)
    if not isinstance(metric, keras.metrics.MeanMetricWrapper) or function is None:
        return None
    return lambda labels, outputs: function(labels, outputs, **metric._fn_kwargs)
