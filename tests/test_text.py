import numpy as np

from experiments.text import examples
from lth_tf.datasets.manual import ALPHABET, encode
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage


def test_characters_as_numbers():
    assert encode("ab a").tolist() == [3, 4, 1, 3]
    assert encode("Ab\u20ac").tolist() == [3, 4, 0]
    assert len(set(ALPHABET)) == len(ALPHABET) == 70


def test_examples_are_text_and_what_follows():
    splits = examples(window=16)
    for inputs, following in splits:
        assert inputs.shape == following.shape and inputs.shape[1] == 16
        np.testing.assert_array_equal(inputs[:, 1:], following[:, :-1])
        np.testing.assert_array_equal(inputs[1:, 0], following[:-1, -1])
    train, validation, test = (len(inputs) for inputs, _ in splits)
    assert train > 3 * validation > 0 and test > 0
    assert (splits[0][0] == 0).mean() < 0.01


def test_program(program, program_here, tmp_path):
    command = ("experiments.text", "--topics=10", "--units=8", "--levels=1", "--rewind_epoch=0")
    done = program(*command, "--epochs_per_level=1")
    assert done.code == 0, done.err
    run_dir = RunDir(
        tmp_path / "runs/text/epochs_per_level=1,rewind_epoch=0,topics=10,units=8/seed_0"
    )
    assert run_dir.finished() == [Stage(0), Stage(1)]
    kept = {path: int(mask.sum()) for path, mask in run_dir.mask(Stage(1)).items()}
    assert kept == {
        "embedding/embeddings": 1590,  # 71 * 32 * 0.7
        "lstm/lstm_cell/kernel": 717,  # 32 * 32 * 0.7
        "lstm/lstm_cell/recurrent_kernel": 179,  # 8 * 32 * 0.7
        "output/kernel": 483,  # 8 * 71 * 0.85
    }
    assert "embedding/embeddings" in done.out and "experiments.report" in done.out
    wrong = program_here(*command, "--prune_rate=1.5")
    assert wrong.code == 2 and wrong.err.count("\n") == 1
