"""The files of a finished stage, and what is checked when they are read.

    mask.npz       one bit a weight, deflated
    weights.npz    of masked weights only the values that are kept, in the order of the mask
    history.npz    the evaluations by column
    correct.npz    which labels of the test data are predicted, one bit a label; where it is known
    summary.json   the numbers of the whole training, and the sizes of the other files

Each names its stage. Files of format 1 do not, and hold pruned weights as zeros.
"""

import math
import os
import pathlib
from typing import Any

import numpy as np

from lth_tf.errors import errors_of
from lth_tf.files import read_arrays, read_json, reading, write_arrays, write_json
from lth_tf.masking.arrays import Masks, density, pack, remaining, total, unpack
from lth_tf.runs.history import Correct, Evaluation, History
from lth_tf.runs.stage import Stage

MASK, WEIGHTS, HISTORY, SUMMARY = "mask.npz", "weights.npz", "history.npz", "summary.json"
CORRECT = "correct.npz"
"""Missing in runs of earlier versions, and where `model.fit` is judged by more than arrays."""

_STAGE = "#stage"
_NUMBERS = {
    **dict.fromkeys(("remaining", "total", "iterations", "early_stop_iteration"), int),
    **dict.fromkeys(("density", "early_stop_validation_loss", "seconds"), float),
    **dict.fromkeys(
        (
            "early_stop_validation_accuracy",
            "early_stop_test_accuracy",
            "final_test_accuracy",
            "final_train_accuracy",
        ),
        float,
    ),
}
_TEXTS = ("metric", "mode", "step")


def write(
    folder: pathlib.Path,
    stage: Stage,
    masks: Masks,
    weights: dict[str, np.ndarray],
    history: History,
) -> None:
    """Writes a stage; its summary, which means that it is done, comes last."""
    with errors_of(folder):
        folder.mkdir(parents=True, exist_ok=True)
    kept = {
        path: value[masks[path].astype(bool)] if path in masks else value
        for path, value in weights.items()
    }
    name = {_STAGE: np.array(str(stage))}
    write_arrays(folder / MASK, {**name, **pack(masks)}, compress=True)
    write_arrays(folder / WEIGHTS, {**name, **kept})
    write_arrays(folder / HISTORY, {**name, **history.arrays()})
    files = [MASK, WEIGHTS, HISTORY]
    if history.correct is not None:
        write_arrays(folder / CORRECT, {**name, **_pack_correct(history.correct)})
        files.append(CORRECT)
    summary = {
        "level": stage.level,
        "control": stage.control,
        "density": density(masks),
        "remaining": remaining(masks),
        "total": total(masks),
        **history.summary(),
        "bytes": {file: (folder / file).stat().st_size for file in files},
    }
    write_json(folder / SUMMARY, summary)


def check_sizes(folder: pathlib.Path, stage: Stage) -> None:
    """Checks that the files of a finished stage are as long as they were written.

    Raises:
        UsageError: naming the file that is missing, cut short or damaged.
    """
    for name, size in read_summary(folder, stage)["bytes"].items():
        file = folder / name
        with reading(file):
            if not file.is_file() or file.stat().st_size != size:
                raise ValueError(f"expected {size} bytes")


def read_summary(folder: pathlib.Path, stage: Stage) -> dict[str, Any]:
    """Returns the numbers of a stage."""
    file = folder / SUMMARY
    with reading(file):
        found = read_json(file)
        _check_stage(stage, str(Stage(found["level"], found["control"])))
        for name, kind in _NUMBERS.items():
            value = found[name]
            fits = isinstance(value, (int, kind)) and not isinstance(value, bool)
            # Metrics of any kind stand under the names of accuracies, undefined ones too.
            if not fits or not ("accuracy" in name or math.isfinite(value)):
                raise ValueError(f"{name} is {value!r}")
            if abs(kind(value)) >= 2**63 and kind is int:
                raise ValueError(f"{name} is too large")
        if not 0 <= found["density"] <= 1 or not 0 <= found["remaining"] <= found["total"]:
            raise ValueError(f"density is {found['density']!r}, remaining {found['remaining']!r}")
        if not all(isinstance(found.get(name, ""), str) for name in _TEXTS):
            raise ValueError("metric is not a text")
        sizes = found["bytes"]
        if set(sizes) - {CORRECT} != {MASK, WEIGHTS, HISTORY} or not all(
            type(size) is int for size in sizes.values()
        ):
            raise ValueError(f"bytes is {sizes!r}")
    return found


def read_history(folder: pathlib.Path, stage: Stage) -> dict[str, np.ndarray]:
    """Returns name -> array [evaluations]."""
    file = folder / HISTORY
    with reading(file):
        columns = _of_stage(stage, read_arrays(file))
        names = set(Evaluation.__dataclass_fields__)
        if not names <= set(columns) or len({column.shape for column in columns.values()}) != 1:
            raise ValueError(f"expected columns {', '.join(sorted(names))} of one length")
        if any(column.ndim != 1 or column.dtype.kind not in "iuf" for column in columns.values()):
            raise ValueError("expected columns of numbers")
        if not np.isfinite(columns["iteration"]).all():
            raise ValueError("an iteration is not a number")
    return columns


def read_correct(folder: pathlib.Path, stage: Stage) -> Correct | None:
    """Returns which labels are predicted, or None where that was not recorded."""
    summary = read_summary(folder, stage)
    if CORRECT not in summary["bytes"]:
        return None
    file = folder / CORRECT
    with reading(file):
        stored = _of_stage(stage, read_arrays(file))
        labels, share = int(stored["labels"]), float(stored["chance"])
        bits = {name: stored[name] for name in ("early_stop", "final")}
        for name, packed in bits.items():
            if packed.dtype != np.uint8 or packed.shape != (math.ceil(labels / 8),):
                raise ValueError(f"{name} does not hold {labels} bits")
        if labels < 1 or not 0 <= share <= 1:
            raise ValueError(f"labels is {labels}, chance {share}")
        unpacked = {k: np.unpackbits(v, count=labels).astype(bool) for k, v in bits.items()}
        correct = Correct(**unpacked, chance=share)
        for name in bits:
            if not math.isclose(
                correct.accuracy(name), summary[f"{name}_test_accuracy"], abs_tol=1e-6
            ):
                raise ValueError(f"{name} is not of the accuracy in {SUMMARY}")
    return correct


def read_masks(folder: pathlib.Path, stage: Stage) -> Masks:
    """Returns weight path -> uint8 array, 1 keeps."""
    file = folder / MASK
    with reading(file):
        # A mask of ones, eight a byte, deflates a thousandfold; but it has as many weights.
        weights = os.stat(folder / WEIGHTS).st_size
        return unpack(_of_stage(stage, read_arrays(file, expected=weights)))


def read_weights(folder: pathlib.Path, stage: Stage) -> dict[str, np.ndarray]:
    """Returns path -> array of every weight, pruned weights as 0."""
    file = folder / WEIGHTS
    with reading(file):
        stored = read_arrays(file)
        of_format_1 = _STAGE not in stored
        weights = _of_stage(stage, stored)
        masks = read_masks(folder, stage)
        for path, mask in masks.items():
            if of_format_1:
                if weights[path][mask == 0].any():
                    raise ValueError(f"{path!r} has weights where mask.npz has none")
                continue
            kept, full = weights[path], np.zeros(mask.shape, weights[path].dtype)
            if kept.shape != (np.count_nonzero(mask),):
                raise ValueError(f"{path!r} has {kept.size} weights, mask.npz another number")
            full[mask.astype(bool)] = kept
            weights[path] = full
        check_finite(weights)
    return weights


def check_finite(weights: dict[str, np.ndarray]) -> None:
    """Checks that weights are numbers.

    Raises:
        ValueError: naming the first that is not.
    """
    for path, value in weights.items():
        if value.dtype.kind not in "fiub":
            raise ValueError(f"{path!r} does not hold numbers")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError(f"{path!r} is NaN or infinite")


def _pack_correct(correct: Correct) -> dict[str, np.ndarray]:
    return {
        "early_stop": np.packbits(correct.early_stop),
        "final": np.packbits(correct.final),
        "labels": np.array(correct.early_stop.size),
        "chance": np.array(correct.chance),
    }


def _of_stage(stage: Stage, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns arrays without the name of their stage, which must be this one if there is one."""
    name = arrays.pop(_STAGE, None)
    if name is not None:
        _check_stage(stage, str(name))
    return arrays


def _check_stage(expected: Stage, found: str) -> None:
    if found != str(expected):
        raise ValueError(f"it is of {found}, not of {expected}")
