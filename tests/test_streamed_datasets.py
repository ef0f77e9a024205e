"""Where streamed examples come from: folders of images and the files of TFDS."""

import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from lth_tf import datasets
from lth_tf.datasets.preprocessing import decode_cropped
from lth_tf.datasets.records import Records, _order
from lth_tf.errors import UsageError

SHAPE = (8, 8, 3)


def png(image):
    return tf.io.encode_png(np.uint8(image)).numpy()


@pytest.fixture
def images(tmp_path):
    """Images of one colour and unequal sizes: red cats, green dogs."""
    for part, count in (("train", 12), ("val", 4)):
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(count):
                image = np.zeros((9 + number, 20 - number, 3), np.uint8)
                image[..., label] = 100 + number
                (tmp_path / part / name / f"{number:02}.PNG").write_bytes(png(image))
    (tmp_path / "train" / "dog" / "notes.txt").write_text("no image")
    return tmp_path


def test_a_folder_of_images(images):
    data = datasets.load("folder", image_shape=SHAPE, data_dir=str(images), validation_size=5)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [19, 5, 8]
    assert data.classes == 2 and data.image_shape == SHAPE and data.train.dtype == np.uint8
    assert data.test.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert data.test.inputs[:, 0, 0].tolist() == [
        *([value, 0, 0] for value in (100, 101, 102, 103)),
        *([0, value, 0] for value in (100, 101, 102, 103)),
    ]
    both = np.concatenate([data.train.labels, data.validation.labels])
    assert np.bincount(both).tolist() == [12, 12]


def test_streamed_it_is_the_same_examples(images):
    options = {"image_shape": SHAPE, "data_dir": str(images), "validation_size": 5}
    memory, stream = (datasets.load("folder", **options, stream=s) for s in (False, True))
    assert stream.is_streamed and not memory.is_streamed
    for name in ("train", "validation", "test"):
        one, other = getattr(memory, name), getattr(stream, name)
        np.testing.assert_array_equal(one.inputs, other.inputs)
        np.testing.assert_array_equal(one.labels, other.labels)
    before = stream.checksum
    assert datasets.load("folder", **options, stream=True).checksum == before
    os.rename(images / "train/cat/00.PNG", images / "train/cat/0.PNG")
    assert datasets.load("folder", **options, stream=True).checksum != before


def test_a_folder_without_a_test_set_gives_a_tenth(images):
    options = {"image_shape": SHAPE, "data_dir": str(images / "train")}
    data = datasets.load("folder", **options, stream=True)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [20, 2, 2]


def test_folders_that_hold_no_images(images):
    for folder, message in (
        ("", "one folder a class, as data_dir. Received: data_dir=''."),
        (str(images / "none"), "Received: data_dir='.*none'."),
        (str(images / "train" / "cat"), "in .*train/cat/CLASS/. Received: 0 of 0 classes."),
    ):
        with pytest.raises(UsageError, match=message):
            datasets.load("folder", image_shape=SHAPE, data_dir=folder)


def test_the_middle_of_an_image():
    """7/8 of the shorter side of 16: rows 1 to 14, columns 9 to 22 of 32."""
    image = np.zeros((16, 32, 1), np.uint8)
    image[1:15, 9:23] = 200
    found = decode_cropped(png(image), (14, 14, 1), None).numpy()
    assert found.shape == (14, 14, 1) and (found == 200).all()
    wide = decode_cropped(png(image), (7, 14, 1), None).numpy()
    # Half as high: columns 2 to 29.
    assert (wide[:, :3] == 0).all() and (wide[:, 4:10] == 200).all()


def test_random_parts_of_an_image():
    """Parts of a ramp over the columns: their widths and places differ, some are flipped."""
    ramp = np.tile(np.arange(0, 240, dtype=np.uint8)[None, :, None], (240, 1, 1))
    encoded = png(ramp)
    found = [
        decode_cropped(encoded, (4, 24, 1), tf.constant([3, i], tf.int64))
        .numpy()[0, :, 0]
        .astype(int)
        for i in range(60)
    ]
    rises = [int(row[-1] - row[0]) for row in found]
    assert 15 < sum(rise < 0 for rise in rises) < 45
    widths = np.abs(rises) / 23 * 24
    # 8 % of the area with sides of 3:4 is 59 of 240 pixels wide.
    assert widths.min() > 50 and widths.max() > 150 and len(set(rises)) > 30
    again = decode_cropped(encoded, (4, 24, 1), tf.constant([3, 7], tf.int64)).numpy()
    assert again[0, :, 0].astype(int).tolist() == found[7].tolist()


def test_records_of_several_files_are_numbered_as_tfds_reads_them():
    """16 files at once, 16 records of each in turn."""
    found = _order([20, 17, 3])
    assert found.tolist() == [*range(16), *range(20, 36), *range(37, 40), *range(16, 20), 36]


class Features(dict):
    """A TFDS description of records that hold an image file and a label."""

    def __init__(self, shape):
        super().__init__(image=tf.TensorSpec(shape, tf.uint8))

    def deserialize_example(self, raw, decoders=None):
        kinds = {
            k: tf.io.FixedLenFeature((), t) for k, t in (("image", tf.string), ("label", tf.int64))
        }
        found = tf.io.parse_single_example(raw, kinds)
        if not decoders:
            found["image"] = tf.io.decode_png(found["image"])
        return found


def record(image, label):
    feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[png(image)])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def test_records_are_read_at_any_place(tmp_path):
    files = [str(tmp_path / f"{n}.tfrecord") for n in "ab"]
    for place, (file, count) in enumerate(zip(files, (3, 2), strict=True)):
        with tf.io.TFRecordWriter(file) as writer:
            for number in range(count):
                writer.write(record(np.full((10 + number, 12, 3), 10 * place + number), number))
    varied = Records(files, Features((None, None, 3)), SHAPE)
    assert len(varied) == 5 and varied.varied and varied.input_shape == SHAPE
    one = [varied.example(tf.constant(i, tf.int64), None) for i in range(5)]
    assert [int(image[0, 0, 0]) for image, _ in one] == [0, 1, 2, 10, 11]
    assert [int(label) for _, label in one] == [0, 1, 2, 0, 1]
    assert int(varied.label(tf.constant(4, tf.int64))) == 1
    assert varied.name(3) == f"{files[1]}, byte 12"
    sums = varied.fingerprints(np.arange(5))
    assert len(set(sums.tolist())) == 5
    content = pathlib.Path(files[0]).read_bytes()
    pathlib.Path(files[0]).write_bytes(content[:-7])
    with pytest.raises(UsageError, match=r"Expected a whole TFRecord file. Received: .*a.tfrecord"):
        Records(files, Features((None, None, 3)), SHAPE)


needs_cifar10 = pytest.mark.skipif(
    not list(
        pathlib.Path("~/tensorflow_datasets/cifar10").expanduser().glob("*/dataset_info.json")
    ),
    reason="CIFAR-10 is not prepared on this machine",
)


@needs_cifar10
def test_a_streamed_tfds_set_has_the_examples_of_that_in_memory():
    memory = datasets.load("cifar10", image_shape=(32, 32, 3), validation_size=49_990)
    stream = datasets.load("cifar10", image_shape=(32, 32, 3), validation_size=49_990, stream=True)
    assert len(stream.train) == 10 and len(stream.test) == 10_000
    np.testing.assert_array_equal(memory.train.inputs, stream.train.inputs)
    np.testing.assert_array_equal(memory.train.labels, stream.train.labels)
    chosen = np.array([0, 4_999, 9_999])
    np.testing.assert_array_equal(memory.test.inputs[chosen], stream.test.read(chosen).inputs)
    np.testing.assert_array_equal(memory.test.labels, stream.test.labels)
