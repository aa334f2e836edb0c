"""Builds the one part in C. It is optional: without a compiler, or without Python's headers, all is done in Python."""

from pathlib import Path

from setuptools import Extension, setup

FOLDER = Path("workers/c")

setup(
    ext_modules=[
        Extension(
            "keyferry.workers._unparsed",
            sorted(map(str, FOLDER.glob("*.c"))),
            depends=sorted(map(str, FOLDER.glob("*.h"))),
            optional=True,
        )
    ]
)
