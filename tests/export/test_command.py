"""python -m export, as a user sees it."""

import json
import os
import re
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from export import command
from export.config import ExportOptions
from lth_tf.cli import program as ending


def run_main(**fields):
    return ending.run_main(lambda: command.run(ExportOptions(**fields)))


def test_a_run_end_to_end(program, lenet_run, tmp_path):
    done = program(
        "export",
        f"--run={lenet_run.path}",
        "--level=8",
        "--format=tflite,saved_model",
        f"--output_dir={tmp_path / 'out'}",
        "--latency_seconds=0.5",
        env={"COLUMNS": "160"},
    )
    assert done.code == 0, done.err
    assert done.err == ""
    assert sorted(os.listdir(tmp_path / "out")) == [
        "lenet_level_08_float32.tflite",
        "lenet_level_08_float32_saved_model",
    ]
    rows = {
        line.split()[0]: line.split()
        for line in done.out.splitlines()
        if line.startswith("lenet_level")
    }
    for name, most in (
        ("lenet_level_08_float32.tflite", 1.45),
        ("lenet_level_08_float32_saved_model", 1.5),
    ):
        _, size, dense, ratio, limit, to_limit, *_, ms, dense_ms, speed, accuracy, _ = rows[name]
        size, dense, limit = (int(text.replace(",", "")) for text in (size, dense, limit))
        assert dense > 1_060_000
        assert float(ratio.removesuffix("x")) == pytest.approx(dense / size, abs=0.06)
        assert float(to_limit) == pytest.approx(size / limit, abs=0.006)
        assert float(to_limit) < most
        assert float(ms) > 0 and float(dense_ms) > 0 and float(speed.removesuffix("x")) > 0
        assert float(accuracy) == pytest.approx(
            float(re.search(r"itself has ([\d.]+) %", done.out)[1])
        )
    assert done.out.count("100.00 % of the predictions are the model's") == 2
    assert "in ai_edge_litert, tf.lite." in done.out
    assert "saved_model: zeros make it smaller, not faster" in done.out
    lines = done.out.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("fc1/kernel"))
    assert re.search(r" tflite +[\d,]+  sparse, read directly$", lines[first])
    assert re.search(r"^ +saved_model +[\d,]+  coded, unpacked at load$", lines[first + 1])
    assert "Parameters 266,610 before, " in done.out
    assert "FLOPs of an example 532,400 before, " in done.out


def test_a_keras_file_of_the_users_own(lenet, tmp_path, capsys):
    trained = lenet(6)
    trained.model.save(tmp_path / "mine.keras")
    assert run_main(model=str(tmp_path / "mine.keras"), format="keras", dtype="int8") == 0
    assert os.listdir(tmp_path / "export") == ["mine_float32.keras"]
    out = capsys.readouterr().out
    assert "100.00 % of the predictions are the model's" in out
    assert "in keras.models.load_model." in out
    assert "Verified on 64 random inputs only" in out
    assert "neither smaller nor faster" in out


def test_json_is_all_that_is_printed(tmp_path, capsys):
    inputs = keras.Input((6,), name="a"), keras.Input((2,), name="b")
    joined = keras.layers.Concatenate()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid", name="top")(joined))
    model.get_layer("top").kernel.assign([[1.0], *[[0.0]] * 6, [-1.0]])
    model.save(tmp_path / "two.keras")
    a, b = np.eye(8, 6, dtype=np.float32), np.eye(8, 2, k=-6, dtype=np.float32)
    np.savez(tmp_path / "data.npz", a=a, b=b, y=np.array([1, 0, 0, 0, 0, 0, 0, 1]))
    fields = {"model": str(tmp_path / "two.keras"), "examples": str(tmp_path / "data.npz")}
    assert run_main(**fields, format="saved_model", json=True, latency_seconds=0.0) == 0
    report = json.loads(capsys.readouterr().out)
    (file,) = report["files"]
    assert report["score"] == file["score"] == "87.50 %"  # 0.5 counts as no: only b[1] differs
    assert report["before"] == {"parameters": 9, "flops": 16}
    assert (file["kernels"][0]["name"], file["kernels"][0]["kept"]) == ("top/kernel", 2)
    assert file["runtimes"][0] == "tf.saved_model.load"
    assert file["milliseconds"] is None and file["agreement"] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_other_values(lenet, dtype, tmp_path, capsys):
    trained = lenet(6)
    trained.model.save(tmp_path / "mine.keras")
    np.savez(tmp_path / "data.npz", x=trained.images, y=trained.labels)
    code = run_main(
        model=str(tmp_path / "mine.keras"),
        examples=str(tmp_path / "data.npz"),
        dtype=dtype,
        latency_seconds=0.2,
    )
    assert code == 0
    expected = [f"mine_{dtype}.tflite", f"mine_{dtype}_saved_model"]
    assert sorted(os.listdir(tmp_path / "export")) == expected
    assert f"{dtype} files smaller, not faster" in capsys.readouterr().out


def test_help_comes_without_tensorflow():
    code = "import runpy, sys; sys.argv = ['export', '--help']\n"
    code += "try: runpy.run_module('export', run_name='__main__')\n"
    code += "except SystemExit as end: print('code', end.code, 'tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--tolerance (in [0.0, 100.0])\n" in done.stdout
    assert "Default: the sampling error of the test data; 0 is the paper's" in done.stdout
    assert done.stdout.endswith("code 0 False\n")


def test_an_unknown_flag(program_here):
    done = program_here("export", "--formt=tflite")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: Expected a known flag. Received: --formt. Did you mean --format?\n"


def test_int8_without_representative_data(lenet, tmp_path, capsys):
    lenet(6).model.save(tmp_path / "mine.keras")
    assert run_main(model=str(tmp_path / "mine.keras"), dtype="int8") == 2
    assert "Expected --examples=FILE.npy for int8 .tflite files" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["mine.keras"]


def test_fine_tuning_without_labels(lenet, tmp_path, capsys):
    lenet(6).model.save(tmp_path / "mine.keras")
    np.save(tmp_path / "x.npy", lenet(6).images)
    fields = {"model": str(tmp_path / "mine.keras"), "examples": str(tmp_path / "x.npy")}
    assert run_main(**fields, cluster=16) == 2
    assert "inputs x and labels y for --cluster" in capsys.readouterr().err


def test_a_dead_network_leaves_nothing_behind(lenet, tmp_path, capsys):
    model = lenet(6).model
    model.get_layer("fc2").kernel.assign(np.zeros((300, 100)))
    model.save(tmp_path / "dead.keras")
    assert run_main(model=str(tmp_path / "dead.keras")) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1
    assert os.listdir(tmp_path) == ["dead.keras"]


def test_an_output_folder_that_is_a_file(lenet, tmp_path, capsys):
    lenet(6).model.save(tmp_path / "mine.keras")
    fields = {"model": str(tmp_path / "mine.keras"), "output_dir": str(tmp_path / "mine.keras")}
    assert run_main(**fields, format="saved_model") == 2
    assert "folder that can be written to" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["mine.keras"]


def test_a_file_that_fails_verification_leaves_nothing_behind(lenet, tmp_path, capsys, monkeypatch):
    trained = lenet(6)
    trained.model.save(tmp_path / "mine.keras")
    other = lenet(2).model
    monkeypatch.setattr(command, "compact", lambda model: other)
    code = run_main(model=str(tmp_path / "mine.keras"), format="tflite")
    assert code == 1
    assert "failed verification: " in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["mine.keras"]


def test_functions_of_the_package():
    import export

    for name in ("strip", "compact", "verify", "latency", "to_tflite", "to_saved_model"):
        assert callable(getattr(export, name)), name


@pytest.mark.slow
def test_a_program_that_is_stopped_leaves_nothing_behind(lenet_run, tmp_path):
    arguments = [f"--run={lenet_run.path}", "--level=8", f"--output_dir={tmp_path / 'new' / 'out'}"]
    with subprocess.Popen([sys.executable, "-m", "export", *arguments]) as child:
        while not list(tmp_path.rglob("*.tflite")):
            assert child.poll() is None
            time.sleep(0.01)
        child.terminate()
    assert child.returncode == 143
    assert os.listdir(tmp_path) == []
