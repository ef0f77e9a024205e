import os
import signal

import pytest

from lth_tf.cli.process import ProgramError, lines_of, run_program
from lth_tf.errors import RunError


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Writes a module and returns its name."""
    (tmp_path / "modules").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))

    def write(text):
        (tmp_path / "modules" / "some_program.py").write_text(text)
        return "some_program"

    return write


def test_a_program_has_its_arguments_and_the_library(program, tmp_path, monkeypatch):
    module = program("import os, sys, lth_tf\nprint(sys.argv[1], os.environ['COLOUR'])")
    monkeypatch.chdir(tmp_path)
    assert run_program(module, "a b", env={"COLOUR": "red"}) == "a b red\n"


def test_the_working_folder_hides_no_module(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise ImportError('not the real one')")
    assert run_program(program("import json\nprint(json.dumps([1]))")) == "[1]\n"


def test_lines_come_while_it_runs_and_stopping_stops_it(program):
    module = program("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)")
    lines = lines_of(module)
    child = int(next(lines))
    os.kill(child, 0)  # it is there
    lines.close()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_much_on_stderr_blocks_nothing(program):
    module = program("import sys\nsys.stderr.write('x' * 1_000_000)\nprint('done')")
    assert run_program(module) == "done\n"


def test_the_last_error_is_the_reason(program):
    text = "print('one')\ntry:\n    {}[0]\nexcept KeyError as e:\n    raise ValueError('b') from e"
    with pytest.raises(ProgramError, match="^ValueError: b$") as caught:
        run_program(program(text))
    assert caught.value.output == "one\n"
    assert isinstance(caught.value, RunError)


def test_our_own_errors_speak_for_themselves(program):
    text = "from lth_tf.errors import RunError\nraise RunError('The disk is full.')"
    with pytest.raises(ProgramError, match="^The disk is full.$"):
        run_program(program(text))


def test_a_killed_process(program):
    module = program("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)")
    lines = lines_of(module)
    os.kill(int(next(lines)), signal.SIGKILL)
    with pytest.raises(ProgramError, match="crashed with SIGKILL"):
        next(lines)
