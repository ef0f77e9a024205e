"""The ImageNet protocol as a program, on a folder of made images."""

import json

import numpy as np
import pytest
import tensorflow as tf

from experiments import resnet50
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage

FLAGS = [
    "--dataset=folder", "--iterations=3", "--batch_size=2", "--validation_size=2", "--levels=1",
    "--eval_interval=3", "--rewind_iteration=1", "--warmup_iterations=1", "--lr_drops=2",
]  # fmt: skip


def test_the_protocol():
    epoch = 1_246
    assert epoch * 1_024 == pytest.approx(1_281_167 - 5_000, rel=1e-3)
    config = resnet50.CONFIG
    assert config.iterations == 90 * epoch and config.method.rewind_iteration == 5 * epoch
    assert config.lr_drops == (30 * epoch, 60 * epoch, 80 * epoch)
    assert config.warmup_iterations == 5 * epoch and config.method.label() == "one-shot"


@pytest.mark.slow
def test_the_program_on_a_folder_of_images(program, tmp_path):
    random = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 2)):
        for name in ("cat", "dog"):
            (tmp_path / "images" / part / name).mkdir(parents=True)
            for number in range(count):
                image = random.integers(0, 256, (240 + 10 * number, 300, 3), np.uint8)
                path = tmp_path / "images" / part / name / f"{number}.jpg"
                path.write_bytes(tf.io.encode_jpeg(image).numpy())
    flags = [*FLAGS, f"--data_dir={tmp_path / 'images'}", f"--runs_dir={tmp_path / 'runs'}"]
    done = program("experiments.resnet50", *flags)
    assert done.code == 0, done.err
    (run_dir,) = (tmp_path / "runs" / "resnet50").glob("*/seed_0")
    run = RunDir(run_dir)
    summary = run.summary(Stage(1))
    conv, shortcuts, output = 20_686_016, 2_768_896, 2 * 2_048
    assert summary["remaining"] == conv - round(0.2 * conv) + shortcuts + output
    assert json.loads((run_dir / "config.json").read_text())["data"]["input"] == "stream"
    assert "All of it was done before" in program("experiments.resnet50", *flags).out
