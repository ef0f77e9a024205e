"""Masks on every family of keras.applications."""

import keras
import numpy as np
import pytest

import lth_tf.masking.model as m

FAMILIES = {
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "VGG16": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "DenseNet121": 32,
    "Xception": 71,
    "InceptionV3": 75,
    "InceptionResNetV2": 75,
    "NASNetMobile": 32,
    "ConvNeXtTiny": 32,
}
QUICK = ("MobileNetV3Small",)


@pytest.mark.parametrize(
    "family",
    [f if f in QUICK else pytest.param(f, marks=pytest.mark.slow) for f in FAMILIES],
)
@pytest.mark.filterwarnings("ignore:.*retracing")
def test_every_family_of_keras_applications(family, tmp_path):
    size = FAMILIES[family]
    build = getattr(keras.applications, family)
    model = build(weights=None, input_shape=(size, size, 3), classes=10, classifier_activation=None)
    kernels = [v for v in model.trainable_variables if v.name.endswith("kernel")]
    x = np.random.default_rng(0).random((2, size, size, 3)).astype(np.float32)
    before = np.array(model(x))
    m.mask_model(model)
    np.testing.assert_array_equal(np.array(model(x)), before)
    random = np.random.default_rng(0)
    masks = {
        path: random.integers(0, 2, v.shape, np.uint8) for path, v in m.get_masks(model).items()
    }
    assert len(masks) == len(kernels)
    m.set_masks(model, masks)
    pruned = np.array(model(x))
    assert np.abs(pruned - before).max() > 0
    model.save(tmp_path / "model.keras")
    loaded = m.load_model(str(tmp_path / "model.keras"))
    np.testing.assert_array_equal(np.array(loaded(x)), pruned)
    for path, mask in m.get_masks(loaded).items():
        np.testing.assert_array_equal(mask, masks[path])
    np.testing.assert_array_equal(np.array(m.strip_masks(model)(x)), pruned)
