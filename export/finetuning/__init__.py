"""Fine-tuning for smaller values: weight clustering and quantization-aware training."""
