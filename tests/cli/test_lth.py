import re
import subprocess
import sys

import pytest

from lth_tf.cli import lth, program
from lth_tf.errors import UsageError

LISTED = ["benchmark", "conv6", "export", "export.benchmark", "lenet", "report", "tune", "vgg19"]


def test_programs_have_names_modules_and_a_line_each():
    known = lth.programs()
    assert set(LISTED) <= set(known) and list(known) == sorted(known)
    assert known["conv6"].summary.startswith("Conv-6 on CIFAR-10, iterative pruning")
    assert known["export"].module.endswith("export")
    assert known["export.benchmark"].module.endswith("export.benchmark")
    assert all(each.summary and not each.summary.endswith(",") for each in known.values())


def test_what_programs_start_is_not_listed():
    assert not {name for name in lth.programs() if re.search("twin|runtimes|tfmot|figures", name)}


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_list_fits_the_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = lth.listing().splitlines()
    assert max(map(len, lines[6:])) <= min(columns, 100)
    assert all(any(line.startswith(f"  {name} ") for line in lines) for name in LISTED)


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "lth_tf", *arguments], capture_output=True, text=True
    )


@pytest.mark.parametrize("arguments", [[], ["--help"], ["help"]])
def test_alone_it_lists_the_programs(arguments):
    assert run(*arguments).stdout.splitlines() == lth.listing().splitlines()


def test_the_list_needs_no_tensorflow():
    code = (
        "import sys\nfrom lth_tf.cli import lth\nlth.listing()\n"
        "assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_version():
    assert run("--version").stdout == "lth_tf 0.1.0\n"
    assert run("lenet", "--version").stdout == "lth_tf 0.1.0\n"


def test_an_unknown_program_is_one_line_with_a_suggestion():
    done = run("conv5", "--levels=2")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"error: Expected a program. Received: 'conv5'. Did you mean conv\d\?\n", done.stderr
    )
    with pytest.raises(UsageError, match="Received: 'xyz'. lth lists the programs."):
        lth._find("xyz")


def test_a_program_gets_the_rest_of_the_line():
    assert "--seed" in run("lenet", "--help").stdout
    assert "Received: --sead. Did you mean --seed?" in run("lenet", "--sead=3").stderr


def test_hyphens_are_as_good_as_underscores():
    assert lth._find("callback-memory").name == "callback_memory"


def test_commands_are_those_of_the_checkout_or_of_an_installation(monkeypatch):
    monkeypatch.setattr(program, "python", lambda: "python")
    monkeypatch.setattr(program, "_installed", lambda: False)
    assert program.command("report") == "python -m experiments.report"
    assert program.command("export.benchmark") == "python -m export.benchmark"
    assert program.as_called("python -m experiments.conv6 -x") == "python -m experiments.conv6 -x"
    monkeypatch.setattr(program, "_installed", lambda: True)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert program.command("report") == "python -m lth_tf report"
    doc = "    python -m experiments.conv6 -x\nor python -m export.benchmark"
    assert program.as_called(doc) == "    lth conv6 -x\nor lth export.benchmark"
