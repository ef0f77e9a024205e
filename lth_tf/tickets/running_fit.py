"""What a callback cannot see of the `fit` it is in: the other callbacks and the data.

`fit` hands its callbacks neither, and on a finished run no batch is ever trained that could
be looked at. So the arguments are read where Python keeps them while `fit` runs; without
them (a training loop of one's own) nothing is checked.
"""

import hashlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from lth_tf.errors import UsageError
from lth_tf.lazy import lazy_imports
from lth_tf.masking.checks import check_reads
from lth_tf.pruning.context import Network
from lth_tf.seeding import generator

with lazy_imports():
    from lth_tf.tickets import fit_derivatives

_SAMPLE_BYTES = 2**26


def running_fit(model: keras.Model) -> dict[str, Any]:
    """Returns the variables of the `fit` of a model that is calling, or none."""
    frame = inspect.currentframe()
    while frame is not None:
        values = frame.f_locals
        if frame.f_code.co_name == "fit" and values.get("self") is model:
            if "epoch_iterator" in values:
                return dict(values)
        frame = frame.f_back
    return {}


def check_strategy(model: keras.Model) -> None:
    """Refuses a model that several processes train together.

    Raises:
        UsageError: naming what trains such models.
    """
    strategy = getattr(model, "distribute_strategy", None)
    kinds = [kind.__name__ for kind in type(strategy).__mro__]
    if any(name.startswith(("CollectiveAllReduce", "MultiWorkerMirrored")) for name in kinds):
        raise UsageError(
            "Expected a model that one process trains. Received: one under "
            "MultiWorkerMirroredStrategy, whose processes would all write the run directory. "
            "Use lth_tf.Trainer, or MirroredStrategy for the devices of one machine."
        )


def check_fit(fit: dict[str, Any], tickets: keras.callbacks.Callback) -> None:
    """Refuses what cannot work beside `tickets`, or before or after it.

    Args:
        fit: what `running_fit` returned.
        tickets: the TicketCallback in it.

    Raises:
        UsageError: naming the callback and where it can stand.
    """
    if fit.get("initial_epoch"):
        raise UsageError(
            "Expected initial_epoch=0: TicketCallback knows itself which epochs are done. "
            f"Received: initial_epoch={fit['initial_epoch']}. Leave it out."
        )
    callbacks = getattr(fit.get("callbacks"), "callbacks", [])
    _check_others(callbacks, tickets)


def _check_others(
    callbacks: Sequence[keras.callbacks.Callback], tickets: keras.callbacks.Callback
) -> None:
    kinds = keras.callbacks
    place = next((i for i, callback in enumerate(callbacks) if callback is tickets), 0)
    number = sum(isinstance(callback, type(tickets)) for callback in callbacks)
    if number > 1:
        raise UsageError(
            f"Expected one TicketCallback in a fit. Received: {number}. "
            "Each of them would prune and rewind the model: give them a fit each."
        )
    for i, callback in enumerate(callbacks):
        name = type(callback).__name__
        if isinstance(callback, kinds.BackupAndRestore):
            raise UsageError(
                f"Expected no {name} beside TicketCallback, which resumes by itself. "
                f"Received: callbacks with {name}. Leave it out."
            )
        if isinstance(callback, kinds.SwapEMAWeights) and callback.swap_on_epoch and i < place:
            raise UsageError(
                f"Expected {name}(swap_on_epoch=True) after TicketCallback, whose checkpoints need "
                f"the weights that training goes on from. Received: callbacks with {name} before "
                "it. Put TicketCallback first."
            )
        if getattr(callback, "restore_best_weights", False) and i > place:
            raise UsageError(
                f"Expected no {name}(restore_best_weights=True) after TicketCallback: it would put "
                "the weights of another level back. Received: callbacks with it. Put it into "
                "level_callbacks=, or before TicketCallback."
            )


def fingerprint(fit: dict[str, Any]) -> dict[str, Any]:
    """Returns name -> description of what a `fit` trains and validates on.

    Arrays are described by type, shape and a checksum, of 64 MB of their examples if
    they are larger. Data sets and generators, which may shuffle and augment, by their kind and
    shapes only.

    Args:
        fit: what `running_fit` returned.
    """
    if not fit:
        return {}
    iterator = fit["epoch_iterator"]
    found = {
        "inputs": _digest(fit.get("x")),
        "labels": _digest(fit.get("y")),
        "sample weights": _digest(fit.get("sample_weight")),
        "class weights": repr(fit.get("class_weight") or None),
        "validation inputs": _digest(fit.get("val_x")),
        "validation labels": _digest(fit.get("val_y")),
        "validation weights": _digest(fit.get("val_sample_weight")),
        "batch size": getattr(iterator.data_adapter, "batch_size", None),
        "batches an epoch": batches_an_epoch(fit),
    }
    return {name: value for name, value in found.items() if value not in (None, "", "None")}


def batches_an_epoch(fit: dict[str, Any]) -> int | None:
    """Returns how many batches an epoch of a `fit` has; None if nobody knows before it ends."""
    return fit["epoch_iterator"].num_batches if fit else None


def few_examples(fit: dict[str, Any], count: int = 4) -> Any:
    """Returns the inputs of a few examples of a `fit`, None if they cannot be had.

    Those of a generator cannot: nobody could put them back.
    """
    for name in ("x", "val_x"):
        data = next(iter(_batches(fit.get(name))), fit.get(name))
        data = keras.utils.unpack_x_y_sample_weight(data)[0] if data is not fit.get(name) else data
        if _are_arrays(data):
            return keras.tree.map_structure(lambda leaf: np.asarray(leaf[:count]), data)
    return None


def training_examples(fit: dict[str, Any], count: int, seed: int) -> list[tuple[Any, Any, Any]]:
    """Returns inputs, labels and weights of some training examples of a `fit`, in batches.

    Of arrays they are drawn at random, of data sets they are the first batches.

    Args:
        fit: what `running_fit` returned.
        count: number of examples, if there are as many.
        seed: of the drawing.

    Raises:
        UsageError: if they cannot be had, as those of a generator that nobody could put back.
    """
    data = tuple(fit.get(name) for name in ("x", "y", "sample_weight"))
    if _are_arrays(data[:2]):
        size = len(keras.tree.flatten(data[0])[0])
        chosen = np.sort(generator(seed, "examples").permutation(size)[:count])
        return [_rows(data, chosen)]
    found, number = [], 0
    for batch in _batches(data[0]):
        batch = _rows(keras.utils.unpack_x_y_sample_weight(batch), slice(count - number))
        found.append(batch)
        number += len(keras.tree.flatten(batch[0])[0])
        if number >= count:
            break
    if not found:
        raise UsageError(
            "Expected arrays, a tf.data.Dataset or a PyDataset: this criterion looks at training "
            f"examples before they are trained on. Received: {type(data[0]).__name__}."
        )
    return found


def derivatives(model: keras.Model, fit: dict[str, Any], seed: int) -> Network | None:
    """Returns those of the loss of a `fit`, None where Keras does not run on TensorFlow.

    Args:
        model: what is fitted.
        fit: what `running_fit` returned.
        seed: decides on which examples.
    """
    if keras.backend.backend() != "tensorflow":
        return None
    given = {name: fit.get(name) for name in ("x", "y", "sample_weight")}
    return fit_derivatives.FitDerivatives(
        model, lambda count: training_examples(given, count, seed)
    )


def _batches(data: Any) -> Iterator[Any]:
    """Yields the batches of a data set, in its order; nothing of what is none."""
    if isinstance(data, keras.utils.PyDataset):
        yield from (data[place] for place in range(data.num_batches or 0))
    elif hasattr(data, "element_spec") and hasattr(data, "take"):
        yield from data


def _are_arrays(data: Any) -> bool:
    leaves = [leaf for leaf in keras.tree.flatten(data) if leaf is not None]
    return bool(leaves) and all(hasattr(leaf, "__array__") for leaf in leaves)


def _rows(data: Any, rows: Any) -> Any:
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else np.asarray(leaf)[rows], tuple(data)
    )


def check_callable_reads(model: keras.Model, examples: Any) -> None:
    """Checks that no pruned weight takes part in the outputs of a model for some inputs.

    One that only its own train_step can call is not checked.

    Raises:
        UsageError: naming the weight that does.
    """
    try:
        check_reads(model, examples)
    except UsageError:
        raise
    except Exception:
        return


def check_fingerprint(recorded: dict[str, Any], found: dict[str, Any], where: Any) -> None:
    """Refuses data other than those a run was trained on.

    Args:
        recorded: the fingerprint of the run, {} if it has none.
        found: that of this `fit`, {} if it is not known.
        where: path of the run.

    Raises:
        UsageError: naming what differs.
    """
    if not recorded or not found:
        return
    names = [name for name in recorded | found if recorded.get(name) != found.get(name)]
    if names:
        differing = "; ".join(
            f"{name} {recorded.get(name, 'none')}, not {found.get(name, 'none')}" for name in names
        )
        raise UsageError(
            f"Expected the data that {where} was trained on. Received others: it has {differing}. "
            "Use the same data and batch size, or another run_dir."
        )


def _digest(data: Any) -> str:
    """Returns the descriptions of the arrays in a structure."""
    if data is None:
        return ""
    return ", ".join(_describe(leaf) for leaf in keras.tree.flatten(data) if leaf is not None)


def _describe(leaf: Any) -> str:
    if not hasattr(leaf, "__array__") or not hasattr(leaf, "shape"):
        kind = type(leaf).__name__.strip("_")
        spec = getattr(leaf, "element_spec", None)
        return kind if spec is None else f"{kind} of {_specs(spec)}"
    shape = tuple(leaf.shape)
    sample = np.asarray(leaf if hasattr(leaf, "dtype") else leaf.to_numpy())
    if sample.ndim and sample.nbytes > _SAMPLE_BYTES:
        count = max(1, _SAMPLE_BYTES * len(sample) // sample.nbytes)
        sample = sample[np.linspace(0, len(sample) - 1, count).astype(int)]
    content = sample.tobytes()
    if sample.dtype.kind == "O":
        content = "\0".join(map(str, sample.ravel())).encode()
    checksum = hashlib.blake2b(content, digest_size=6).hexdigest()
    return f"{sample.dtype.name} {shape} {checksum}"


def _specs(spec: Any) -> str:
    specs = keras.tree.flatten(spec)
    return ", ".join(f"{s.dtype.name} {tuple(s.shape)}" for s in specs if hasattr(s, "shape"))
