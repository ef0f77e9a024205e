import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Most of a short training's time is XLA's compiler, which without optimization takes two fifths
# of it. Its programs differ by rounding, so tests of what is the same bits in different programs
# are marked `optimized`: they, and all with XLA_FLAGS= in the environment, run what users run.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
)

import ctypes
import dataclasses
import functools
import gc
import pathlib
import runpy
import shutil
import signal
import subprocess
import sys
import warnings

import pytest

from lth_tf import signals
from lth_tf.config import ExperimentConfig

ROOT = pathlib.Path(__file__).parents[1]

# A level of LeNet in under a second on the embedded digits.
TINY = ExperimentConfig(
    dataset="digits", iterations=60, batch_size=32, eval_interval=20, test_interval=20, levels=2
)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Calls a test that is marked `optimized` in a process with XLA as it is."""
    if not pyfuncitem.get_closest_marker("optimized") or not os.environ["XLA_FLAGS"]:
        return None
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-m",
            "",
            pyfuncitem.nodeid,
        ],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return True


def pytest_collection_finish():
    """Leaves what was imported out of the searches for garbage, which are made less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(scope="module", autouse=True)
def released():
    """Lets go of a module's traced functions, which TensorFlow keeps with what they captured."""
    from lth_tf.tensorflow_internals import released_functions

    with released_functions():
        yield
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture
def tiny():
    return TINY


@pytest.fixture(scope="session")
def digits():
    from lth_tf import datasets

    return datasets.load("digits", image_shape=(28, 28, 1), seed=0)


@pytest.fixture(scope="session")
def digits_rgb():
    from lth_tf import datasets

    return datasets.load("digits", image_shape=(32, 32, 3), seed=0)


@pytest.fixture(scope="session")
def data_of():
    """Network -> real data of the shape and kind that it takes, none of them downloaded."""
    from lth_tf import datasets, networks

    names = {"images": "digits", "anything": "digits", "tokens": "manual"}

    @functools.cache
    def load(network):
        shape = networks.image_shape(network)
        return datasets.load(names[networks.takes(network)], image_shape=shape)

    return load


@pytest.fixture(scope="session")
def finished_run(digits, tmp_path_factory):
    """A run directory of two levels, each with both kinds of control. Not to be written to."""
    from lth_tf.runs.run_dir import RunDir
    from lth_tf.tickets.find import find_tickets

    run_dir = RunDir(tmp_path_factory.mktemp("runs") / "lenet" / "default" / "seed_0")
    config = TINY.replace(reinits=1, random_masks=1)
    about = {"versions": {"keras": "3"}, "device": "CPU", "data": {"classes": 10}}
    with run_dir.writing(config, about):
        find_tickets(config, digits, run_dir)
    return run_dir


def not_ignoring():
    """Tests in the background of a shell or under nohup inherit that signals are ignored."""
    for number in signals.STOPPING:
        signal.signal(number, signal.SIG_DFL)


@dataclasses.dataclass
class Finished:
    code: int
    out: str
    err: str


@pytest.fixture
def program_here(tmp_path, monkeypatch, capfd):
    """Runs `python -m MODULE ARGS` in a folder of its own, but in this process.

    A new one imports TensorFlow for seconds. It is needed where imports, XLA's flags, signals
    or children matter, and once for each program (see `program`).
    """

    def run(module, *args):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [module, *map(str, args)])
        with warnings.catch_warnings(), pytest.raises(SystemExit) as end:
            warnings.filterwarnings("ignore", ".* found in sys.modules after", RuntimeWarning)
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        return Finished(end.value.code, *capfd.readouterr())

    return run


@pytest.fixture
def program(tmp_path):
    """Runs `python -m MODULE ARGS` in a folder of its own, as a user does."""

    def run(module, *args, kill_after=None, env=None):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        child = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, args)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        try:
            out, err = child.communicate(timeout=kill_after)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            out, err = child.communicate()
        return Finished(child.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def trainers():
    """Network -> (model, its initial weights, trainer): tracing VGG-19 takes a while."""
    return {}


@pytest.fixture
def shared_trainer(trainers, data_of, monkeypatch):
    """Returns network -> (config, data) of a quick run whose Trainer is kept for the next test."""
    from lth_tf.masking.model import get_masks, get_weights, set_masks, set_weights
    from lth_tf.tickets import find
    from lth_tf.training.trainer import Trainer

    def few(data):
        sizes = {"train": 16, "validation": 8, "test": 8}
        return dataclasses.replace(
            data, **{name: getattr(data, name).take(range(size)) for name, size in sizes.items()}
        )

    new_model = find.new_model

    def kept_model(config, data, *stream):
        if stream != ("init",):
            return new_model(config, data, *stream)
        model, weights, _ = trainers[config.network]
        set_masks(model, {path: mask * 0 + 1 for path, mask in get_masks(model).items()})
        set_weights(model, weights)
        return model

    def prepare(network):
        data = few(data_of(network))
        config = dataclasses.replace(
            TINY,
            network=network,
            iterations=1,
            eval_interval=1,
            test_interval=0,
            batch_size=4,
            levels=1,
            prune_rate_conv=0.2,
        )
        if network not in trainers:
            model = new_model(config, data, "init")
            trainers[network] = (model, get_weights(model), Trainer(model, data, config))
        monkeypatch.setattr(find, "new_model", kept_model)
        monkeypatch.setattr(find, "Trainer", lambda *_, **__: trainers[network][2])
        return config, data

    return prepare


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A headless browser; what needs one is skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no headless browser on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path_factory.mktemp('browser')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    found.set_script_timeout(60)
    yield found
    found.quit()
