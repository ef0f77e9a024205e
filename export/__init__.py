"""Winning tickets as compact files that stock runtimes load."""

import sys
import types

from etils import epy

# Loaded at first use, so that `python -m export --help` does not wait for TensorFlow.
with epy.lazy_api_imports(globals()):
    from export.compact import compact
    from export.finetune import cluster_weights, quantization_aware
    from export.latency import Latency, latency
    from export.saved_model import to_saved_model
    from export.size import SizeReport, information_limit, size_report
    from export.strip import strip
    from export.tflite import to_tflite
    from export.verify import Verification, verify


class _Package(types.ModuleType):
    """Keeps `export.strip` the function when the module export.strip is imported."""

    def __setattr__(self, name, value):
        if not isinstance(value, types.ModuleType) or value.__name__ != f"{__name__}.{name}":
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
