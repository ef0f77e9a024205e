"""Masks under another backend of Keras, in a process of its own."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

PROGRAM = """
import keras, numpy as np
from keras import layers as L
from lth_tf.masking import checks, groups, model as m

assert keras.backend.backend() == "jax"
random = np.random.default_rng(0)
x = random.random((32, 6, 4)).astype("float32")
y = np.ones((32, 2))
for optimizer in ("adam", keras.optimizers.SGD(0.1, momentum=0.9), keras.optimizers.Muon(0.01)):
    model = keras.Sequential([
        keras.Input((6, 4)), L.Conv1D(5, 2, name="c", kernel_regularizer="l2"),
        L.LSTM(3, name="l"), L.Dense(2, name="o"),
    ])
    m.mask_model(model)
    model.compile(optimizer, "mse")
    model.fit(x, y, verbose=0)
    masks = {k: (random.random(v.shape) < 0.5).astype("u1") for k, v in m.get_masks(model).items()}
    for now in (masks, {path: 1 - mask for path, mask in masks.items()}):
        m.set_masks(model, now)
        shapes = {path: weight.shape for path, weight in m.get_weights(model).items()}
        m.set_weights(model, {path: random.normal(0, 1, shape) for path, shape in shapes.items()})
        before = m.get_weights(model)
        model.fit(x, y, epochs=2, verbose=0)
        after = m.get_weights(model)
        for path, mask in now.items():
            assert (after[path][mask == 0] == 0).all()
            assert (after[path] != before[path])[mask == 1].all()
        assert checks.pruned_not_zero(model) == {}
        assert checks.unmasked_reads(model, x[:4]) == []
    model.save("m.keras")
    loaded = m.load_model("m.keras")
    np.testing.assert_array_equal(np.array(loaded(x)), np.array(model(x)))
    np.testing.assert_allclose(model.predict(x, verbose=0), np.array(model(x)), rtol=1e-5)
print(groups.weight_groups(model))
before = np.array(model(x))
np.testing.assert_array_equal(np.array(m.strip_masks(model)(x)), before)
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax (the test extra)")
def test_jax(tmp_path):
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": "", "PYTHONPATH": str(root)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == (
        "{'c/kernel': 'conv', 'l/lstm_cell/kernel': 'fc', "
        "'l/lstm_cell/recurrent_kernel': 'fc', 'o/kernel': 'output'}"
    )


def test_masking_imports_no_tensorflow():
    folder = pathlib.Path(__file__).parents[2] / "lth_tf" / "masking"
    for path in folder.glob("*.py"):
        for line in path.read_text().splitlines():
            assert not line.startswith(("import tensorflow", "from tensorflow")), path
