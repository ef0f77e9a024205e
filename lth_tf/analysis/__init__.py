"""What tickets are; one file a figure.

An analysis is a frozen dataclass below `lth_tf.analysis.base.Analysis`: it makes rows of the
levels of a run, or of the same level of two runs. What it computes is a function of arrays beside
it, for use without run directories.
"""

from lth_tf.registry import Registry

ANALYSES = Registry("analysis", package=__name__)
register = ANALYSES.register
