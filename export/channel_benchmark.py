"""Measures what removed channels save: parameters, multiply-adds, bytes and latency in LiteRT.

    python -m export.channel_benchmark
    python -m export.channel_benchmark --networks=vgg,resnet20,mobilenet_v2 --pruned=30,50,70
    python -m export.channel_benchmark --networks=vgg --latency_seconds=0

Of every layer the channels of the smallest L1 norm go, joined ones together, as of
granularity=channel; `export.compact` removes them. A file is timed against the dense file of its
type, in turn, one example on one thread. Weights are random: neither sizes nor speeds depend on
training. Run it on a machine that does nothing else.
"""

import csv
import dataclasses
import math
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from lth_tf import pruning
from lth_tf.cli import flags, program, tf_logging
from lth_tf.cli.table import Column, Table
from lth_tf.config import GRANULARITIES
from lth_tf.errors import UsageError
from lth_tf.lazy import lazy_imports
from lth_tf.options import Options, option

from .formats import FORMATS, WriteOptions

with lazy_imports():
    import keras
    import numpy as np
    from keras import layers

    from lth_tf import networks
    from lth_tf.masking import model as masking
    from lth_tf.masking import stripping

    from . import examples as example_inputs
    from . import layers as layer_costs
    from . import real_models, signature, timing, verification
    from .compaction import compact

_COLUMNS = (
    Column("network", 12, left=True),
    Column("% pruned", 8),
    Column("dtype", 7, left=True),
    Column("params", 10),
    Column("of dense", 8),
    Column("MMAC", 7),
    Column("of dense", 8),
    Column("bytes", 10, drop=1),
    Column("of dense", 8, drop=2),
    Column("ms", 7),
    Column("dense", 7),
    Column("speed", 6),
    Column("diff", 7, drop=3),
)


@dataclasses.dataclass(frozen=True)
class ChannelBenchmarkOptions(Options):
    """What to prune and measure."""

    networks: str = option(
        "vgg,resnet20,mobilenet_v2", "vgg, resnet20, mobilenet_v2, comma-separated."
    )
    pruned: tuple[float, ...] = option(
        (30.0, 50.0, 70.0), "Percentages of each layer's channels that go, comma-separated."
    )
    dtype: str = option("float32,int8", "What weights are stored as, comma-separated.")
    latency_seconds: float = option(
        3.0, "Seconds to measure the latency of a file; 0 does not.", minimum=0.0
    )
    runs_dir: str = option("runs", "Folder for the results.")


def main() -> None:
    """Runs the program and exits."""
    sys.exit(program.run_main(_run))


def _run() -> None:
    parsed = flags.parse(sys.argv, __doc__, ChannelBenchmarkOptions())
    if parsed is None:
        return
    (options,) = parsed
    names = options.networks.split(",")
    for name in names:
        if name not in NETWORKS:
            raise UsageError(f"Expected networks out of {', '.join(NETWORKS)}. Received: {name!r}.")
    if any(not 0 < pruned < 100 for pruned in options.pruned):
        raise UsageError(
            "Expected pruned to be percentages between 0 and 100. "
            f"Received: pruned={','.join(map(str, options.pruned))}."
        )
    tf_logging.import_tensorflow()
    table = Table(_COLUMNS)
    print(table.head(), flush=True)
    rows = []
    for name in names:
        keras.utils.set_random_seed(0)
        for row in measured(name, options):
            rows.append(row)
            print(table.row(_cells(row)), flush=True)
    file = pathlib.Path(options.runs_dir) / "export_benchmark" / "channels.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", newline="") as out:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(file)


def measured(name: str, options: ChannelBenchmarkOptions) -> "Iterator[dict[str, Any]]":
    """Yields what is measured of a network, a dict for each percentage and dtype.

    Raises:
        RunError: if a file does not run, or its outputs are not those of the masked network.
    """
    form = FORMATS.get("tflite")
    dense = NETWORKS[name]()
    shape = (16, *dense.inputs[0].shape[1:])
    examples = np.random.default_rng(0).random(shape, dtype=np.float32)
    real_models.settle(dense, examples)
    before, called = _costs(dense), signature.signature_of(dense)
    inputs = example_inputs.named(called, examples)
    options_of = {
        dtype: WriteOptions(dtype=dtype, examples=inputs) for dtype in options.dtype.split(",")
    }
    with tempfile.TemporaryDirectory() as folder:
        whole = {dtype: pathlib.Path(folder, f"{dtype}.tflite") for dtype in options_of}
        for dtype, write in options_of.items():
            form.write_dense(dense, whole[dtype], called, write)
        for pruned in options.pruned:
            masked = without_channels(stripping.strip(dense), pruned / 100)
            small = compact.compact(masked)
            after, file = _costs(small), pathlib.Path(folder, "small.tflite")
            for dtype, write in options_of.items():
                form.write(small, file, signature.signature_of(small), write)
                # Random weights decide nothing.
                checked = verification.verify(
                    file, masked, inputs, dtype=dtype, least_agreement=0.0
                )
                row = {
                    **{"network": name, "pruned": pruned, "dtype": dtype},
                    **{"parameters": after[0], "dense_parameters": before[0]},
                    **{"multiply_adds": after[1], "dense_multiply_adds": before[1]},
                    "bytes": file.stat().st_size,
                    "dense_bytes": whole[dtype].stat().st_size,
                    "difference": checked.relative_difference,
                }
                if options.latency_seconds:
                    one = {key: value[:1] for key, value in inputs.items()}
                    timed = timing.latency(file, whole[dtype], one, options.latency_seconds)
                    row["milliseconds"] = timed.milliseconds
                    row["dense_milliseconds"] = timed.dense_milliseconds
                yield row


def without_channels(model: "keras.Model", share: float) -> "keras.Model":
    """Takes the channels of the smallest L1 norm from each layer, in place; as zeros.

    Args:
        model: a plain Sequential or Functional model.
        share: fraction of the channels that go.

    Returns:
        `model`.
    """
    masking.mask_model(model)
    units = GRANULARITIES.get("channel")().units(model)
    masks = masking.get_masks(model)
    context = pruning.PruningContext(masks, masking.get_weights(model), {}, units=units)
    rates = units.shared(dict.fromkeys(masks, share))
    masking.set_masks(model, pruning.prune(context, rates, "magnitude", "layerwise", 1))
    return masking.strip_masks(model)


def _costs(model: "keras.Model") -> tuple[int, int]:
    """Returns the numbers of trained parameters and of multiply-adds of one example."""
    kernels = layer_costs.costs(model, signature.signature_of(model))
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return parameters, sum(kernel.multiply_adds for kernel in kernels)


def _cells(row: dict[str, Any]) -> list[str]:
    def share(name: str) -> str:
        return f"{100 * row[name] / row[f'dense_{name}']:.1f} %"

    timed = "milliseconds" in row
    return [
        row["network"],
        f"{row['pruned']:g}",
        row["dtype"],
        f"{row['parameters']:,}",
        share("parameters"),
        f"{row['multiply_adds'] / 1e6:.1f}",
        share("multiply_adds"),
        f"{row['bytes']:,}",
        share("bytes"),
        f"{row['milliseconds']:.3f}" if timed else "-",
        f"{row['dense_milliseconds']:.3f}" if timed else "-",
        f"{row['dense_milliseconds'] / row['milliseconds']:.2f}" if timed else "-",
        f"{row['difference']:.1e}",
    ]


def _vgg() -> "keras.Model":
    """Six normalized 3x3 convolutions of 64 to 256 channels on 32 x 32 pixels."""
    inputs = tensor = keras.Input((32, 32, 3))
    for filters in (64, 128, 256):
        for _ in range(2):
            tensor = layers.Conv2D(filters, 3, padding="same", use_bias=False)(tensor)
            tensor = layers.ReLU()(layers.BatchNormalization()(tensor))
        tensor = layers.MaxPooling2D()(tensor)
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(tensor)))


def _resnet20() -> "keras.Model":
    """The paper's ResNet-18 for CIFAR-10, which has 20 layers."""
    return masking.strip_masks(networks.build("resnet18", (32, 32, 3), 10, seed=0))


def _mobilenet_v2() -> "keras.Model":
    return keras.applications.MobileNetV2(
        (96, 96, 3), weights=None, classes=10, classifier_activation=None
    )


NETWORKS: dict[str, Callable[[], Any]] = {
    "vgg": _vgg,
    "resnet20": _resnet20,
    "mobilenet_v2": _mobilenet_v2,
}
"""Name -> a function that builds it."""


if __name__ == "__main__":
    main()
