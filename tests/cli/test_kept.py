"""Programs that stay between requests."""

import os

import pytest

from lth_tf.cli.kept import ask, programs_kept
from lth_tf.cli.process import ProgramError

PROGRAM = """
import os, sys
def do(request):
    if request == "crash":
        os.abort()
    if request == "fail":
        raise ValueError("no such thing")
    print(os.getpid(), request)
action, argument = sys.argv[1:]
if action == "serve":
    from lth_tf.cli.kept import serve
    serve(do)
else:
    do(argument)
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    (tmp_path / "kept_program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "kept_program"


def process_of(program, request="hello", **more):
    number, text = ask(program, "greet", request, **more).split()
    assert text == request
    return int(number)


def test_a_program_is_started_once_inside_the_block_and_ends_with_it(program):
    with programs_kept():
        first = process_of(program)
        assert process_of(program, "again") == first
        assert process_of(program, use="other") != first
        with programs_kept():
            assert process_of(program) == first
        assert process_of(program) == first
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert process_of(program) not in (first, process_of(program))


@pytest.mark.parametrize(
    ("request_", "reason", "goes_on"),
    [("crash", "crashed with SIGABRT", False), ("fail", "ValueError: no such thing", True)],
)
def test_what_fails_is_an_error_and_the_next_is_answered(program, request_, reason, goes_on):
    with programs_kept():
        first = process_of(program)
        with pytest.raises(ProgramError, match=reason):
            ask(program, "greet", request_)
        assert (process_of(program) == first) is goes_on
        with pytest.raises(ProgramError, match=reason):
            ask(program, "greet", request_)
