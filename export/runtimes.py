"""Runs exported files in stock runtimes. A program of its own.

`export.verify` and `export.latency` start it by its path: it knows nothing of
lth_tf, so a file that runs here runs wherever its runtime is installed.

    python runtimes.py run FILE EXAMPLES.npy FOLDER NAME...
    python runtimes.py time SECONDS NAME FILE OTHER_FILE EXAMPLES.npy

`run` prints the name of each runtime, a JSON string a line, before it starts, and
writes the outputs to FOLDER/NAME.npy. `time` prints a JSON list with the
milliseconds that one example takes in each of the two files.
"""

import json
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

Runner = Callable[[np.ndarray], np.ndarray]
"""Takes a batch of examples and returns the outputs."""

_BATCH = 64  # examples, after a batch of 1 and a batch of 7
_ROUNDS = 30


def litert(path: str) -> Runner:
    """Opens a .tflite file with ai_edge_litert."""
    from ai_edge_litert.interpreter import Interpreter

    return _Interpreter(Interpreter(path, num_threads=1))


def tf_lite(path: str) -> Runner:
    """Opens a .tflite file with the interpreter in TensorFlow."""
    import tensorflow as tf

    return _Interpreter(tf.lite.Interpreter(path, num_threads=1))


def saved_model(path: str) -> Runner:
    """Opens a SavedModel with tf.saved_model.load."""
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    signature = loaded.signatures["serving_default"]

    def run(examples, _keep_alive=loaded):
        return signature(inputs=tf.constant(examples))["outputs"].numpy()

    return run


def session(path: str) -> Runner:
    """Opens a SavedModel with TensorFlow 1's loader."""
    import tensorflow as tf

    graph = tf.Graph()
    with graph.as_default():
        opened = tf.compat.v1.Session(graph=graph)
        signature = tf.compat.v1.saved_model.load(opened, ["serve"], path).signature_def
    inputs = signature["serving_default"].inputs["inputs"].name
    outputs = signature["serving_default"].outputs["outputs"].name
    return lambda examples: opened.run(outputs, {inputs: examples})


def tfsm_layer(path: str) -> Runner:
    """Opens a SavedModel as a Keras layer."""
    import keras

    layer = keras.layers.TFSMLayer(path, call_endpoint="serving_default")
    return lambda examples: layer(examples)["outputs"].numpy()


def keras_file(path: str) -> Runner:
    """Opens a .keras file."""
    import keras

    model = keras.models.load_model(path, compile=False)
    return lambda examples: np.asarray(model.predict_on_batch(examples))


RUNTIMES: dict[str, Callable[[str], Runner]] = {
    "ai_edge_litert": litert,
    "tf.lite": tf_lite,
    "tf.saved_model.load": saved_model,
    "tf.compat.v1.saved_model.load": session,
    "keras.layers.TFSMLayer": tfsm_layer,
    "keras.models.load_model": keras_file,
}


class _Interpreter:
    """A `Runner` of a .tflite file."""

    def __init__(self, interpreter):
        self._interpreter = interpreter
        self._shape = None

    def __call__(self, examples: np.ndarray) -> np.ndarray:
        self.prepare(examples)()
        (outputs,) = self._interpreter.get_output_details()
        return _to_float(self._interpreter.get_tensor(outputs["index"]), outputs)

    def prepare(self, examples: np.ndarray) -> Callable[[], None]:
        """Returns the call that computes, without copying examples in and outputs out."""
        interpreter = self._interpreter
        (inputs,) = interpreter.get_input_details()
        if examples.shape != self._shape:
            self._shape = examples.shape
            interpreter.resize_tensor_input(inputs["index"], examples.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(inputs["index"], _to_type(examples, inputs))
        return interpreter.invoke


def _to_type(examples: np.ndarray, details: dict) -> np.ndarray:
    if details["dtype"] not in (np.int8, np.uint8):
        return examples
    scale, zero = details["quantization"]
    limits = np.iinfo(details["dtype"])
    return np.clip(np.rint(examples / scale) + zero, limits.min, limits.max).astype(limits.dtype)


def _to_float(outputs: np.ndarray, details: dict) -> np.ndarray:
    if details["dtype"] not in (np.int8, np.uint8):
        return outputs
    scale, zero = details["quantization"]
    return ((outputs.astype(np.float32) - zero) * scale).astype(np.float32)


def _batches(examples: np.ndarray) -> Iterator[np.ndarray]:
    yield examples[:1]
    if len(examples) > 1:
        yield examples[1:8]
    for start in range(8, len(examples), _BATCH):
        yield examples[start : start + _BATCH]


def run(path: str, examples_path: str, folder: str, *names: str) -> None:
    """Writes the outputs of a file in each of the named runtimes."""
    examples = np.load(examples_path)
    for name in names:
        print(json.dumps(name), flush=True)
        runner = RUNTIMES[name](path)
        outputs = np.concatenate([runner(batch) for batch in _batches(examples)])
        np.save(pathlib.Path(folder, f"{name}.npy"), outputs)


def time_both(seconds: str, name: str, path: str, other: str, examples_path: str) -> None:
    """Prints the milliseconds of one example in two files, measured in turn.

    One thread. In every round each file runs for the same time; the result is the
    median over the rounds.
    """
    if not name.startswith("ai_edge"):
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    example = np.load(examples_path)[:1]
    calls = [_call(RUNTIMES[name](file), example) for file in (path, other)]
    slice_seconds = float(seconds) / (2 * _ROUNDS + 2)
    for call in calls:
        _milliseconds(call, slice_seconds)
    rounds = [[_milliseconds(call, slice_seconds) for call in calls] for _ in range(_ROUNDS)]
    print(json.dumps([statistics.median(column) for column in zip(*rounds, strict=True)]))


def _call(runner: Runner, example: np.ndarray) -> Callable[[], object]:
    """Returns the call to time."""
    if isinstance(runner, _Interpreter):
        return runner.prepare(example)
    return lambda: runner(example)


def _milliseconds(call: Callable[[], object], seconds: float) -> float:
    calls, start = 0, time.perf_counter()
    while True:
        call()
        calls += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return 1000 * elapsed / calls


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    {"run": run, "time": time_both}[sys.argv[1]](*sys.argv[2:])
