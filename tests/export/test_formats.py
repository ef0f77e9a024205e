"""Formats as objects: the recipe for a new one, really dropped in, and what each one promises."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from export.formats import FORMATS, format_of
from export.signature import predict, signature_of
from lth_tf.errors import RunError
from lth_tf.lazy import MissingPackage

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((12,)), keras.layers.Dense(90), keras.layers.Dense(3)])
    kernel = model.layers[0].kernel
    kernel.assign(np.where(np.arange(12 * 90).reshape(12, 90) % 9, 0, kernel))
    return model


def test_a_new_format_is_one_new_file(model, tmp_path):
    text = (ROOT / "WORKSPACE.md").read_text()
    recipe = re.search(r"### Add an export format.*?```python\n(.*?)```", text, re.DOTALL)[1]
    for package in ("lth_tf", "export"):
        shutil.copytree(ROOT / package, tmp_path / "copy" / package)
    (tmp_path / "copy" / "export" / "formats" / "zipped.py").write_text(recipe)
    model.save(tmp_path / "mine.keras")
    done = subprocess.run(
        [sys.executable, "-m", "export", "--model=mine.keras", "--format=keras_gz,keras"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "copy")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    zipped, plain = (
        tmp_path / "export" / f"mine_float32{suffix}" for suffix in (".keras.gz", ".keras")
    )
    assert zipped.stat().st_size < plain.stat().st_size
    assert "in keras.models.load_model of the unzipped file." in done.stdout
    assert "keras_gz: smaller, not faster." in done.stdout


@pytest.mark.filterwarnings("ignore")  # what interpreters say of themselves
@pytest.mark.parametrize("name", FORMATS.names())
def test_what_every_format_does(name, model, tmp_path):
    from export.formats import WriteOptions

    form, signature = FORMATS.get(name), signature_of(model)
    try:
        form.check_installed()
    except MissingPackage as missing:
        pytest.skip(str(missing))
    assert form.name == name
    path, dense = tmp_path / f"ticket{form.suffix}", tmp_path / f"dense{form.suffix}"
    stored = form.write(model, path, signature, WriteOptions())
    assert [kernel.nonzeros for kernel in stored] == [120, 270]
    form.write_dense(model, dense, signature, WriteOptions())
    assert format_of(path) is format_of(dense) is form
    inputs = {"inputs": np.random.default_rng(0).random((5, 12), np.float32)}
    expected = predict(signature, model, inputs)["outputs"]
    for file in (path, dense):
        np.testing.assert_allclose(form.load(file)(inputs)["outputs"], expected, atol=1e-5)
    assert all(isinstance(line, str) for line in form.speed_caveats(model, "float32"))


@pytest.mark.filterwarnings("ignore")  # of what tf2onnx uses
def test_onnx_files_keep_names_and_say_what_they_cannot_hold(tmp_path):
    from export.formats import WriteOptions

    form = FORMATS.get("onnx")
    for package in form.packages:
        pytest.importorskip(package)
    a, b = keras.Input((8,), name="a"), keras.Input((6,), name="b")
    hidden = keras.layers.Dense(16, "relu")(keras.layers.Concatenate()([a, b]))
    model = keras.Model({"a": a, "b": b}, {"cls": keras.layers.Dense(4)(hidden), "box": 2 * hidden})
    signature, path = signature_of(model), tmp_path / "a.onnx"
    form.write(model, path, signature, WriteOptions())
    rng = np.random.default_rng(0)
    inputs = {"a": rng.random((5, 8), np.float32), "b": rng.random((5, 6), np.float32)}
    found = form.load(path)(inputs)
    for name, wanted in predict(signature, model, inputs).items():
        np.testing.assert_allclose(found[name], wanted, atol=1e-6)
    words = keras.Sequential(
        [
            keras.Input((1,), dtype="string"),
            keras.layers.StringLookup(vocabulary=["a", "b"], output_mode="multi_hot"),
            keras.layers.Dense(3),
        ]
    )
    with pytest.raises(RunError, match="no operators for .*SavedModel, which takes") as caught:
        form.write(words, tmp_path / "b.onnx", signature_of(words), WriteOptions())
    assert "\n" not in str(caught.value)


def test_the_program_that_runs_files_knows_no_masks():
    code = "import sys, export.runtimes; from export.formats import FORMATS; FORMATS.names()\n"
    code += "assert not {'keras', 'tensorflow', 'lth_tf.masking'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
