"""Any image classification set of TensorFlow Datasets, through `tfds.load`."""

import difflib
import hashlib
import os
import pathlib
from typing import Any

import numpy as np

from lth_tf.datasets import DATASETS, Source, Split
from lth_tf.errors import UsageError
from lth_tf.files import read_arrays, write_arrays
from lth_tf.lazy import lazy_imports
from lth_tf.locks import lock

with lazy_imports():
    import tensorflow_datasets as tfds

VALIDATION_SIZE = 5_000


def load(name: str, *, data_dir: str = "", cache_dir: str | pathlib.Path | None = None) -> Source:
    """Returns a TFDS data set's splits "train" and "test", decoded.

    5,000 examples are for validation unless asked otherwise (paper, appendix G).

    Args:
        name: e.g. "mnist", "cifar10", "fashion_mnist".
        data_dir: TFDS folder; "" is TFDS_DATA_DIR or ~/tensorflow_datasets.
        cache_dir: where decoded arrays are kept, or None.

    Raises:
        UsageError: if the name is unknown, the set cannot be downloaded, or it is
            no image classification set with images of one size.
    """
    folder = folder_of(data_dir)
    cache = None
    if cache_dir is not None:
        digest = hashlib.sha256(folder.encode()).hexdigest()[:8]
        cache = pathlib.Path(cache_dir) / f"{name.replace('/', '_')}-{digest}.npz"
    arrays = _decode(name, folder) if cache is None else _through(cache, name, folder)
    return Source(
        train=Split(arrays["train_images"], arrays["train_labels"]),
        test=Split(arrays["test_images"], arrays["test_labels"]),
        classes=int(arrays["classes"]),
        validation_size=VALIDATION_SIZE,
    )


def folder_of(data_dir: str) -> str:
    """Returns the TFDS folder that is meant, absolute."""
    return os.path.abspath(
        os.path.expanduser(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    )


def _through(cache: pathlib.Path, name: str, folder: str) -> dict[str, np.ndarray]:
    """Reads the cache; fills it first if need be, one process at a time."""
    if cache.exists():
        return read_arrays(cache)
    with lock(cache.with_suffix(".lock"), waiting=lambda process: None):
        if not cache.exists():
            write_arrays(cache, _decode(name, folder))
        return read_arrays(cache)


def _decode(name: str, folder: str) -> dict[str, np.ndarray]:
    builder = prepared(name, folder)
    features = builder.info.features
    if features["image"].shape[0] is None:
        raise UsageError(
            "Expected images of one size, or stream=True, which brings them to one. "
            f"Received: dataset={name!r}.",
            arguments=("input",),
        )
    arrays = {"classes": np.array(features["label"].num_classes)}
    for split in ("train", "test"):
        if split not in builder.info.splits:
            raise UsageError(
                f"Expected a data set with the splits train and test. Received: dataset={name!r} "
                f"with {', '.join(builder.info.splits)}."
            )
        images, labels = tfds.as_numpy(
            builder.as_dataset(split=split, batch_size=-1, as_supervised=True)
        )
        arrays[f"{split}_images"] = images
        arrays[f"{split}_labels"] = labels.astype(np.int32)
    return arrays


def prepared(name: str, folder: str) -> Any:
    """Returns the TFDS builder of an image classification set, downloaded if need be.

    Raises:
        UsageError: if the name is unknown, the set cannot be downloaded, or it is another.
    """
    try:
        builder = tfds.builder(name, data_dir=folder)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        close = difflib.get_close_matches(name, [*DATASETS.names(), *tfds.list_builders()], n=1)
        hint = f"Did you mean {close[0]}?" if close else _first_line(error) + "."
        raise UsageError(
            f"Expected {', '.join(DATASETS.names())} or the name of a TFDS data set. "
            f"Received: dataset={name!r}. {hint}"
        ) from error
    _prepare(builder, name, folder)
    if builder.info.supervised_keys != ("image", "label"):
        raise UsageError(
            "Expected an image classification set. "
            f"Received: dataset={name!r}, whose features are {', '.join(builder.info.features)}."
        )
    return builder


def _prepare(builder: Any, name: str, folder: str) -> None:
    """Downloads a data set unless it is there."""
    if builder.is_prepared():
        return
    print(f"Downloading {name} with tensorflow-datasets to {folder} ...", flush=True)
    try:
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
    except Exception as error:  # TFDS passes on whatever its many download ways raise.
        raise UsageError(
            f"Could not download {name} ({type(error).__name__}: {_first_line(error)}). "
            "Without internet, name a folder where it is prepared as data_dir, "
            "or use the data set digits, which needs no download.",
            arguments=("data_dir", "dataset"),
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:160].rstrip(".")
