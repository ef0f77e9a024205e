"""What a ticket is compared with; one file a control.

A control is a frozen dataclass below `lth_tf.controls.base.Control`.
"""

from lth_tf.config import CONTROLS

register = CONTROLS.register
