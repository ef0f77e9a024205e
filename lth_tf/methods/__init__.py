"""How tickets are found; one file a method.

A method is a frozen dataclass below `lth_tf.methods.base.Method`. Its fields are its options:
flags of the programs, and arguments where it is made in Python,
`method=IMP(strategy="oneshot")`.
"""

from lth_tf.config import METHODS

register = METHODS.register
