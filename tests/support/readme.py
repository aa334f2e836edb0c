"""README, read by its headings and tables."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    """What stands below a heading of README, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in a text, without their headings."""
    found = []
    for table in re.findall(r"^\|[-| ]+\|\n((?:\|.*\|\n)+)", text, re.MULTILINE):
        for line in table.splitlines():
            cells = re.split(r"(?<!\\)\|", line.strip("|"))
            found.append([cell.strip().replace(r"\|", "|") for cell in cells])
    return found


def acl_lines() -> list[str]:
    """The lines of README that give a user his rights."""
    return re.findall(r"^ACL SETUSER .*$", section("Permissions"), re.MULTILINE)
