"""What a scope is."""

from collections.abc import Mapping
from fractions import Fraction

from lth_tf.pruning import select

Shapes = Mapping[str, int | tuple[int, ...]]
Rates = Mapping[str, float | Fraction]


class Scope:
    """Which layers are ranked together, and how many weights they keep; here each its own rate.

    A pool is what is ranked together; its name is that of a layer's weight where it is one.
    """

    def pools(self, rates: Rates) -> dict[str, list[str]]:
        """Returns pool -> paths of the weights that are ranked together.

        Args:
            rates: weight path -> fraction to prune; those in a pool share their rate.
        """
        return {path: [path] for path in rates}

    def kept(
        self, sizes: Mapping[str, int], rates: Rates, shapes: Mapping[str, list]
    ) -> dict[str, int]:
        """Returns pool -> number of weights it keeps.

        Args:
            sizes: pool -> number of weights that the rates are fractions of.
            rates: pool -> fraction of them to prune.
            shapes: pool -> shapes of its whole weights.
        """
        return {name: size - select.count(size, rates[name]) for name, size in sizes.items()}


class LayerDensities(Scope):
    """Each layer has a density of its own; all together keep as many as their rates say."""

    def densities(self, shapes: Shapes, density: float) -> dict[str, float]:
        """Returns weight path -> fraction of it to keep.

        Args:
            shapes: weight path -> shape, in the order of the layers.
            density: fraction of all weights to keep.
        """
        raise NotImplementedError(f"{type(self).__name__}.densities")

    def kept(
        self, sizes: Mapping[str, int], rates: Rates, shapes: Mapping[str, list]
    ) -> dict[str, int]:
        """Returns weight path -> number of weights kept."""
        left = sum(super().kept(sizes, rates, shapes).values())
        whole = {path: shape for path, (shape,) in shapes.items()}
        total = {path: select.size(shape) for path, shape in whole.items()}
        found = self.densities(whole, left / sum(total.values()))
        return {path: min(sizes[path], round(found[path] * total[path])) for path in sizes}
