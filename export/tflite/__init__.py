"""TFLite files whose kernels take the room of their non-zero weights."""
