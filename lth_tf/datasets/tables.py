"""Tables that scikit-learn ships in its wheel: real data that need no download."""

import numpy as np

from lth_tf.datasets import Preprocessing, Source, Split, register
from lth_tf.lazy import lazy_imports
from lth_tf.seeding import generator

with lazy_imports():
    from sklearn import datasets as sklearn_datasets


@register("breast_cancer")
def breast_cancer(image_shape: tuple[int, ...]) -> Source:
    """Returns 569 rows of 30 measures of cell nuclei, benign or malignant: 114 to test.

    Source:
        Wolberg et al. 1995, UCI breast cancer Wisconsin (diagnostic), as in scikit-learn.
    """
    return _table("breast_cancer", *sklearn_datasets.load_breast_cancer(return_X_y=True))


@register("wine")
def wine(image_shape: tuple[int, ...]) -> Source:
    """Returns 178 rows of 13 measures of wines from three growers: 36 to test.

    Source:
        Forina et al. 1988, UCI wine, as in scikit-learn.
    """
    return _table("wine", *sklearn_datasets.load_wine(return_X_y=True))


def _table(name: str, rows: np.ndarray, labels: np.ndarray) -> Source:
    """Returns a table with a fifth to test; its columns are standardized by what is left."""
    rows, labels = rows.astype(np.float32), labels.astype(np.int32)
    # As published the rows may be sorted: mixed once, the same for everybody.
    order = generator(0, name).permutation(len(rows))
    size = round(len(rows) / 5)
    test, train = order[:size], order[size:]
    return Source(
        train=Split(rows[train], labels[train]),
        test=Split(rows[test], labels[test]),
        classes=int(labels.max()) + 1,
        validation_size=size // 2,
        preprocessing=Preprocessing.standardizing(rows[train]),
    )
