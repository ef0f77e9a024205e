"""What is TensorFlow's says so in one line under another Keras backend."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

USES = {
    "lth_tf.training": "import lth_tf.training.trainer",
    "lth_tf.datasets.load": (
        "from lth_tf import datasets; datasets.load('digits', image_shape=(8, 8, 1))"
    ),
}


@pytest.mark.parametrize("what", USES)
def test_another_backend_is_refused(what):
    # numpy's backend needs nothing installed.
    code = f"""
from lth_tf.errors import UsageError
try:
    {USES[what]}
except UsageError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": "numpy", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (
        f"Expected Keras on TensorFlow: {what} is made for it. Received: backend='numpy'. "
        "Set KERAS_BACKEND=tensorflow, or use lth_tf.TicketCallback in model.fit.\n"
    )
