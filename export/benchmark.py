"""Measures exports of tickets that it trains itself: sizes, latencies, predictions.

    python -m export.benchmark
    python -m export.benchmark --dataset=mnist --iterations=5000 --dtype=float32
    python -m export.benchmark --models=all --remaining=20,5 --latency_seconds=10
    python -m export.benchmark --networks=conv6,resnet18,vgg19 --remaining=20,5 --latency_seconds=0

LeNet's tickets are trained level by level. The other networks are trained for a few iterations
on digits and pruned to each size at once: sizes mean something there, accuracies do not.
Writes a table, a CSV file and a picture of size and latency against % remaining. Run it on a
machine that does nothing else.
"""

import csv
import dataclasses
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

from lth_tf import pruning
from lth_tf.cli import flags, program, tf_logging
from lth_tf.cli.table import Column, Table
from lth_tf.config import ExperimentConfig, run_name
from lth_tf.errors import UsageError
from lth_tf.lazy import lazy_imports
from lth_tf.masking import arrays as masks
from lth_tf.options import Options, option
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage

from .config import ExportOptions
from .formats import FORMATS

with lazy_imports():
    import altair as alt

    from lth_tf import datasets, networks
    from lth_tf.masking import model as masking
    from lth_tf.tickets import find

    from . import command, model_benchmark, real_models, ticket
    from .compaction import compact

_TICKETS = "lenet"
_COLUMNS = (
    Column("network", 8, left=True),
    Column("% left", 6),
    Column("file", 11, left=True),
    Column("dtype", 7, left=True),
    Column("bytes", 10),
    Column("ratio", 6),
    Column("x limit", 7, drop=2),
    Column("payload", 7, drop=3),
    Column("speed", 6),
    Column("same", 8, drop=1),
)


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions(Options):
    """What to export and measure."""

    models: str = option(
        "",
        "In place of networks: models that people deploy, of random weights, comma-separated; "
        "all for all of them (see export/real_models.py).",
    )
    networks: str = option("lenet", "Networks, comma-separated.")
    remaining: tuple[float, ...] = option(
        (21.0, 5.6, 3.6, 1.85, 1.2), "Percentages of weights remaining, comma-separated."
    )
    formats: str = option("tflite,saved_model", "tflite, saved_model or both.")
    dtype: str = option("float32,float16,int8", "What weights are stored as, any of these.")
    dataset: str = option("digits", "What LeNet is trained on: digits, mnist, ...")
    iterations: int = option(2_000, "Training iterations of a level of LeNet.", minimum=1)
    latency_seconds: float = option(
        3.0, "Seconds to measure the latency of a file; 0 does not.", minimum=0.0
    )
    data_dir: str = option("", "TFDS folder. Default: TFDS_DATA_DIR or ~/tensorflow_datasets.")
    runs_dir: str = option("runs", "Folder for trained tickets and results.")


def main() -> None:
    """Runs the program and exits."""
    sys.exit(program.run_main(_run))


def _run() -> None:
    parsed = flags.parse(sys.argv, __doc__, BenchmarkOptions())
    if parsed is None:
        return
    (options,) = parsed
    if any(not 0 < remaining < 100 for remaining in options.remaining):
        raise UsageError(
            "Expected remaining to be percentages between 0 and 100. "
            f"Received: remaining={','.join(map(str, options.remaining))}."
        )
    tf_logging.import_tensorflow()
    if options.models:
        _measure_models(options)
        return
    for network in options.networks.split(","):
        networks.NETWORKS.get(network)
    table = Table(_COLUMNS)
    print(table.head(), flush=True)
    rows = []
    for source, network, remaining in _sources(options):
        for artifact in _artifacts(source, options):
            rows.append(_row(artifact, network, remaining))
            print(table.row(_cells(rows[-1])), flush=True)
    for file in write(rows, pathlib.Path(options.runs_dir) / "export_benchmark"):
        print(file)


def _measure_models(options: BenchmarkOptions) -> None:
    """Prints a row for each file and writes models.csv after every one."""
    names = list(real_models.MODELS) if options.models == "all" else options.models.split(",")
    formats, dtypes = options.formats.split(","), options.dtype.split(",")
    folder = pathlib.Path(options.runs_dir) / "export_benchmark"
    folder.mkdir(parents=True, exist_ok=True)
    table = Table(model_benchmark.COLUMNS)
    print(table.head(), flush=True)
    measured: list[dict[str, Any]] = []
    for name in names:
        for remaining in options.remaining:
            for row in model_benchmark.rows(
                name, remaining, formats, dtypes, options.latency_seconds
            ):
                measured.append(row)
                print(table.row(model_benchmark.cells(row)), flush=True)
                _write_csv(measured, folder / "models.csv")
    print(folder / "models.csv")


def _write_csv(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
    columns = dict.fromkeys(name for row in rows for name in row)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(columns))
        writer.writeheader()
        writer.writerows(rows)


def _sources(options: BenchmarkOptions) -> "Iterator[tuple[ticket.Ticket, str, float]]":
    """Yields what to export, with its network and the percentage of weights remaining."""
    for network in options.networks.split(","):
        yield from _tickets(options) if network == _TICKETS else _pruned(network, options)


def _trained(config: ExperimentConfig, options: BenchmarkOptions) -> RunDir:
    """Returns a run directory with the levels of a config, trained here if they are not there."""
    image_shape = networks.image_shape(config.network)
    data = datasets.load(
        config.dataset, image_shape=image_shape, seed=config.seed, data_dir=options.data_dir
    )
    name = run_name(config, ExperimentConfig())
    run_dir = RunDir(pathlib.Path(options.runs_dir) / "export_benchmark" / name / "seed_0")
    about = {
        "versions": {},
        "device": "",
        "data": {"image_shape": list(image_shape), "classes": data.classes},
    }
    with run_dir.writing(config, about):
        find.find_tickets(config, data, run_dir)
    return run_dir


def _tickets(options: BenchmarkOptions) -> "Iterator[tuple[ticket.Ticket, str, float]]":
    """Yields LeNet's tickets whose sizes are nearest to the wanted ones."""
    config = ExperimentConfig(
        dataset=options.dataset, iterations=options.iterations, eval_interval=100, levels=20
    )
    run_dir = _trained(config, options)
    densities = [run_dir.summary(Stage(level))["density"] for level in range(config.levels + 1)]
    for wanted in options.remaining:
        level = min(range(1, 21), key=lambda n: abs(densities[n] - wanted / 100))
        source = ticket.load(run_dir.path, level, data_dir=options.data_dir)
        yield source, _TICKETS, 100 * densities[level]


def _pruned(
    network: str, options: BenchmarkOptions
) -> "Iterator[tuple[ticket.Ticket, str, float]]":
    """Yields a briefly trained network, pruned to each size at once."""
    config = ExperimentConfig(
        network=network, dataset="digits", iterations=50, batch_size=16, eval_interval=50, levels=0
    )
    run_dir = _trained(config, options)
    trained, dense = run_dir.trained(Stage(0)), run_dir.mask(Stage(0))
    deep = network in ("resnet18", "vgg19")  # their output layers are not pruned (paper)
    for wanted in options.remaining:
        rate = 1 - wanted / 100
        rates = {"conv": rate, "fc": rate, "output": 0.0 if deep else rate / 2}
        model = networks.build(network, networks.image_shape(network), 10, seed=0)
        by_weight = pruning.layer_rates(networks.groups(model), rates)
        kept = pruning.prune(
            pruning.PruningContext(dense, trained, run_dir.origin()),
            by_weight,
            config.criterion,
            "global" if deep else "layerwise",
            level=1,
        )
        masking.set_masks(model, kept)
        masking.set_weights(model, trained)
        # The run gives name and data; the dense network itself is refused as no ticket.
        source = ticket.load(run_dir.path, 0, refuse_dense=False)
        yield (
            dataclasses.replace(
                source, model=masking.strip_masks(model), name=f"{network}_{wanted:g}"
            ),
            network,
            100 * masks.density(kept),
        )


def _artifacts(source: "ticket.Ticket", options: BenchmarkOptions) -> "Iterator[command.Artifact]":
    small = compact.compact(source.model)
    folder = pathlib.Path(options.runs_dir) / "export_benchmark" / "files"
    for kind in options.formats.split(","):
        for dtype in options.dtype.split(","):
            chosen = ExportOptions(
                run="benchmark",
                format=kind,
                dtype=dtype,
                latency_seconds=options.latency_seconds,
            )
            yield command.export_one(FORMATS.get(kind), small, source, chosen, folder)


def _row(artifact: "command.Artifact", network: str, remaining: float) -> dict[str, Any]:
    size, time = artifact.size, artifact.latency
    payload = artifact.payload_bytes
    return {
        "network": network,
        "remaining": round(remaining, 2),
        "file": artifact.kind,
        "dtype": artifact.dtype,
        "bytes": size.bytes,
        "dense_bytes": size.dense_bytes,
        "ratio": round(size.ratio, 2),
        "limit": round(size.limit),
        "ratio_to_limit": round(size.ratio_to_limit, 3),
        "payload_to_limit": round(payload / size.limit, 4) if payload else None,
        "speed": round(time.speedup, 2) if time else None,
        "same_predictions": round(100 * artifact.verification.agreement, 3),
    }


def _cells(row: dict[str, Any]) -> list[str]:
    def text(name: str, form: str) -> str:
        return "-" if row[name] is None else format(row[name], form)

    return [
        row["network"],
        f"{row['remaining']:.2f}",
        row["file"],
        row["dtype"],
        f"{row['bytes']:,}",
        f"{row['ratio']:.1f}x",
        f"{row['ratio_to_limit']:.2f}",
        text("payload_to_limit", ".3f"),
        text("speed", ".2f"),
        f"{row['same_predictions']:.2f} %",
    ]


def write(rows: list[dict[str, Any]], folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes the rows as a CSV file and as a picture, and returns the two."""
    table, picture = folder / "export.csv", folder / "export.png"
    _write_csv(rows, table)
    _picture(rows).save(picture, ppi=144)
    return [table, picture]


def _picture(rows: list[dict[str, Any]]) -> Any:
    several = len({row["network"] for row in rows}) > 1
    labelled = [{**r, "of": f"{r['network']} {r['file']}" if several else r["file"]} for r in rows]
    x = alt.X(
        "remaining:Q",
        title="% of weights remaining",
        scale=alt.Scale(type="log", reverse=True, nice=False),
    )
    legend = alt.Legend(orient="bottom", symbolStrokeColor="black", symbolFillColor="none")
    ratio = alt.Y("ratio:Q", title="Times smaller than the dense file", scale=alt.Scale(type="log"))
    speed = alt.Y("speed:Q", title="Times faster than the dense file, one example")
    panels = [ratio, speed] if any(row["speed"] for row in rows) else [ratio]

    def drawn(y: Any) -> Any:
        base = alt.Chart(alt.Data(values=labelled)).encode(
            x=x, y=y, color=alt.Color("of:N", title=None, legend=alt.Legend(orient="bottom"))
        )
        # Lines coincide: dashes let the one below be seen, hollow marks say which there are.
        line = base.mark_line(strokeWidth=1.5).encode(
            strokeDash=alt.StrokeDash("dtype:N", title=None, legend=None)
        )
        marks = base.mark_point(size=70, strokeWidth=1.5, filled=False).encode(
            shape=alt.Shape("dtype:N", title=None, legend=legend)
        )
        return line + marks

    return alt.hconcat(*(drawn(y).properties(width=380, height=260) for y in panels))


if __name__ == "__main__":
    main()
