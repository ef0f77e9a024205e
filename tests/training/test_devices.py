import pytest
import tensorflow as tf

import lth_tf
from lth_tf.tickets import find
from lth_tf.training import devices
from tests.conftest import TINY


@pytest.fixture
def calls(monkeypatch):
    """What is asked of TensorFlow, which is told of the GPUs in the list."""
    made = []
    config = tf.config.experimental
    monkeypatch.setattr(config, "set_memory_growth", lambda device, on: made.append((device, on)))
    monkeypatch.setattr(config, "enable_op_determinism", lambda: made.append("deterministic"))
    return made


@pytest.mark.parametrize(
    ("gpus", "deterministic", "expected"),
    [
        ([], True, []),
        (["GPU:0", "GPU:1"], True, [("GPU:0", True), ("GPU:1", True), "deterministic"]),
        (["GPU:0"], False, [("GPU:0", True)]),
    ],
)
def test_configure(monkeypatch, calls, gpus, deterministic, expected):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    devices.configure(deterministic)
    assert calls == expected


def test_a_run_from_a_notebook_configures_them_too(monkeypatch, calls, digits, tmp_path):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    monkeypatch.setattr(find, "new_model", lambda *_: pytest.exit)
    with pytest.raises(AttributeError):
        lth_tf.find_tickets(TINY, digits, tmp_path / "run", deterministic=False)
    assert calls == [("GPU:0", True)]


def test_devices_in_use_are_left(monkeypatch, calls):
    def refuse(device, on):
        raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", refuse)
    devices.configure()
    assert calls == ["deterministic"]
