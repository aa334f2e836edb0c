"""How long single functions of the hot path take, by pytest-benchmark: for 1,000 keys a call, as a window has them.

.venv/bin/python -m pytest bench/micro                  min, median, operations a second of each
… --benchmark-autosave, then --benchmark-compare        against an earlier run on the same machine
"""
