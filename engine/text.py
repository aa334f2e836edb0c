"""How figures, times and keys are written for people; nothing here lets a control character through."""

from __future__ import annotations

from .workers.errors import key_text

__all__ = ["key_text", "plural", "printable", "rounded", "seconds_text", "shortened", "size_text"]


def printable(text: str) -> str:
    """Text with every control character as `\\x1b`, so that no key or reply can move a terminal's cursor."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, columns: int = 40) -> str:
    """Text of at most so many columns, with its middle left out where it is longer."""
    if len(text) <= columns:
        return text
    return text[: columns * 2 // 3] + "…" + text[-(columns // 3 - 1) :]


def size_text(size: float) -> str:
    """Bytes in decimal units: `212 MB`, `4.2 GB`."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            value = size / factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"
    return f"{size:.0f} B"


def seconds_text(seconds: float) -> str:
    """`0.21 s`, `4.9 s`, `3m07s`, `2h05m`."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def count_text(count: int) -> str:
    """A number of things in short: `1.2 M`, `84 k`, `900`."""
    for unit, factor in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= factor:
            value = count / factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"
    return str(count)


def rounded(count: int) -> str:
    """An estimate of a number of things: `~1.2 M`, `~84 k`, `~900`."""
    return f"~{count_text(count)}"


def plural(count: int, noun: str) -> str:
    """`1 key`, `2,000 keys`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
