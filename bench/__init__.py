"""Measurements against other ways to copy: `bench/run.py`, described in README.md."""
