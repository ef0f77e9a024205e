"""Starts the command `lth` where only the module is at hand: `python -m lth_tf`."""

from lth_tf.cli.lth import main

main()
