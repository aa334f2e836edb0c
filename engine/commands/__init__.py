"""The commands, one a file: `run(call, log)` does it and returns the exit code."""
