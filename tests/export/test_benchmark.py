"""The program that measures exports, with everything small."""

import csv


def test_benchmark(program, tmp_path):
    done = program(
        "export.benchmark",
        "--iterations=60",
        "--remaining=5.6",
        "--values=float32",
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
    wrong = program("export.benchmark", "--remaining=0")
    assert wrong.code == 2 and wrong.err.count("\n") == 1
