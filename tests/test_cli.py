import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from experiments import tensorboard
from lth_tf.config import METHODS, NETWORKS
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage

ROOT = pathlib.Path(__file__).parents[1]
QUICK = (
    "--dataset=digits",
    "--iterations=40",
    "--eval_interval=20",
    "--test_interval=20",
    "--levels=1",
)
NAME = "dataset=digits,eval_interval=20,iterations=40,test_interval=20"


@pytest.mark.parametrize(
    "module, flags, code, message",
    [
        ("lenet", ["--lvels=3"], 2, "Received: --lvels. Did you mean --levels?"),
        ("lenet", ["--zzz"], 2, "Received: --zzz. --help lists the flags."),
        ("lenet", ["levels=3"], 2, "Expected flags (--name=value). Received: 'levels=3'."),
        (
            "lenet",
            ["--levels=many"],
            2,
            "Expected levels to be a whole number. Received: levels='many'.",
        ),
        (
            "lenet",
            ["--augment=perhaps"],
            2,
            "Expected augment to be true or false. Received: augment='perhaps'.",
        ),
        ("lenet", ["--learning_rate=x"], 2, "Expected learning_rate to be a number. Received:"),
        ("lenet", ["--learning_rate=inf"], 2, "Received: learning_rate=inf."),
        ("lenet", ["--iterations=3000000000"], 2, "at least 1 and at most 2147483647. Received"),
        ("lenet", ["--seed=99999999999999999999"], 2, "at most 2147483647. Received: seed=9999"),
        ("lenet", ["--seed=2147483647", "--replicates=2"], 2, "Expected seeds up to 2147483647."),
        ("lenet", ["--lr_drops=20,10"], 2, "Received: lr_drops=20,10."),
        (
            "lenet",
            ["--prune_begin=0.5"],
            2,
            "Expected flags of --method=imp. Received: --prune_begin, which is one of "
            "--method=gradual.",
        ),
        ("lenet", ["--runs_dir="], 2, "Received: runs_dir=''."),
        ("lenet", ["--momentum=0.5"], 2, "Received: momentum=0.5, optimizer=adam."),
        ("lenet", ["--criterion=nonesuch"], 2, "Received: criterion='nonesuch'."),
        ("lenet", ["--dataset=cifar_10"], 2, "Did you mean cifar10?"),
        ("lenet", [*QUICK, "--batch_size=1238"], 2, "Expected batch_size of at most the 1,237"),
        ("report", ["--densities=50,101", "."], 2, "Received: densities=50,101."),
        ("tune", ["--search=prune_rate", "--dataset=mnist"], 2, "Received: prune_rate."),
        ("lenet", ["--prune_rate_fc=1"], 2, "prune_rate_fc to be a number in [0.0, 1.0). Received"),
        ("lenet", ["--prune_rate_fc=-0.5"], 2, "Received: prune_rate_fc=-0.5."),
        ("lenet", ["--jobs=0"], 2, "Expected jobs to be a whole number at least 1."),
        ("lenet", ["--lr_drops=10,x"], 2, "Received: lr_drops='10,x'."),
        ("lenet", ["--dataset=nonesuch"], 2, "Received: dataset='nonesuch'"),
        (
            "lenet",
            ["--network=alexnet"],
            2,
            f"{', '.join(NETWORKS.names())}. Received",
        ),
        (
            "lenet",
            [*QUICK, "--method=snip"],
            2,
            f"out of {', '.join(METHODS.names())}. Received: method='snip'.",
        ),
        ("lenet", [*QUICK, "--levels=99", "--prune_rate_fc=0.9"], 2, "would prune the last weight"),
        ("lenet", [*QUICK, "--validation_size=5000"], 2, "below the 1437 training examples"),
        (
            "lenet",
            [*QUICK, "--learning_rate=1e30", "--optimizer=sgd"],
            1,
            "not finite at iteration",
        ),
        ("lenet", [*QUICK, "--dropout_rate=0.5"], 2, "the network 'lenet' has no dropout"),
        ("vgg19", ["--preset=warmpu"], 2, "--preset=warmpu"),
        ("report", [], 2, "Expected at least one RUN_DIR."),
        ("report", ["nowhere"], 2, "Received: nowhere, which does not exist."),
    ],
)
def test_mistake_is_one_line_on_stderr(program_here, module, flags, code, message):
    done = program_here(f"experiments.{module}", *flags)
    assert done.code == code
    assert message in done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1


def test_run_prints_a_table_and_the_next_steps(program, program_here, tmp_path):
    done = program("experiments.lenet", *QUICK)
    assert (done.code, done.out.count("Traceback")) == (0, 0)
    # The estimate is the only thing a pipe sees on stderr.
    assert re.fullmatch(r"About .* for 2 trainings at .*\n", done.err)
    lines = done.out.splitlines()
    run_dir = f"runs/lenet/{NAME}/seed_0"
    assert lines[0] == "lenet on digits, 266,200 weights"
    assert lines[1] == "1,237 training, 200 validation and 360 test examples"
    assert lines[3] == f"Results in {run_dir}"
    assert lines[5].split() == (
        "level control % remaining early stop accuracy there final accuracy seconds".split()
    )
    assert [line.split()[:2] for line in lines[6:8]] == [["0", "100.00"], ["1", "80.04"]]
    assert lines[-1].startswith("Figures:   ")
    assert lines[-1].endswith(f"python -m experiments.report {run_dir}")
    assert "winning ticket" in lines[-2] or f"-m export --run={run_dir} --level=1" in lines[-2]
    assert RunDir(tmp_path / run_dir).finished() == [Stage(0), Stage(1)]
    about = json.loads((tmp_path / run_dir / "config.json").read_text())
    assert about["threads"] == len(os.sched_getaffinity(0))
    assert re.fullmatch("[0-9a-f]{8}", about["data"].pop("checksum"))
    assert about["data"] == {
        "image_shape": [28, 28, 1],
        "classes": 10,
        "divisor": 255.0,
        "data_dir": "",
    }

    again = program_here("experiments.lenet", *QUICK)
    told = ["All of it was done before: nothing was trained.", ""]
    assert again.out.splitlines()[6:] == [*lines[6:9], *told, *lines[9:]]

    other = program_here("experiments.lenet", *QUICK, "--overwrite", "--levels=0")
    assert other.code == 0
    assert RunDir(tmp_path / run_dir).finished() == [Stage(0)]


def test_nothing_is_overwritten_by_a_run_that_is_refused(program_here, tmp_path):
    flags = [*QUICK, "--prune_rate_fc=0.9"]
    assert program_here("experiments.lenet", *flags).code == 0
    refused = program_here("experiments.lenet", *flags, "--overwrite", "--levels=99")
    assert refused.code == 2
    assert "would prune the last weight" in refused.err
    (config,) = tmp_path.rglob("config.json")
    assert RunDir(config.parent).finished() == [Stage(0), Stage(1)]


def test_changed_config_file_is_refused(program_here, tmp_path):
    assert program_here("experiments.lenet", *QUICK).code == 0
    file = tmp_path / f"runs/lenet/{NAME}/seed_0/config.json"
    file.write_text(file.read_text().replace('"batch_size": 60', '"batch_size": 61'))
    done = program_here("experiments.lenet", *QUICK)
    assert done.code == 2
    assert "the file has batch_size=61, not 60. Use another folder, or delete it" in done.err
    assert done.err.endswith("See --runs_dir, --overwrite.\n")


def test_unwritable_folder(program_here, tmp_path):
    (tmp_path / "runs").write_text("a file where the folder should be")
    done = program_here("experiments.lenet", *QUICK)
    assert done.code == 2
    assert "Expected a folder that can be written to. Received: runs" in done.err


def test_trials_side_by_side_are_those_one_after_another(program, tmp_path, monkeypatch):
    # On one thread and on two, which are the same bits in programs as users compile them.
    monkeypatch.setenv("XLA_FLAGS", "")
    together = program("experiments.lenet", *QUICK, "--replicates=2", "--jobs=2", "--runs_dir=a")
    assert together.code == 0, together.err
    assert "seed 0 | " in together.out and "seed 1 | " in together.out
    assert "2 replicates done in" in together.out
    apart = program("experiments.lenet", *QUICK, "--replicates=2", "--runs_dir=b")
    assert apart.code == 0
    for seed in (0, 1):
        one, other = (RunDir(tmp_path / f"{runs}/lenet/{NAME}/seed_{seed}") for runs in ("a", "b"))
        for stage in (Stage(0), Stage(1)):
            for path, value in one.trained(stage).items():
                assert (value == other.trained(stage)[path]).all()


def test_failing_trial_is_told_of(program):
    flags = [*QUICK, "--replicates=2", "--jobs=2", "--learning_rate=1e30", "--optimizer=sgd"]
    done = program("experiments.lenet", *flags)
    assert done.code == 1
    assert done.out.count("error: The loss is not finite") == 2
    assert done.err == "error: 2 of 2 replicates failed; their errors are above.\n"


def test_dry_run_prints_the_plan_and_trains_nothing(program_here, tmp_path):
    done = program_here("experiments.lenet", *QUICK, "--levels=2", "--reinits=3", "--dry_run")
    lines = done.out.splitlines()
    assert [line.split()[1:3] for line in lines[:3]] == [
        ["0", "100.00"],
        ["1", "80.04"],
        ["2", "64.06"],
    ]
    assert "1 replicate of 12 trainings of 40 iterations: 480 in all; 14 MB on disk." in done.out
    assert not list(tmp_path.rglob("config.json"))


def test_preset_and_flags_after_it(program_here):
    done = program_here(
        "experiments.vgg19", "--preset=warmup", "--levels=0", "--dry_run", *QUICK[:2]
    )
    assert "warmup_iterations=10000" in done.out
    assert "levels" not in done.out.splitlines()[-1]


@pytest.mark.parametrize(("found", "said"), [(None, "pip install tensorboard"), ("spec", "")])
def test_tensorboard_that_is_missing_is_said(found, said, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found)
    line = tensorboard.how_to_look(pathlib.Path("runs/x/tensorboard"))
    assert line.endswith("tensorboard --logdir=runs/x/tensorboard") and "\n" not in line
    assert ("pip install" in line) == bool(said)


def test_tensorboard_events(program_here, tmp_path):
    done = program_here("experiments.lenet", *QUICK, "--levels=0", "--tensorboard")
    assert done.code == 0, done.err
    (line,) = re.findall(r"^To look at the events: .*$", done.out, re.MULTILINE)
    assert re.search(r"tensorboard --logdir=runs/lenet/\S+/seed_0/tensorboard$", line)
    assert done.out.index(line) < done.out.index("early stop")
    (events,) = tmp_path.rglob("events.out.tfevents*")
    assert events.parent.parts[-2:] == ("tensorboard", "level_00")
    from tensorflow.compat.v1.train import summary_iterator

    tags = {v.tag for event in summary_iterator(str(events)) for v in event.summary.value}
    assert tags == {
        "density",
        "train_loss",
        "validation_loss",
        "validation_accuracy",
        "test_accuracy",
    }


@pytest.mark.parametrize(
    "module", ["lenet", "conv2", "conv4", "conv6", "resnet18", "vgg19", "report"]
)
def test_help_needs_no_tensorflow(module):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['{module}', '--help']\n"
        "try:\n"
        f"    runpy.run_module('experiments.{module}', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "--seed" in done.stdout or "--output_dir" in done.stdout
    assert f"python -m experiments.{module}" in done.stdout


def test_importing_the_library_needs_no_tensorflow():
    code = "import lth_tf, export, sys; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_reader_that_has_seen_enough_is_no_error():
    code = (
        "import sys; from lth_tf.cli.program import run_main;"
        "sys.exit(run_main(lambda: print('x' * 9)))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    child.stdout.close()
    assert child.stderr.read() == ""
    child.stderr.close()
    assert child.wait() == 1
