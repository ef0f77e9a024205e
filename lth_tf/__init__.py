"""Lottery tickets for Keras 3 and TensorFlow: find them, study them, ship them."""

import os

from lth_tf.lazy import lazy_api

# TensorFlow reads it when it is imported: a script that imports lth_tf first stays quiet.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Loaded at first use, so that `import lth_tf` and `--help` do not wait for TensorFlow.
with lazy_api(globals()):
    from lth_tf import runs
    from lth_tf.config import ExperimentConfig
    from lth_tf.datasets import from_arrays, from_datasets
    from lth_tf.errors import RunError, UsageError
    from lth_tf.masking.checks import check_pruned_are_zero, check_reads
    from lth_tf.masking.effective import Effective
    from lth_tf.masking.model import (
        get_masks,
        get_weights,
        load_model,
        mask_model,
        set_effective,
        set_masks,
        set_weights,
        strip_masks,
    )
    from lth_tf.masking.stripping import save_stripped
    from lth_tf.masking.summary import summary
    from lth_tf.runs.run_dir import RunDir
    from lth_tf.runs.stage import Stage
    from lth_tf.tickets.callback import TicketCallback
    from lth_tf.tickets.find import find_tickets
    from lth_tf.tickets.load import load_ticket
    from lth_tf.tickets.prune_callback import PruneCallback
    from lth_tf.training.trainer import Trainer
    from lth_tf.tuning import TicketTuner

__version__ = "0.1.0"
