"""How dense each layer of a network is, before anything is known of its weights."""

from collections.abc import Mapping

from lth_tf.pruning.select import size

Shapes = Mapping[str, int | tuple[int, ...]]


def erk(shapes: Shapes, density: float) -> dict[str, float]:
    """Returns layer densities in proportion to the sum of the dimensions over their product.

        density_l = min(1, epsilon * sum(shape_l) / prod(shape_l))

    Epsilon is such that all layers together have the density asked for; layers that
    would be more than dense are dense.

    Args:
        shapes: weight path -> shape.
        density: fraction of all weights to keep.

    Source:
        Evci et al. 2020, arXiv:1911.11134, section 3 (Erdos-Renyi-Kernel).

    Example:
    >>> lenet = {"fc1": (784, 300), "fc2": (300, 100), "output": (100, 10)}
    >>> {path: round(value, 4) for path, value in erk(lenet, 0.1).items()}
    {'fc1': 0.0796, 'fc2': 0.2302, 'output': 1.0}
    """
    factors = {
        path: sum((shape,) if isinstance(shape, int) else shape) / size(shape)
        for path, shape in shapes.items()
    }
    sizes = {path: size(shape) for path, shape in shapes.items()}
    return in_proportion(sizes, factors, density * sum(sizes.values()))


def smart_ratio(shapes: Shapes, density: float) -> dict[str, float]:
    """Returns layer densities that fall towards the output, whose layer has 0.3.

        density_l ~ (L - l + 1)^2 + (L - l + 1),  l = 1, ..., L

    What would be more than dense is dense, and its excess goes to the others. The last layer
    has more where these cannot take it, and less where it would be more than all.

    Args:
        shapes: weight path -> shape, in the order of the layers.
        density: fraction of all weights to keep.

    Source:
        Su et al. 2020, arXiv:2009.11094, section 5.

    Example:
    >>> sizes = {"a": 100, "b": 100, "output": 10}
    >>> {path: round(value, 3) for path, value in smart_ratio(sizes, 0.1).items()}
    {'a': 0.12, 'b': 0.06, 'output': 0.3}
    """
    sizes = {path: size(shape) for path, shape in shapes.items()}
    wanted = density * sum(sizes.values())
    *others, last = sizes
    if not others:
        return {last: density}
    from_end = {path: len(sizes) - place for place, path in enumerate(sizes)}
    factors = {path: from_end[path] ** 2 + from_end[path] for path in others}
    room = sum(sizes[path] for path in others)
    of_last = min(0.3 * sizes[last], wanted / 2)
    of_last = max(of_last, wanted - room)
    found = in_proportion({path: sizes[path] for path in others}, factors, wanted - of_last)
    return found | {last: of_last / sizes[last]}


def in_proportion(
    sizes: Mapping[str, int], factors: Mapping[str, float], total: float
) -> dict[str, float]:
    """Returns densities in proportion to factors, at most 1, that keep `total` weights.

    Args:
        sizes: weight path -> number of weights.
        factors: weight path -> positive number.
        total: number of weights to keep.

    Example:
    >>> in_proportion({"a": 10, "b": 10}, {"a": 1, "b": 9}, 12)
    {'a': 0.2, 'b': 1.0}
    """
    dense: set[str] = set()
    while True:
        free = [path for path in sizes if path not in dense]
        left = total - sum(sizes[path] for path in dense)
        scale = left / sum(factors[path] * sizes[path] for path in free) if free else 0.0
        over = {path for path in free if scale * factors[path] > 1}
        if not over:
            return {path: 1.0 if path in dense else scale * factors[path] for path in sizes}
        dense |= over
