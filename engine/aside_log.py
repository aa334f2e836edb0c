"""What the user is told of keys that are put aside, or not repaired: the first at once, their number at the end."""

from __future__ import annotations

from .aside import AsideFile, default_path, key_fields, obstacle
from .logs import Log
from .text import key_text, plural, shortened
from .workers.errors import UsageError
from .workers.news import Aside

#: So many keys that are put aside are told one by one, while the run goes on.
TOLD_ASIDE = 5


class AsideLog:
    """Of one run, in all its passes; each has a `file` of its own. `what` they are, in words for the user."""

    def __init__(self, log: Log, what: str = "put aside") -> None:
        self.log, self.what = log, what
        self.keys = 0
        self.path = ""

    def check(self, path: str) -> None:
        """Find out before the first key whether the file can be made, not at the first key that needs it.

        Raises UsageError for one that was named; where none was, a warning: most runs need none.
        """
        if path and (why := obstacle(path)):
            raise UsageError(f"--put-aside {path}: {why}", hint="name a file that can be written")
        if not path and (why := obstacle(default_path())):
            text = f"no put-aside file can be made here ({why}): a key that cannot be copied would end the run"
            self.log.warning(text, "name a file that can be written: --put-aside FILE")

    def file(self, path: str) -> AsideFile:
        """The put-aside file of the next pass, whose keys are told."""
        aside = AsideFile(path, self.tell)
        self.path = aside.path
        return aside

    def tell(self, aside: Aside) -> None:
        """The first keys that are put aside are told at once: their user may rather end the run and mend the cause."""
        self.keys += 1
        if self.keys <= TOLD_ASIDE:
            text = f"{self.what} {shortened(key_text(aside.key))} (db {aside.db}, {aside.type}): {aside.reason}"
            self.log.warning(text, db=aside.db, **key_fields(aside.key))
        elif self.keys == TOLD_ASIDE + 1:
            self.log.warning(f"more keys are {self.what}: {self.path} names them all")

    def tell_all(self, keys: int) -> None:
        """At the end: so many are in the file."""
        if keys:
            text = f"{plural(keys, 'key')} {self.what}: see {self.path}"
            self.log.warning(text, "mend the reason that it names for each key, then run the same command again")
