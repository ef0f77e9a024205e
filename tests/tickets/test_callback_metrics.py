"""What tickets of a `fit` are judged by: direction, unit, and who wins."""

import csv

import keras
import numpy as np
import pytest
from keras import layers as L

from experiments.report import ReportOptions, report
from experiments.results import outcome
from lth_tf.errors import UsageError
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets import judging
from lth_tf.tickets.callback import TicketCallback
from lth_tf.tickets.winning import wins


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(0).random((96, 8)).astype(np.float32)


def regression(metrics=(), outputs=1):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((8,)), L.Dense(16, "relu", name="h"), L.Dense(outputs, name="o")], name="r"
    )
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=list(metrics))
    return model


def fit(model, x, y, folder, **options):
    options = {"epochs_per_level": 2, "levels": 1, "verbose": 0, "prune_rates": 0.5} | options
    tickets = TicketCallback(folder, **options)
    history = model.fit(
        x,
        y,
        validation_data=(x, y),
        epochs=tickets.epochs,
        callbacks=[tickets],
        verbose=0,
        shuffle=False,
    ).history
    return tickets.run_dir, history


class Vae(keras.Model):
    """An autoencoder whose loss is all its own."""

    def __init__(self):
        super().__init__(name="vae")
        self.encoder, self.decoder = L.Dense(4, name="encoder"), L.Dense(8, name="decoder")

    def build(self, shape):
        self.encoder.build((None, 8))
        self.decoder.build((None, 4))
        self.built = True

    def call(self, x):
        code = self.encoder(x)
        self.add_loss(0.001 * keras.ops.mean(code**2))
        return self.decoder(code)


def vae():
    keras.utils.set_random_seed(0)
    model = Vae()
    model.build((None, 8))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


def two_outputs(metrics):
    keras.utils.set_random_seed(0)
    given = keras.Input((8,))
    hidden = L.Dense(16, "relu", name="h")(given)
    model = keras.Model(
        given, {"a": L.Dense(3, name="a")(hidden), "b": L.Dense(1, name="b")(hidden)}, name="two"
    )
    loss = {"a": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "b": "mse"}
    model.compile("adam", loss, metrics=metrics)
    return model


@pytest.mark.parametrize(
    "metrics, options, name, mode",
    [
        (["mae"], {"metric": "mae"}, "mae", "min"),
        (["mae"], {"metric": "val_mae"}, "mae", "min"),
        ([keras.metrics.R2Score], {"metric": "r2_score"}, "r2_score", "max"),
        (
            [keras.metrics.RootMeanSquaredError],
            {"metric": "val_root_mean_squared_error"},
            None,
            "min",
        ),
        (["mae"], {"metric": "loss"}, "loss", "min"),
        ([], {"metric": "val_loss"}, "loss", "min"),
        ([], {}, "loss", "min"),
        (["mae"], {"metric": "mae", "mode": "max"}, "mae", "max"),
    ],
    ids=["mae", "val_mae", "r2", "rmse", "loss", "val_loss", "nothing compiled", "mode"],
)
def test_regression(inputs, tmp_path, metrics, options, name, mode):
    made = [metric() if isinstance(metric, type) else metric for metric in metrics]
    run_dir, history = fit(
        regression(made), inputs, inputs[:, :1], tmp_path / "run", test_data=None, **options
    )
    name = name or options["metric"].removeprefix("val_")
    best = int(np.argmin(history["val_loss"][:2]))
    summary = run_dir.summary(Stage(0))
    assert (summary["metric"], summary["mode"]) == (name, mode)
    assert summary["early_stop_test_accuracy"] == history[f"val_{name}"][best]
    assert summary["final_test_accuracy"] == history[f"val_{name}"][1]
    assert summary["final_train_accuracy"] == history[name][1]


def test_test_data_judge_by_the_loss(inputs, tmp_path):
    x, y = inputs, inputs[:, :1]
    model = regression()
    run_dir, _ = fit(model, x, y, tmp_path / "run", test_data=(x[:32], y[:32]), levels=0)
    loss = model.evaluate(x[:32], y[:32], verbose=0)
    assert run_dir.summary(Stage(0))["final_test_accuracy"] == pytest.approx(loss)


def test_vae_and_language_model_are_judged_by_their_loss(inputs, tmp_path):
    run_dir, history = fit(vae(), inputs, inputs, tmp_path / "vae")
    summary = run_dir.summary(Stage(1))
    assert summary["metric"] == "loss"
    assert summary["final_test_accuracy"] == history["val_loss"][-1]
    keras.utils.set_random_seed(0)
    layers = [L.Embedding(5, 6, name="embed"), L.GRU(6, return_sequences=True), L.Dense(5)]
    model = keras.Sequential([keras.Input((4,), dtype="int32"), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    tokens = np.random.default_rng(0).integers(0, 5, (64, 5), np.int32)
    run_dir, history = fit(model, tokens[:, :-1], tokens[:, 1:], tmp_path / "lm", metric="loss")
    assert run_dir.summary(Stage(1))["final_test_accuracy"] == history["val_loss"][-1]


@pytest.mark.parametrize(
    "metrics, options, name, mode",
    [
        ({"a": ["accuracy"], "b": ["mae"]}, {}, "a_accuracy", "max"),
        ({"a": ["accuracy"], "b": ["mae"]}, {"metric": "b_mae"}, "b_mae", "min"),
        (None, {}, "loss", "min"),
        (None, {"metric": "val_b_loss"}, "b_loss", "min"),
    ],
    ids=["accuracy", "mae", "none", "an output's loss"],
)
def test_several_outputs(inputs, tmp_path, metrics, options, name, mode):
    labels = {"a": inputs[:, :3].argmax(1), "b": inputs[:, :1]}
    run_dir, history = fit(two_outputs(metrics), inputs, labels, tmp_path / "run", **options)
    summary = run_dir.summary(Stage(1))
    assert (summary["metric"], summary["mode"]) == (name, mode)
    assert summary["final_test_accuracy"] == history[f"val_{name}"][-1]


def closeness(labels, outputs):
    return -keras.ops.abs(labels - outputs)


def test_direction_that_nobody_knows_is_asked_for_before_anything_is_recorded(inputs, tmp_path):
    x, y = inputs, inputs[:, :1]
    with pytest.raises(UsageError, match="metric='closeness'. Give mode=\"max\" if larger"):
        fit(regression([closeness]), x, y, tmp_path / "run", metric="closeness")
    assert RunDir(tmp_path / "run").finished() == []
    run_dir, _ = fit(
        regression([closeness]), x, y, tmp_path / "told", metric="closeness", mode="max"
    )
    assert run_dir.summary(Stage(1))["mode"] == "max"
    with pytest.raises(UsageError, match='metric=None and mae. metric="loss" judges by'):
        fit(regression(["mae"]), x, y, tmp_path / "which")
    with pytest.raises(UsageError, match="Expected mode to be text one of auto, min, max"):
        TicketCallback(tmp_path / "mode", epochs_per_level=1, levels=1, mode="smaller")


def summary(level, value, iteration=100, metric="mae", mode="min"):
    return {
        "level": level,
        "density": 0.8**level,
        "early_stop_iteration": iteration,
        "early_stop_test_accuracy": value,
        "metric": metric,
        "mode": mode,
    }


def test_smaller_errors_win():
    dense, better, worse = summary(0, 0.30), summary(1, 0.25), summary(2, 0.35)
    assert wins(better, dense)
    assert not wins(worse, dense)
    assert wins(worse, dense, tolerance=0.06)
    assert not wins(worse, dense, tolerance=0.04)
    larger = [summary(n, v, mode="max") for n, v in enumerate((0.30, 0.25, 0.35))]
    assert [wins(ticket, larger[0]) for ticket in larger[1:]] == [False, True]


def test_numbers_are_printed_in_their_own_unit(inputs, tmp_path, capsys):
    x, y = inputs, inputs[:, :1]
    run_dir, history = fit(
        regression(["mae"]), x, y, tmp_path / "mae", metric="mae", epochs_per_level=1, verbose=1
    )
    value = judging.text(history["val_mae"][0], "mae")
    line = capsys.readouterr().out.splitlines()[0]
    assert value.startswith("mae 0.") and line == (
        "level 0: 100.00 % remaining, early stop at iteration 3 with "
        + value
        + f", {value} at the last"
    )
    assert value in outcome(run_dir) and "% at" not in outcome(run_dir)
    options = ReportOptions(output_dir=str(tmp_path / "report"))
    page = report([str(run_dir.path)], options)[0].read_text()
    assert "Validation mae at early stop" in page and "final validation mae" in page
    assert "accuracy" not in page.partition("<details>")[2].partition("<script")[0]
    rows = list(csv.DictReader((tmp_path / "report" / "levels.csv").read_text().splitlines()))
    assert float(rows[0]["final_accuracy"]) == pytest.approx(history["val_mae"][0], rel=1e-5)
    assert {row["metric"] for row in rows} == {"mae"}


@pytest.mark.parametrize(
    "name, mode",
    [("val_loss", "min"), ("decoder_loss", "min"), ("weighted_acc", "max"), ("accuracy", "max")],
)
def test_direction_by_name(name, mode):
    assert judging.direction(name) == mode


@pytest.mark.parametrize(
    "metric, mode",
    [
        (keras.metrics.AUC(name="auc"), "max"),
        (keras.metrics.Precision(name="precision"), "max"),
        (keras.metrics.MeanAbsolutePercentageError(name="mape"), "min"),
        (keras.metrics.KLDivergence(name="kl"), "min"),
        (keras.metrics.CosineSimilarity(name="cosine"), "max"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_direction_as_keras_knows_it(metric, mode):
    assert judging.direction(metric.name, [metric]) == mode
    assert judging.direction(f"head_{metric.name}", [metric]) == mode


@pytest.mark.parametrize(
    "wrong", [{"metric": "nope"}, {}, {"metric": "own"}], ids=["unknown", "none", "no direction"]
)
def test_a_mistake_in_the_metric_leaves_a_folder_that_the_mended_fit_can_use(tmp_path, wrong):
    def own(y_true, y_pred):
        return keras.ops.mean(keras.ops.abs(y_true - y_pred))

    def fit(**options):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(1)])
        model.compile("adam", "mse", metrics=["mae", own])
        x = np.random.default_rng(0).random((32, 4)).astype(np.float32)
        tickets = TicketCallback(
            tmp_path / "run", epochs_per_level=1, levels=1, verbose=0, **options
        )
        model.fit(
            x,
            x.sum(1),
            validation_data=(x, x.sum(1)),
            epochs=tickets.epochs,
            callbacks=[tickets],
            verbose=0,
        )
        return tickets.run_dir

    with pytest.raises(UsageError):
        fit(**wrong)
    assert not list(tmp_path.rglob("*.npz"))
    assert [stage.level for stage in fit(metric="mae").finished()] == [0, 1]


def test_a_mistake_does_not_take_an_earlier_run_away(tmp_path):
    x = np.random.default_rng(0).random((32, 4)).astype(np.float32)

    def fit(levels, **arguments):
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(8, name="a"), keras.layers.Dense(1, name="b")],
            name="m",
        )
        model.compile("adam", "mse")
        tickets = TicketCallback(tmp_path / "run", epochs_per_level=1, levels=levels, verbose=0)
        model.fit(x, x.sum(1), epochs=tickets.epochs, callbacks=[tickets], verbose=0, **arguments)
        return tickets.run_dir

    run_dir = fit(0, validation_data=(x, x.sum(1)))
    with pytest.raises(UsageError):
        fit(1)  # no validation
    assert len(run_dir.finished()) == 1 and run_dir.has_origin()
