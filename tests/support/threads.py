"""What goes on beside a test, in a thread of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def meanwhile(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """`work(ended)` goes on until `ended` is set, behind the body. What it raises is raised there."""
    ended = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work, ended)
        try:
            yield
        finally:
            ended.set()
        running.result()
