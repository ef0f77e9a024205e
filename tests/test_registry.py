import pytest

from lth_tf.errors import UsageError
from lth_tf.registry import Registry


def make():
    registry = Registry("shape", package="lth_tf.pruning")

    @registry.register("square")
    def square(side):
        return side * side

    return registry


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError) as error:
        make().get("circle")
    assert str(error.value) == "Expected a shape out of square. Received: shape='circle'."


def test_second_item_of_a_name_is_refused():
    registry = make()
    with pytest.raises(ValueError, match="'square', which .*make.<locals>.square already has"):

        @registry.register("square")
        def other(side):
            return side


def test_every_module_of_the_package_is_found():
    from lth_tf.networks import NETWORKS
    from lth_tf.pruning import CRITERIA

    assert {"conv2", "conv4", "conv6", "lenet", "resnet18", "vgg19"} <= set(NETWORKS.names())
    assert {"magnitude", "random"} <= set(CRITERIA.names())


def test_an_object_is_taken_as_well_as_a_name():
    registry = make()

    def cube(side):
        return side**3

    assert registry.get(cube) is cube
    name = registry.name_of(cube)
    assert name.endswith("cube") and registry.get(name) is cube
    assert registry.names() == ["square"]  # what is listed has a file of its own


def test_a_module_that_cannot_be_imported_is_named_every_time(tmp_path, monkeypatch):
    package = tmp_path / "shapes_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from lth_tf.registry import Registry\nSHAPES = Registry('shape', package=__name__)\n"
    )
    good = "import shapes_of_a_test as s\n@s.SHAPES.register({name!r})\ndef f(): return {name!r}\n"
    (package / "square.py").write_text(good.format(name="square"))
    (package / "circle.py").write_text(good.format(name="circle") + "import no_such_module\n")
    (package / "star.py").write_text("def broken(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    from shapes_of_a_test import SHAPES

    with pytest.warns(UserWarning, match="circle cannot be imported .*star cannot be imported"):
        assert SHAPES.names() == ["square"]
    assert SHAPES.get("square")() == "square"
    for _ in range(2):
        with pytest.raises(UsageError) as error:
            SHAPES.get("circle")
        assert "out of square. Received: shape='circle'." in str(error.value)
        assert (
            "shapes_of_a_test.circle cannot be imported "
            "(ModuleNotFoundError: No module named 'no_such_module')." in str(error.value)
        )
        assert "shapes_of_a_test.star cannot be imported (SyntaxError" in str(error.value)
