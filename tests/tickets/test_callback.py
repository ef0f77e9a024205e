import csv

import keras
import numpy as np
import pytest
from keras import layers as L
from sklearn.datasets import load_digits

from experiments.report import ReportOptions, report
from lth_tf import pruning
from lth_tf.config import ExperimentConfig
from lth_tf.errors import RunError, UsageError
from lth_tf.masking.model import get_masks, get_weights
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets.callback import TicketCallback

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(scope="module")
def data():
    inputs, labels = load_digits(return_X_y=True)
    return (inputs / 16).astype(np.float32)[:640], labels[:640].astype(np.int32)


def new_model(optimizer="adam", **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            L.Dense(20, "relu", name="fc1"),
            L.BatchNormalization(name="norm"),
            L.Dense(10, name="output"),
        ],
        name="small",
    )
    model.compile(optimizer, LOSS, metrics=["accuracy"], **options)
    return model


def fit(model, data, callback, *others, **options):
    options = {"epochs": callback.epochs, "verbose": 0, "validation_split": 0.25, **options}
    return model.fit(*data, callbacks=[callback, *others], **options)


def tickets_in(folder, **options):
    options = {"epochs_per_level": 2, "levels": 2, "verbose": 0, **options}
    return TicketCallback(folder, **options)


class Starts(keras.callbacks.Callback):
    """Keeps weights and optimizer at the start of every epoch, and checks every batch."""

    def __init__(self):
        super().__init__()
        self.weights, self.optimizer, self.leaks = [], [], 0

    def on_epoch_begin(self, epoch, logs=None):
        self.weights.append(get_weights(self.model))
        self.optimizer.append([np.array(v) for v in self.model.optimizer.variables])

    def on_train_batch_end(self, batch, logs=None):
        for path, mask in get_masks(self.model).items():
            layer, _ = path.split("/")
            stored = np.array(self.model.get_layer(layer)._kernel)
            self.leaks += int(np.count_nonzero(stored[mask == 0]))


def test_levels_are_those_of_the_trainer(data, tmp_path):
    callback = tickets_in(tmp_path / "run", prune_rates={"fc": 0.2, "output": 0.1})
    fit(new_model(), data, callback)
    config = ExperimentConfig(levels=2, prune_rate_fc=0.2, prune_rate_output=0.1)
    rates = pruning.layer_rates(
        {"fc1/kernel": "fc", "output/kernel": "output"}, config.prune_rates()
    )
    planned = config.method.plan({"fc1/kernel": 1280, "output/kernel": 200}, rates, config)
    assert planned == [1480, 1204, 981]
    run_dir = callback.run_dir
    assert [run_dir.summary(Stage(n))["remaining"] for n in range(3)] == planned
    for level in (1, 2):
        kept, before = run_dir.mask(Stage(level)), run_dir.mask(Stage(level - 1))
        trained = run_dir.trained(Stage(level - 1))
        for path in kept:
            pruned = (kept[path] == 0) & (before[path] == 1)
            magnitude = np.abs(trained[path])
            assert magnitude[pruned].max() <= magnitude[kept[path] == 1].min()


@pytest.mark.parametrize(
    "optimizer",
    [
        "adam",
        keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        keras.optimizers.AdamW(1e-3, weight_decay=0.1, clipnorm=1.0),
    ],
    ids=["adam", "momentum", "adamw"],
)
def test_every_level_starts_afresh_and_pruned_weights_stay_zero(data, tmp_path, optimizer):
    optimizer = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(keras.optimizers.get(optimizer))
    )
    callback, starts = tickets_in(tmp_path / "run"), Starts()
    model = new_model(optimizer)
    before = get_weights(model)
    fit(model, data, callback, starts)
    assert starts.leaks == 0
    assert len(starts.weights) == 6
    for level, epoch in enumerate((0, 2, 4)):
        masks = callback.run_dir.mask(Stage(level))
        for path, value in starts.weights[epoch].items():
            np.testing.assert_array_equal(value, before[path] * masks.get(path, 1))
        rate = optimizer.variables.index(optimizer.learning_rate) if level else None
        for i, value in enumerate(starts.optimizer[epoch]):
            assert i == rate or level == 0 or not value.any()
    moved = starts.weights[3]["norm/moving_mean"]
    assert (moved != before["norm/moving_mean"]).any()
    assert get_masks(model)["fc1/kernel"].sum() == 819  # 1280 * 0.8 * 0.8


def test_learning_rate_schedule_restarts(data, tmp_path):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([15], [0.1, 0.01])
    seen = []

    class Rates(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(
                (int(self.model.optimizer.iterations), float(self.model.optimizer.learning_rate))
            )

    fit(new_model(keras.optimizers.SGD(schedule)), data, tickets_in(tmp_path / "run"), Rates())
    expected = [(0, 0.1), (15, 0.1)]  # 480 examples are 15 batches
    assert [(n, round(rate, 6)) for n, rate in seen] == expected * 3


def test_rewinding_to_an_epoch(data, tmp_path):
    callback, starts = tickets_in(tmp_path / "run", rewind_epoch=1), Starts()
    assert callback.epochs == 1 + 3 * 2
    fit(new_model(), data, callback, starts)
    assert callback.epochs == 0
    origin = callback.run_dir.origin()
    assert (origin["norm/moving_mean"] != starts.weights[0]["norm/moving_mean"]).any()
    for level, epoch in enumerate((1, 3, 5)):
        masks = callback.run_dir.mask(Stage(level))
        for path, value in starts.weights[epoch].items():
            np.testing.assert_array_equal(value, origin[path] * masks.get(path, 1))


def test_level_callbacks_live_one_level(data, tmp_path):
    seen, batches = [], []

    class Epochs(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append("begin")

        def on_epoch_begin(self, epoch, logs=None):
            seen.append(epoch)

        def on_train_batch_end(self, batch, logs=None):
            batches.append(batch)

        def on_train_end(self, logs=None):
            seen.append("end")

    never_better = keras.callbacks.EarlyStopping("val_loss", min_delta=1e9, patience=1)
    callback = tickets_in(
        tmp_path / "run", epochs_per_level=5, levels=1, level_callbacks=[Epochs(), never_better]
    )
    history = fit(new_model(), data, callback)
    # The first epoch counts as better than none, the next one ends the level.
    assert seen == ["begin", 0, 1, "end"] * 2
    assert len(batches) == 4 * 15
    assert len(history.history["loss"]) == 4
    assert [callback.run_dir.summary(Stage(n))["iterations"] for n in (0, 1)] == [30, 30]


def test_early_stopping_of_fit_ends_fit_and_another_fit_goes_on(data, tmp_path, capsys):
    model = new_model()
    stop = keras.callbacks.EarlyStopping("val_loss", min_delta=1e9, patience=2)
    fit(model, data, tickets_in(tmp_path / "run"), stop)
    assert RunDir(tmp_path / "run").finished() == [Stage(0)]
    callback = tickets_in(tmp_path / "run")
    assert callback.epochs == 4
    fit(model, data, callback)
    assert callback.run_dir.finished() == [Stage(0), Stage(1), Stage(2)]


def test_test_data_judge_the_best_and_the_last_weights(data, tmp_path):
    inputs, labels = data
    callback = tickets_in(tmp_path / "run", levels=0, epochs_per_level=3, test_data=data)
    model = new_model(keras.optimizers.SGD(0.5))
    fit(model, (inputs[:480], labels[:480]), callback)
    summary = callback.run_dir.summary(Stage(0))
    accuracy = model.evaluate(inputs, labels, verbose=0, return_dict=True)["accuracy"]
    assert summary["final_test_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    history = callback.run_dir.history(Stage(0))
    best = int(history["validation_loss"].argmin())
    assert summary["early_stop_iteration"] == history["iteration"][best]
    assert np.isnan(history["test_accuracy"]).all()
    if best == 2:
        assert summary["early_stop_test_accuracy"] == summary["final_test_accuracy"]


def test_without_test_data_the_validation_data_judge(data, tmp_path):
    callback = tickets_in(tmp_path / "run", levels=0)
    history = fit(new_model(), data, callback).history
    summary = callback.run_dir.summary(Stage(0))
    best = int(np.argmin(history["val_loss"]))
    assert summary["early_stop_test_accuracy"] == history["val_accuracy"][best]
    assert summary["final_test_accuracy"] == history["val_accuracy"][-1]
    assert callback.run_dir.config().judged_on == "validation data"


@pytest.mark.parametrize(
    "options", [{"jit_compile": True}, {"steps_per_execution": 5}, {"run_eagerly": True}], ids=str
)
def test_ways_of_compiling(data, tmp_path, options):
    callback, starts = tickets_in(tmp_path / "run", levels=1), Starts()
    fit(new_model(**options), data, callback, starts)
    assert callback.run_dir.finished() == [Stage(0), Stage(1)]
    assert starts.leaks == 0


def test_tf_data_and_separate_validation(data, tmp_path):
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices(data).batch(64)
    callback = tickets_in(tmp_path / "run", levels=1, test_data=batches)
    history = new_model().fit(
        batches,
        validation_data=batches,
        epochs=callback.epochs,
        callbacks=[callback],
        shuffle=False,
        verbose=0,
    )
    summary = callback.run_dir.summary(Stage(1))
    assert summary["iterations"] == 20
    assert summary["final_test_accuracy"] == history.history["val_accuracy"][-1]


def test_mixed_precision(data, tmp_path):
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        model = new_model()
        assert model.get_layer("fc1").compute_dtype == "float16"
        callback, starts = tickets_in(tmp_path / "run", levels=1), Starts()
        fit(model, data, callback, starts)
        layer = model.get_layer("fc1")
        assert layer(data[0][:2]).dtype == "float16"
        assert layer._kernel.dtype == "float32"
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert starts.leaks == 0
    assert callback.run_dir.summary(Stage(1))["remaining"] == 1184


def test_skip_and_global_scope(data, tmp_path):
    callback = tickets_in(tmp_path / "run", skip=["output"], prune_rates=0.5, levels=1)
    fit(new_model(), data, callback)
    assert list(callback.run_dir.mask(Stage(1))) == ["fc1/kernel"]
    both = tickets_in(tmp_path / "both", scope="global", prune_rates=0.5, levels=1)
    fit(new_model(), data, both)
    kept = {path: int(mask.sum()) for path, mask in both.run_dir.mask(Stage(1)).items()}
    assert sum(kept.values()) == 740
    assert kept["output/kernel"] != 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": -1}, "Expected levels to be a whole number in"),
        ({"epochs_per_level": 0}, "Expected epochs_per_level"),
        ({"method": "snip"}, "Received: method='snip'"),
        ({"prune_rates": 1.0}, "Expected prune rates in"),
        ({"prune_rates": {"dense": 0.2}}, "Received: 'dense'"),
        ({"prune_rates": 0.999, "levels": 2}, "would prune the last weight"),
        ({"metric": "f1"}, "Received: metric='f1' and accuracy"),
        ({"skip": ["nothing"]}, "Received: 'nothing'"),
    ],
    ids=str,
)
def test_wrong_arguments(data, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        fit(new_model(), data, tickets_in(tmp_path / "run", **options))


def test_validation_is_needed(data, tmp_path):
    with pytest.raises(UsageError, match="Give fit validation_data= or validation_split="):
        fit(new_model(), data, tickets_in(tmp_path / "run"), validation_split=0.0)


def test_other_arguments_are_refused_and_nothing_is_touched(data, tmp_path):
    fit(new_model(), data, tickets_in(tmp_path / "run", levels=0))
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with pytest.raises(UsageError, match="epochs_per_level=2, not 3"):
        fit(new_model(), data, tickets_in(tmp_path / "run", levels=0, epochs_per_level=3), epochs=1)
    assert {p: p.read_bytes() for p in before} == before


def test_loss_that_is_not_finite(data, tmp_path):
    with pytest.raises(RunError, match="is not finite at epoch 1 of level_00"):
        fit(new_model(keras.optimizers.SGD(1e30)), data, tickets_in(tmp_path / "run"))


def test_finished_run_leaves_the_last_network_in_the_model(data, tmp_path):
    first = new_model()
    fit(first, data, tickets_in(tmp_path / "run"))
    again = new_model()
    callback = tickets_in(tmp_path / "run")
    assert callback.epochs == 0
    fit(again, data, callback, epochs=3)
    for path, value in get_weights(first).items():
        np.testing.assert_array_equal(get_weights(again)[path], value)


def test_the_report_draws_it(data, tmp_path, finished_run):
    fit(new_model(), data, tickets_in(tmp_path / "run"))
    folders = [str(tmp_path / "run"), str(finished_run.path)]
    files = report(folders, ReportOptions(output_dir=str(tmp_path / "report")))
    rows = list(csv.DictReader((tmp_path / "report" / "levels.csv").read_text().splitlines()))
    assert [r["remaining"] for r in rows if r["series"] == "small"] == [
        "100.0",
        "80.0",
        "63.99",
    ]
    assert {r["experiment"] for r in rows} == {"small", "lenet"}
    page = files[0].read_text()
    assert page.count("All its accuracies are those on the validation data.") == 1
