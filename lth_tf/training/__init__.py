"""How a network learns: batches, step, loop and the Trainer that drives them.

    batches   where the examples of an update come from
    step      one update of the weights, and what methods add to it (`lth_tf.methods.hooks`)
    loop      many updates and an evaluation in one compiled call
    trainer   one training after the other, interval by interval

TensorFlow's own; other backends of Keras find tickets in `model.fit`.
"""

from lth_tf.backend import require_tensorflow

require_tensorflow("lth_tf.training")
