"""How units (channels, features, heads) pass through a Keras graph, and which belong together.

`graph` follows a model's calls and joins what can only go together; a rule a layer type says how
units pass through it, which weights are theirs, and how the layer shrinks. Masks of whole
channels (`lth_tf.pruning.granularities.channel`) and exact removal (`export.compact`) both ask it.
"""
