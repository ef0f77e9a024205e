"""Measures what the library costs: alternatives in turn, in one sitting, as ratios.

    python -m experiments.benchmark
    python -m experiments.benchmark --suite=sparse,floor --networks=lenet
    python -m experiments.benchmark --suite=training --json=new.json --against=old.json
    python -m experiments.benchmark --peers

Images are random numbers of the data set's shape, so nothing is downloaded. Every
line is a median over rounds with its smallest and largest value; ratios are taken
round by round. `--json` keeps all values with machine and versions, `--against` sets the medians
beside those of an earlier file. Run it on a machine that does nothing else, or on one core of
it (`taskset -c 0`). The suites are the files of `experiments/suites`.
"""

import dataclasses
import pathlib
import sys
from typing import Any

from lth_tf.cli import flags, program, tf_logging
from lth_tf.errors import UsageError
from lth_tf.files import read_json, reading, write_json
from lth_tf.lazy import lazy_imports
from lth_tf.options import Options, option

with lazy_imports():
    from lth_tf import networks
    from lth_tf.runs import provenance
    from lth_tf.training import devices

    from . import suites

_QUICK = "training,masks,evaluation,sparse,prune,memory"


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions(Options):
    """What to measure."""

    suite: str = option(
        _QUICK, "What to measure, comma-separated: files of experiments/suites; all is every one."
    )
    peers: bool = option(False, "Only the same training in other frameworks, where installed.")
    networks: str = option("lenet", "Networks of the suites that take any, comma-separated.")
    rounds: int = option(5, "Rounds, each of every alternative in turn.", minimum=1)
    seconds: float = option(3.0, "Seconds of each alternative a round, about.", minimum=0.1)
    json: str = option("", "File that all values are written to.")
    against: str = option("", "File of an earlier --json to compare with.")


def main() -> None:
    """Runs the program and exits."""
    sys.exit(program.run_main(_run))


def _run() -> None:
    parsed = flags.parse(sys.argv, __doc__, BenchmarkOptions())
    if parsed is None:
        return
    (options,) = parsed
    # Complains before anything is measured.
    earlier = _read(options.against) if options.against else []
    tf_logging.import_tensorflow()
    devices.configure()
    for network in options.networks.split(","):
        networks.NETWORKS.get(network)
    names = suites.SUITES.names() if options.suite == "all" else options.suite.split(",")
    chosen = [suites.SUITES.get(name) for name in (["peers"] if options.peers else names)]
    found = []
    for measure in chosen:
        for result in measure(options):
            print(result.text(), flush=True)
            print(_compared(result, earlier), flush=True)
            found.append(dataclasses.asdict(result))
            if options.json:
                record = {**provenance.provenance(), "processor": _processor(), "results": found}
                write_json(pathlib.Path(options.json), record)


def _read(path: str) -> list[dict[str, Any]]:
    """Returns the results in a file of `--json`."""
    file = pathlib.Path(path)
    if not file.is_file():
        raise UsageError(
            f"Expected a file that --json has written. Received: {path}.", arguments=("against",)
        )
    with reading(file):
        results = read_json(file)["results"]
        return [{key: result[key] for key in ("title", "unit", "values")} for result in results]


def _compared(result: "suites.Result", earlier: list[dict[str, Any]]) -> str:
    """Returns lines with the ratio of the medians to earlier ones, "" if there are none."""
    return "".join(
        f"  {line}\n"
        for other in earlier
        if (other["title"], other["unit"]) == (result.title, result.unit)
        for line in suites.compared(result.values, other["values"])
    )


def _processor() -> str:
    """Returns the processor's name as Linux knows it, "" elsewhere."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")


if __name__ == "__main__":
    main()
