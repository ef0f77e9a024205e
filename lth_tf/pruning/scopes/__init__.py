"""How many weights each layer keeps; one file a scope."""

from lth_tf.config import SCOPES

register = SCOPES.register
