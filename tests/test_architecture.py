"""The shape of the house: who may import whom, and how large a room gets."""

import ast
import graphlib
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# A room imports from its own line and the ones below.
ROOMS = [
    {"__main__"},
    {"tuning"},
    {"tickets"},
    {"methods", "controls", "training", "analysis", "to_tf_keras"},
    {"networks", "datasets"},
    {"pruning", "runs"},
    {"units"},
    {"masking"},
    {"cli", "config"},
    {"options"},
    {
        "files",
        "locks",
        "signals",
        "registry",
        "seeding",
        "backend",
        "keras_internals",
        "lazy",
        "tensorflow_internals",
    },
    {"errors"},
]
HEIGHT = {name: -height for height, names in enumerate(ROOMS) for name in names}
NUMPY_ONLY = [
    "options",
    "config",
    "registry",
    "seeding",
    "masking.arrays",
    "pruning",
    "pruning.select",
    *(
        f"analysis.{name}"
        for name in (
            "base",
            "connectivity",
            "densities",
            "initial_weights",
            "large_weights",
            "line",
            "movement",
            "overlap",
            "sharpness",
            "signs",
            "survey",
        )
    ),
    "runs.run_dir",
    "tickets.verdict_text",
    "tickets.procedure",
    "methods.imp",
    "methods.gradual",
    "controls.reinit",
    "controls.random_mask",
]

# Started in processes of their own: TFMOT turns tf.keras into tf_keras.
TFMOT_PROGRAMS = [
    "export.finetuning.tfmot_program",
    "experiments.gradual_tfmot",
    "experiments.peers.tfmot_fit",
]


def sources(package):
    return sorted((ROOT / package).rglob("*.py"))


def imported(path):
    """Returns the dotted names a file imports, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                package = path.relative_to(ROOT).parts[: -node.level]
                module = ".".join([*package, *filter(None, [module])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def test_packages_import_one_way():
    for path in sources("lth_tf"):
        assert not {n.split(".")[0] for n in imported(path)} & {"experiments", "export"}, path
    for path in sources("export"):
        assert "experiments" not in {n.split(".")[0] for n in imported(path)}, path
    for path in sources("experiments"):
        assert "export" not in {n.split(".")[0] for n in imported(path)}, path


@pytest.mark.parametrize("package", ["experiments", "export"])
def test_what_is_installed_elsewhere_imports_itself_relatively(package):
    """The folder's name is `lth_tf.experiments` or `lth_tf.export` where it is installed."""
    for path in sources(package):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            assert package not in {name.split(".")[0] for name in names}, path


@pytest.mark.parametrize("package", ["lth_tf", "experiments", "export"])
def test_imports_stand_at_the_top(package):
    """What must not be imported yet is named in a block of `lazy_imports`."""
    for path in sources(package):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                inside = {type(part) for part in ast.walk(node)}
                assert not inside & {ast.Import, ast.ImportFrom}, f"{path}: {node.name}"


def test_no_files_import_each_other():
    """Those of annotations and of lazy blocks count; a package's face only hands names on."""
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for package in ("lth_tf", "experiments", "export")
        for path in sources(package)
        if path.name != "__init__.py"
    }
    graph = {
        name: {other for other in imported(path) if other in files} for name, path in files.items()
    }
    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_modules_import_downwards():
    for path in sources("lth_tf"):
        room = path.relative_to(ROOT / "lth_tf").parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "lth_tf" and len(parts) > 1 and parts[1] in HEIGHT:
                assert HEIGHT[parts[1]] <= HEIGHT[room], f"{path} imports {name}"


@pytest.mark.parametrize("module", NUMPY_ONLY)
def test_numpy_is_enough(module):
    code = f"import sys, lth_tf.{module}; assert not {{'tensorflow', 'keras'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def importers(name):
    """Returns the files that import a module, or anything out of it."""
    return {
        str(path.relative_to(ROOT))
        for package in ("lth_tf", "experiments", "export", "tests")
        for path in sources(package)
        if any(f"{found}.".startswith(f"{name}.") for found in imported(path))
    }


def test_tfmot_is_never_imported_into_keras_3():
    programs = {f"{module.replace('.', '/')}.py" for module in TFMOT_PROGRAMS}
    assert importers("tensorflow_model_optimization") == programs
    assert importers("lth_tf.to_tf_keras") == programs - {"experiments/peers/tfmot_fit.py"}
    assert importers("tf_keras") == programs | {"lth_tf/to_tf_keras.py"}
    for module in TFMOT_PROGRAMS:
        assert not importers(module), f"{module} is a program to start, not to import"


def test_numba_is_imported_by_the_sparse_step_alone():
    """It takes a second; what imports it does so when it is used."""
    room = "lth_tf/training/sparse"
    assert importers("numba") == {f"{room}/kernels.py", f"{room}/vectors.py"}
    kernels = importers("lth_tf.training.sparse.kernels")
    assert kernels == {f"{room}/loop.py", f"{room}/network.py"}
    loops = importers("lth_tf.training.sparse.loop") | importers("lth_tf.training.sparse.network")
    assert loops - kernels == {"lth_tf/training/choice.py", "tests/training/test_sparse.py"}


@pytest.mark.parametrize("package", ["lth_tf", "experiments", "export", "tests"])
def test_files_stay_small(package):
    for path in sources(package):
        assert path.read_text().count("\n") <= 400, path


# The only files that may know what a library does not document.
INTERNALS = {
    "keras": "lth_tf/keras_internals.py",
    "tensorflow": "lth_tf/tensorflow_internals.py",
    "keras_tuner": "lth_tf/tuning/oracles.py",
}
OWN_NAMES = (
    "_original_class",
    "_flatten_layers",
    "_direct_assign",
)  # masking's, on Keras's objects


def private_attributes(path):
    """Returns the private attributes that a file reads of anything but its own objects."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Attribute) or not re.match(r"_[a-z]", node.attr):
            continue
        if ast.unparse(node.value) not in ("self", "cls", "other", "os", "super()"):
            yield node.attr


@pytest.mark.parametrize("package", ["lth_tf", "experiments", "export"])
def test_what_libraries_do_not_document_has_one_file_each(package):
    for path in sources(package):
        name = str(path.relative_to(ROOT))
        modules = set(imported(path))
        if name != INTERNALS["keras"]:
            assert not {n for n in modules if n.startswith("keras.src")}, path
        if name != INTERNALS["tensorflow"]:
            private = ("tensorflow.python", "tensorflow.lite.python")
            assert not {n for n in modules if n.startswith(private)}, path
        if name not in INTERNALS.values():
            defined = set(re.findall(r"(?:def |self\.)(_\w+)", path.read_text()))
            assert not set(private_attributes(path)) - defined - set(OWN_NAMES), path
