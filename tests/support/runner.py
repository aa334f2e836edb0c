"""Runs many copies by the Python API in one other process, so that each costs no start of an interpreter."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import Any, Self

_SCRIPT = """
import ast, sys
import keyferry
for line in sys.stdin:
    source, target, options = ast.literal_eval(line)
    try:
        said = keyferry.replicate(source, target, no_verify=True, **options).fields()
    except keyferry.workers.errors.KeyferryError as error:
        said = {"error": str(error), "exit_code": error.exit_code}
    print(repr(said), flush=True)
"""


class Runner:
    """`with Runner() as runner: runner.replicate(uri, uri, match=b"a*")` gives the summary's fields, or the error."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def replicate(self, source: str, target: str, **options: Any) -> dict[str, Any]:
        """One copy."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(repr((source, target, options)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the process has ended"
        return ast.literal_eval(line)

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        assert self._process.wait(30) == 0
        self._process.stdout.close()
