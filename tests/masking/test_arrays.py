import numpy as np
import pytest

from lth_tf.errors import UsageError
from lth_tf.masking import arrays as m

MASKS = {
    "fc1/kernel": np.array([[1, 0, 1], [0, 0, 1]], np.uint8),
    "fc2/kernel": np.array([1, 1], np.uint8),
}


def test_counts():
    assert (m.remaining(MASKS), m.total(MASKS), m.density(MASKS)) == (5, 8, 0.625)


def test_file_round_trip_is_one_bit_a_weight(tmp_path):
    m.save(tmp_path / "mask.npz", MASKS)
    loaded = m.load(tmp_path / "mask.npz")
    assert list(loaded) == list(MASKS)
    for path in MASKS:
        np.testing.assert_array_equal(loaded[path], MASKS[path])
        assert loaded[path].dtype == np.uint8
    assert m.pack({"w": np.ones((100, 10), np.uint8)})["w"].nbytes == 125


def test_truncated_file_is_refused(tmp_path):
    file = tmp_path / "mask.npz"
    m.save(file, MASKS)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(UsageError, match=f"Expected a mask file. Received: {file}"):
        m.load(file)


def test_a_file_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(UsageError, match="an array 'weights' that is not one"):
        m.load(tmp_path / "other.npz")


def test_pickles_are_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.savez(tmp_path / "trap.npz", w=np.array([Trap()], dtype=object))
    with pytest.raises(UsageError):
        m.load(tmp_path / "trap.npz")
    assert not (tmp_path / "sprung").exists()


def test_other_weights_are_refused():
    with pytest.raises(ValueError, match="Expected a value for 'fc2/kernel'"):
        m.check_same_weights(MASKS, {"fc1/kernel": MASKS["fc1/kernel"]})
    with pytest.raises(ValueError, match=r"Expected shape \(2,\) for 'fc2/kernel'"):
        m.check_same_weights(MASKS, {**MASKS, "fc2/kernel": np.ones(3, np.uint8)})
