"""Winning tickets as compact files that stock runtimes load."""

from etils import epy

# Loaded at first use, so that `python -m export --help` does not wait for TensorFlow.
with epy.lazy_api_imports(globals()):
    from export.compaction.compact import compact
    from export.finetuning.finetune import cluster_weights, quantization_aware
    from export.saved_model.write import to_saved_model
    from export.size import SizeReport, information_limit, size_report
    from export.stripping import strip
    from export.tflite.convert import to_tflite
    from export.timing import Latency, latency
    from export.verification import Verification, verify
