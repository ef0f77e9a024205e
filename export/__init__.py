"""Winning tickets as compact files that stock runtimes load."""
