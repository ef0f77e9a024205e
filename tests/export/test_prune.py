"""One command for a compiled model of one's own."""

import importlib.util

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers as L
from sklearn.datasets import load_digits

import lth_tf
from export import own_model
from export.config import PruneOptions
from lth_tf.cli.lth import programs
from lth_tf.errors import RunError, UsageError
from lth_tf.lazy import MissingPackage
from lth_tf.methods.imp import IMP
from lth_tf.runs.stage import Stage

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(scope="module")
def digits():
    inputs, labels = load_digits(return_X_y=True)
    return (inputs / 16).astype(np.float32)[:500], labels[:500]


def compiled(model, optimizer="adam", loss=LOSS, metrics=("accuracy",)):
    model.compile(optimizer, loss, metrics=list(metrics))
    return model


def small(*layers):
    keras.utils.set_random_seed(0)
    layers = layers or (L.Dense(30, "relu", name="fc1"), L.Dense(10, name="out"))
    return keras.Sequential([keras.Input((64,)), *layers], name="small")


@pytest.fixture(scope="module")
def place(digits, tmp_path_factory):
    """A folder with a trained model, its optimizer's state in it, and examples."""
    folder = tmp_path_factory.mktemp("own")
    model = compiled(small())
    model.fit(*digits, epochs=1, verbose=0)
    model.save(folder / "small.keras")
    np.savez(folder / "train.npz", x=digits[0], y=digits[1])
    return folder


def options(folder, **changes):
    values = {"examples": str(folder / "train.npz"), "epochs": 2, "runs_dir": str(folder / "runs")}
    return PruneOptions(**{**values, **changes})


@pytest.fixture(scope="module")
def pruned(place):
    """The run of the default method, with a .tflite file."""
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        patch.setattr("builtins.print", lambda text="", **_: lines.extend(str(text).splitlines()))
        before = (place / "small.keras").read_bytes()
        run = own_model.run(
            str(place / "small.keras"), options(place, density=0.2, export="tflite")
        )
        assert (place / "small.keras").read_bytes() == before
    return run, lines


def test_it_is_called_prune():
    assert programs()["prune"].module.endswith("export.prune")


def test_a_missing_runtime_is_named_before_anything_is_trained(place, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *rest: None if name == "ai_edge_litert" else found(name, *rest),
    )
    with pytest.raises(MissingPackage, match=r"pip install 'lth_tf\[export\]'"):
        own_model.run(
            str(place / "small.keras"), options(place, export="tflite", runs_dir=str(place / "no"))
        )
    assert not (place / "no").exists()


def test_channels_are_removed_from_the_files(place, tmp_path):
    flags = {
        "density": 0.5,
        "granularity": "channel",
        "export": "tflite",
        "runs_dir": str(tmp_path),
    }
    run = own_model.run(str(place / "small.keras"), options(place, **flags))
    model = keras.models.load_model(run.path / own_model.PRUNED)
    left = np.any(model.get_layer("fc1").kernel.numpy() != 0, axis=0)
    assert left.sum() == 13  # of 30 units of 65 weights, beside 300 of the outputs
    assert not model.get_layer("fc1").bias.numpy()[~left].any()
    (file,) = (run.path / "export").glob("*.tflite")
    interpreter = Interpreter(str(file))
    interpreter.allocate_tensors()
    shapes = {tuple(tensor["shape"]) for tensor in interpreter.get_tensor_details()}
    assert (13, 64) in shapes and (30, 64) not in shapes


def parts(place, **changes):
    signature = own_model.signature_of(own_model.load(place / "small.keras"))
    given = own_model.examples.read(place / "train.npz", signature)
    return own_model.split(given, signature, options(place, **changes))


def test_it_ends_as_a_plain_model_of_the_density(pruned, place):
    run, _ = pruned
    model = keras.models.load_model(run.path / own_model.PRUNED)
    assert {type(layer) for layer in model.layers} == {L.Dense}
    kernels = [model.get_layer(name).kernel for name in ("fc1", "out")]
    assert [np.count_nonzero(kernel) for kernel in kernels] == [384, 60]
    assert isinstance(model.optimizer, keras.optimizers.Adam) and not int(
        model.optimizer.iterations
    )
    _, held_out = parts(place)
    values = model.evaluate(held_out.inputs["inputs"], held_out.labels, verbose=0, return_dict=True)
    expected = run.summary(Stage(1))["final_test_accuracy"]
    assert values["accuracy"] == pytest.approx(expected, abs=1e-6)


def test_its_run_is_one_like_all(pruned, place):
    run, _ = pruned
    assert run.path == place / "runs/small/density=0.2,epochs=2/seed_0"
    assert [run.summary(Stage(level))["remaining"] for level in (0, 1)] == [2220, 444]
    assert run.provenance()["data"]["inputs"].startswith("float32 (400, 64) ")
    rows = lth_tf.runs(str(place / "runs" / "small"))
    assert [row["density"] for row in rows] == [1.0, 0.2]
    trained = run.trained(Stage(1))
    model = keras.models.load_model(run.path / own_model.PRUNED)
    np.testing.assert_array_equal(model.get_layer("fc1").kernel, trained["fc1/kernel"])


def test_what_it_prints(pruned):
    run, lines = pruned
    assert lines[0] == "small.keras: 2,260 weights, optimizer Adam"
    assert lines[1] == "400 examples to train on, 100 held out"
    (row,) = [line for line in lines if line.startswith("level 1  ")]
    value = run.summary(Stage(1))["final_test_accuracy"]
    assert row.split()[2:5] == ["20.00", f"{100 * value:.2f}", "%"]
    assert sum(line.startswith("level 0, epoch") for line in lines) == 2
    (file,) = [line for line in lines if line.startswith("export/small_float32.tflite")] or [
        line for line in lines if line.startswith("export/pruned_float32.tflite")
    ]
    assert f"{(run.path / 'export/pruned_float32.tflite').stat().st_size:,}" in file
    assert all(len(line) <= 80 for line in lines if "pytest" not in line), lines


def test_a_finished_run_trains_nothing(pruned, place, capsys):
    run, _ = pruned
    (run.path / own_model.PRUNED).unlink()
    own_model.run(str(place / "small.keras"), options(place, density=0.2))
    assert "epoch 1 of" not in capsys.readouterr().out
    model = keras.models.load_model(run.path / own_model.PRUNED)
    assert np.count_nonzero(model.get_layer("fc1").kernel) == 384


def test_other_examples_and_another_model_are_refused(pruned, place, digits, tmp_path):
    np.savez(tmp_path / "other.npz", x=digits[0], y=digits[1][::-1])
    other = options(place, density=0.2, examples=str(tmp_path / "other.npz"))
    with pytest.raises(UsageError, match="Expected the data that .* it has labels"):
        own_model.run(str(place / "small.keras"), other)
    compiled(small()).save(tmp_path / "small.keras")
    with pytest.raises(UsageError, match="begun with. Received: .*, whose weights are others"):
        own_model.run(str(tmp_path / "small.keras"), options(place, density=0.2))


@pytest.mark.parametrize("method", [pytest.param("gradual", marks=pytest.mark.slow), "imp"])
def test_a_run_that_was_stopped_goes_on(method, place, tmp_path, monkeypatch, capsys):
    given = options(place, runs_dir=str(tmp_path), method=method, density=0.5, levels=0)
    if method == "imp":
        given = options(place, runs_dir=str(tmp_path), method=IMP(), density=0.5, levels=1)
    whole = own_model.Progress.on_epoch_end

    def stop(self, epoch, logs=None):
        whole(self, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(own_model.Progress, "on_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            own_model.run(str(place / "small.keras"), given)
    assert not list(tmp_path.rglob(own_model.PRUNED))
    capsys.readouterr()
    run = own_model.run(str(place / "small.keras"), given)
    assert "level 1, epoch 2 of 2" in capsys.readouterr().out
    assert run.summary(Stage(1))["remaining"] == 1110


def test_the_part_held_out_is_the_seeds(place, digits):
    split = [parts(place, seed=seed) for seed in (0, 0, 1)]
    for train, held in split:
        together = np.concatenate([train.inputs["inputs"], held.inputs["inputs"]])
        np.testing.assert_array_equal(np.sort(together, 0), np.sort(digits[0], 0))
        assert (len(train), len(held)) == (400, 100)
    np.testing.assert_array_equal(split[0][1].labels, split[1][1].labels)
    assert (split[0][1].labels != split[2][1].labels).any()


def lstm():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8)), L.LSTM(8, name="lstm"), L.Dense(10, name="out")])
    rate = keras.optimizers.schedules.ExponentialDecay(1e-2, 50, 0.9)
    return compiled(model, keras.optimizers.RMSprop(rate))


def test_an_lstm(digits, tmp_path):
    lstm().save(tmp_path / "lstm.keras")
    np.savez(tmp_path / "train.npz", x=digits[0].reshape(-1, 8, 8), y=digits[1])
    run = own_model.run(str(tmp_path / "lstm.keras"), options(tmp_path, density=0.25))
    model = keras.models.load_model(run.path / own_model.PRUNED)
    cell = model.get_layer("lstm").cell
    assert [np.count_nonzero(v) for v in (cell.kernel, cell.recurrent_kernel)] == [64, 64]


def test_two_inputs_two_outputs_and_sample_weights(digits, tmp_path):
    keras.utils.set_random_seed(0)
    a, b = keras.Input((32,), name="a"), keras.Input((32,), name="b")
    both = L.Dense(8, "relu")(L.concatenate([a, b]))
    outputs = {"digit": L.Dense(10)(both), "size": L.Dense(1)(both)}
    model = keras.Model({"a": a, "b": b}, outputs)
    model.compile("sgd", {"digit": LOSS, "size": "mse"}, metrics={"digit": ["accuracy"]})
    model.save(tmp_path / "two.keras")
    np.savez(
        tmp_path / "train.npz",
        a=digits[0][:, :32],
        b=digits[0][:, 32:],
        digit=digits[1],
        size=digits[1].astype(np.float32) / 10,
        sample_weight=np.linspace(0, 1, 500),
    )
    run = own_model.run(str(tmp_path / "two.keras"), options(tmp_path, density=0.5))
    assert run.summary(Stage(1))["metric"] == "digit_accuracy"
    assert "sample weights" in run.provenance()["data"]


@pytest.mark.slow
def test_a_mobilenet(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2((32, 32, 3), 0.35, weights=None, classes=4)
    compiled(model, loss="sparse_categorical_crossentropy").save(tmp_path / "mobilenet.keras")
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 64)
    images = random.normal(labels[:, None, None, None], 1.0, (64, 32, 32, 3))
    np.savez(tmp_path / "train.npz", x=images.astype(np.float32), y=labels)
    given = options(tmp_path, density=0.3, epochs=4, batch_size=16, export="tflite,saved_model")
    run = own_model.run(str(tmp_path / "mobilenet.keras"), given)
    assert run.summary(Stage(1))["density"] == pytest.approx(0.3, abs=1e-3)
    assert (run.path / "export/pruned_float32.tflite").is_file()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"density": 0.0}, r"density to be a number in \(0, 1\]. Received: density=0.0"),
        ({"density": 1.5}, r"density to be a number in \(0, 1\]. Received: density=1.5"),
        ({"validation_split": 1.0}, r"validation_split to be a number in \(0, 1\)"),
        ({"method": "gradul"}, "Did you mean 'gradual'"),
        ({"export": "tflit"}, "Did you mean 'tflite'"),
        ({"export": "tflite", "density": 1.0}, "Expected a density below 1 with --export"),
        ({"levels": 3}, "Expected levels=0"),
    ],
)
def test_flags_that_do_not_fit(changes, message, place):
    with pytest.raises(UsageError, match=message):
        options(place, **changes)


def labels(digits, **arrays):
    return {"x": digits[0], "y": digits[1], **arrays}


@pytest.mark.parametrize(
    "arrays, message",
    [
        (lambda d: {"x": d[0]}, "Expected labels: an array y"),
        (lambda d: labels(d, x=d[0][:, :60]), r"for input 'inputs'. Received: shape=\(500, 60\)"),
        (lambda d: labels(d, y=d[1] + 3), "label value of .* outside the valid range"),
        (lambda d: labels(d, y=d[1].astype(str)), "labels, and sample weights, that the model"),
        (lambda d: labels(d, sample_weight=np.ones(3)), "Expected 500 sample weights"),
        (lambda d: {"x": d[0][:1], "y": d[1][:1]}, "Expected at least 2 examples"),
        (lambda d: {"x": d[0][:9], "y": d[1][:9]}, "prune_frequency=1 iterations from"),
    ],
)
def test_examples_that_do_not_fit(arrays, message, place, digits, tmp_path):
    np.savez(tmp_path / "train.npz", **arrays(digits))
    with pytest.raises(UsageError, match=message):
        own_model.run(str(place / "small.keras"), options(tmp_path, epochs=1))
    assert not (tmp_path / "runs").exists()


class Mine(L.Dense):
    """Registered nowhere."""


@pytest.mark.parametrize(
    "model, message",
    [
        (lambda: small(), "Expected a compiled model. Received: .*, which has no optimizer"),
        (lambda: compiled(small(Mine(10))), "use lth_tf.PruneCallback in the script"),
        (lambda: lth_tf.mask_model(compiled(small())), "which is pruned already"),
    ],
)
def test_models_that_do_not_fit(model, message, place, tmp_path):
    model().save(tmp_path / "model.keras")
    with pytest.raises(UsageError, match=message):
        own_model.run(str(tmp_path / "model.keras"), options(place, runs_dir=str(tmp_path / "r")))
    assert not (tmp_path / "r").exists()


def test_a_loss_that_becomes_infinite_ends_it_in_one_line(digits, tmp_path):
    model = compiled(small(L.Dense(1)), keras.optimizers.SGD(1e30), "mse", ["mae"])
    model.evaluate(*digits, verbose=0)  # makes its metrics
    assert own_model._metric({"loss": 1.0, "mae": 1.0}, model, options(tmp_path)) == "mae"
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "train.npz", x=digits[0], y=digits[1])
    with pytest.raises(RunError, match="is not finite at epoch 1 of level_00"):
        own_model.run(str(tmp_path / "model.keras"), options(tmp_path))
