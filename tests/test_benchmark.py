"""The benchmark program; what it measures is no matter of tests."""

import json

import pytest

from experiments.suites import SUITES, Result, in_turn
from lth_tf.files import read_json


def test_every_file_is_a_suite():
    assert SUITES.names() == [
        "augment",
        "callback",
        "costs",
        "evaluation",
        "floor",
        "growth",
        "jobs",
        "masks",
        "memory",
        "peers",
        "prune",
        "sparse",
        "startup",
        "training",
    ]


def test_alternatives_are_measured_in_turn():
    order = []

    def rate(name, value):
        def measure():
            order.append(name)
            return value * len(order)

        return measure

    result = in_turn("speed", {"one": rate("a", 2.0), "two": rate("b", 1.0)}, rounds=2)
    assert order == ["a", "b", "a", "b"]
    assert result == Result("speed", "iterations/s", {"one": [2.0, 6.0], "two": [2.0, 4.0]})
    assert result.text().splitlines() == [
        "speed",
        "     iterations/s      first / this",
        "one       4 (2-6)",
        "two       3 (2-4)  1.25 (1.00-1.50)",
    ]


def test_the_program_keeps_its_values_and_compares_them_with_earlier_ones(
    program, program_here, tmp_path
):
    options = ["--suite=costs", "--rounds=2"]
    done = program("experiments.benchmark", *options, "--json=one.json")
    assert done.code == 0, done.err
    record = read_json(tmp_path / "one.json")
    (result,) = record["results"]
    assert (result["title"], result["unit"]) == ("lenet: what a level costs", "ms")
    assert len(result["values"]["a checkpoint"]) == 2
    assert record["versions"]["tensorflow"]
    # As if everything had taken a million times as long.
    result["values"] = {k: [1e6 * v for v in values] for k, values in result["values"].items()}
    (tmp_path / "slow.json").write_text(json.dumps(record))
    done = program_here("experiments.benchmark", *options, "--against=slow.json")
    assert "rewinding: 0.00 x the earlier median, outside its spread" in done.out


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--suite=nothing", "Expected a suite out of augment, callback, costs,"),
        ("--against=nothing.json", "Expected a file that --json has written."),
    ],
)
def test_mistakes_are_one_line(program_here, flag, message):
    done = program_here("experiments.benchmark", flag)
    assert done.code == 2
    assert message in done.err and "Traceback" not in done.err
