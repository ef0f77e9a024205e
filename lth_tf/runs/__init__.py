"""Run directories: what is kept of an experiment on the disk."""
