"""Masks on any Keras model: on models, on one layer, and as plain arrays."""
