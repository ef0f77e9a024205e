"""Exact removal of units that cannot matter."""
