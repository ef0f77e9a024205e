"""verify: stock runtimes in processes of their own, and what they say of bad files."""

import contextlib
import os

import numpy as np
import pytest

from export.saved_model.write import to_saved_model
from export.tflite.convert import to_tflite
from export.verification import RUNTIMES_PROGRAM, verify
from lth_tf.cli.process import ProgramError, run_program
from lth_tf.errors import RunError, UsageError


def test_a_saved_model_in_all_three_loaders(lenet, tmp_path):
    trained = lenet(6)
    path = to_saved_model(trained.model, tmp_path / "ticket")
    report = verify(path, trained.model, trained.images[:100])
    assert [check.runtime for check in report.checks] == [
        "tf.saved_model.load",
        "tf.compat.v1.saved_model.load",
        "keras.layers.TFSMLayer",
    ]
    assert {check.examples for check in report.checks} == {100}
    assert report.agreement == 1.0
    assert report.max_difference < 1e-5
    assert report.outputs.shape == (100, 10)


def test_a_file_of_another_model_is_left_as_it_is(lenet, tmp_path):
    path = to_tflite(lenet(2).model, tmp_path / "ticket.tflite")
    content = path.read_bytes()
    trained = lenet(7)
    with pytest.raises(
        RunError, match=r"ticket\.tflite failed verification: in ai_edge_litert.*differ"
    ):
        verify(path, trained.model, trained.images)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["ticket.tflite"]


@pytest.mark.parametrize("wrong", ["dtype forgotten", "float64 examples", "another shape"])
def test_a_wrong_call_leaves_the_file(lenet, wrong, tmp_path):
    trained = lenet(2)
    path = to_tflite(trained.model, tmp_path / "ticket.tflite", dtype="float16")
    content = path.read_bytes()
    examples = trained.images[:8]
    if wrong == "float64 examples":
        examples = examples.astype(np.float64)
    if wrong == "another shape":
        examples = examples[:, :14]
    with contextlib.suppress(RunError, UsageError, ValueError):
        verify(path, trained.model, examples, dtype="float32" if "dtype" in wrong else "float16")
    assert path.read_bytes() == content


@pytest.mark.slow
def test_a_truncated_saved_model(lenet, tmp_path):
    trained = lenet(2)
    path = to_saved_model(trained.model, tmp_path / "ticket")
    content = (path / "saved_model.pb").read_bytes()
    (path / "saved_model.pb").write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError, match=r"tf\.saved_model\.load does not run it: .*Error"):
        verify(path, trained.model, trained.images[:8])
    assert path.exists()


def test_outputs_that_are_not_finite(lenet, tmp_path):
    trained = lenet(2)
    broken = lenet(2).model
    broken.layers[-1].bias.assign(np.full(10, np.nan))
    path = to_tflite(broken, tmp_path / "ticket.tflite")
    with pytest.raises(RunError, match=r"100\.00% of its outputs are NaN or infinite"):
        verify(path, trained.model, trained.images[:8])
    assert path.exists()


@pytest.mark.parametrize(
    "share",
    [pytest.param(0.9, marks=pytest.mark.slow), 0.5, pytest.param(0.0, marks=pytest.mark.slow)],
)
def test_a_truncated_tflite_file(lenet, share, tmp_path):
    path = to_tflite(lenet(2).model, tmp_path / "ticket.tflite")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(RunError, match="ai_edge_litert does not run it: "):
        verify(path, lenet(2).model, lenet(2).images[:8])
    assert path.exists()


def test_no_examples(lenet, tmp_path):
    path = tmp_path / "ticket.tflite"
    path.write_bytes(b"")
    with pytest.raises(UsageError, match="at least one example"):
        verify(path, lenet(2).model, lenet(2).images[:0])
    assert path.exists()


@pytest.mark.parametrize("name", ["missing.tflite", "file.txt", "folder"])
def test_what_is_no_exported_file(lenet, name, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.txt").write_bytes(b"")
    with pytest.raises(UsageError, match=f"formats keras, onnx, saved_model, tflite.*{name}"):
        verify(tmp_path / name, lenet(2).model, lenet(2).images[:8])


def test_a_program_that_fails_says_why():
    with pytest.raises(ProgramError, match="JSONDecodeError"):
        run_program(RUNTIMES_PROGRAM, "no such command", __file__)
