import keras
import numpy as np
import pytest
from keras import layers as L

from lth_tf.masking.groups import weight_groups
from lth_tf.masking.model import mask_model
from tests.masking.masked_models import sequential


class HeadFirst(keras.Model):
    def __init__(self):
        super().__init__()
        self.head = L.Dense(3, name="head")
        self.body = L.Dense(8, name="body")

    def build(self, shape):
        self.head.build((None, 8))
        self.body.build((None, 6))
        self.built = True

    def call(self, x):
        return self.head(self.body(x))


class LazyHeadFirst(HeadFirst):
    build = keras.Model.build


class Composed(L.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.second, self.first = L.Dense(3, name="second"), L.Dense(4, name="first")

    def build(self, shape):
        self.first.build(shape)
        self.second.build((None, 4))

    def call(self, x):
        return self.second(self.first(x))


def head_first():
    model = HeadFirst()
    model.build((None, 6))
    return model


def lazy_head_first():
    model = LazyHeadFirst()
    model(np.ones((1, 6), np.float32))
    return model


def heads():
    inputs = keras.Input((6,))
    hidden = L.Dense(8, name="body")(inputs)
    return keras.Model(
        inputs, {"a": L.Dense(3, name="a")(hidden), "b": L.ReLU()(L.Dense(1, name="b")(hidden))}
    )


def head_made_first_in_functional():
    head, body = L.Dense(3, name="head"), L.Dense(8, name="body")
    head.build((None, 8))
    inputs = keras.Input((6,))
    return keras.Model(inputs, L.Softmax()(head(body(inputs))))


def nested():
    inner = sequential(L.Dense(8, name="a"), L.Dense(4, name="b"), name="inner")
    return sequential(L.Dense(6, name="first"), inner, L.ReLU())


def attention():
    inputs = keras.Input((5, 6))
    return keras.Model(inputs, L.MultiHeadAttention(2, 3, name="mha")(inputs, inputs))


@pytest.mark.parametrize(
    "build, outputs",
    [
        (head_first, {"head/kernel"}),
        (lazy_head_first, {"head/kernel"}),
        (heads, {"a/kernel", "b/kernel"}),
        (head_made_first_in_functional, {"head/kernel"}),
        (nested, {"inner/b/kernel"}),
        (attention, {"mha/attention_output/kernel"}),
        (lambda: sequential(L.Dense(4, name="d"), Composed(name="c")), {"c/second/kernel"}),
    ],
)
def test_output_is_the_last_in_the_graph(build, outputs):
    groups = weight_groups(mask_model(build()))
    assert {path for path, group in groups.items() if group == "output"} == outputs
    assert {group for path, group in groups.items() if path not in outputs} <= {"fc"}
