"""Trainings of many runs as tasks of a Ray cluster, a stage each."""
