"""Winning tickets as compact files that stock runtimes load."""

from lth_tf.lazy import lazy_api

# Loaded at first use, so that `python -m export --help` does not wait for TensorFlow.
with lazy_api(globals()):
    from lth_tf.masking.stripping import strip

    from .compaction.compact import compact
    from .finetuning.finetune import cluster_weights, quantization_aware
    from .saved_model.write import to_saved_model
    from .size import SizeReport, information_limit, size_report
    from .tflite.convert import to_tflite
    from .timing import Latency, latency
    from .verification import Verification, verify
