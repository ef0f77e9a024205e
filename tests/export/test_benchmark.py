"""The program that measures exports, with everything small."""

import csv

import keras
import pytest

from export import channel_benchmark
from export.channel_benchmark import ChannelBenchmarkOptions


def test_benchmark(program, program_here, tmp_path):
    done = program(
        "export.benchmark",
        "--iterations=60",
        "--remaining=5.6",
        "--dtype=float32",
        "--latency_seconds=0.2",
    )
    assert done.code == 0, done.err
    folder = tmp_path / "runs" / "export_benchmark"
    rows = list(csv.DictReader((folder / "export.csv").read_text().splitlines()))
    assert [(row["file"], row["remaining"]) for row in rows] == [
        ("tflite", "5.57"),
        ("saved_model", "5.57"),
    ]
    assert all(float(row["same_predictions"]) == 100 for row in rows)
    assert 1.0 < float(rows[0]["ratio_to_limit"]) < 1.4
    assert float(rows[1]["payload_to_limit"]) < 1.02
    assert (folder / "export.png").read_bytes().startswith(b"\x89PNG")
    wrong = program_here("export.benchmark", "--remaining=0")
    assert wrong.code == 2 and wrong.err.count("\n") == 1


@pytest.mark.slow
def test_models_that_people_deploy(program, program_here, tmp_path):
    done = program(
        "export.benchmark",
        "--models=autoencoder",
        "--remaining=5",
        "--dtype=float32",
        "--latency_seconds=0.2",
    )
    assert done.code == 0, done.err
    file = tmp_path / "runs" / "export_benchmark" / "models.csv"
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [(row["model"], row["file"], row["remark"]) for row in rows] == [
        ("autoencoder", "tflite", ""),
        ("autoencoder", "saved_model", ""),
    ]
    for row in rows:
        assert 1 < float(row["ratio_to_limit"]) < 4
        assert int(row["gzip_bytes"]) < int(row["dense_gzip_bytes"]) or row["file"] == "tflite"
        assert int(row["dense_bytes"]) > 4 * int(row["bytes"])
        assert float(row["difference"]) < 1e-4
        for name in ("speed_1", "speed_8", "load_seconds", "dense_load_megabytes"):
            assert float(row[name]) > 0
    wrong = program_here("export.benchmark", "--models=lenet5")
    assert wrong.code == 2 and "autoencoder" in wrong.err and wrong.err.count("\n") == 1


def test_what_removed_channels_save(monkeypatch):
    def network():
        keras.utils.set_random_seed(0)
        stack = [keras.layers.Conv2D(8, 3, activation="relu"), keras.layers.Flatten()]
        return keras.Sequential([keras.Input((6, 6, 2)), *stack, keras.layers.Dense(3)])

    monkeypatch.setitem(channel_benchmark.NETWORKS, "small", network)
    options = ChannelBenchmarkOptions(pruned=(50.0,), dtype="float32", latency_seconds=0.0)
    (row,) = channel_benchmark.measured("small", options)
    assert row["dense_parameters"] == 8 * (9 * 2 + 1) + 3 * (16 * 8 + 1)
    assert row["parameters"] == 4 * (9 * 2 + 1) + 3 * (16 * 4 + 1)
    assert row["dense_multiply_adds"] == 16 * 9 * 2 * 8 + 16 * 8 * 3
    assert row["multiply_adds"] == 16 * 9 * 2 * 4 + 16 * 4 * 3
    assert row["bytes"] < row["dense_bytes"] and row["difference"] < 1e-5
