"""Whether others write to the target while a live copy runs: then what is there too much may be theirs.

HOW IT WORKS
    INFO counts the calls of every command at the target. A command that writes and that we never send there is others'.
    Of those that we do send, the workers know how many they have sent; what is counted beyond that is others' as well.
    A lost connection may have swallowed some of ours: a few of theirs may go unnoticed, and never the other way round.

WHAT MUST STAY TRUE: a count is compared with what the workers have told after it was made, however long that takes them
on a machine that is busy. Each report says when it was made, and a command is counted as sent before it leaves.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from .partitioners.control import Control
from .workers.errors import AccessError

#: The targets are asked so often.
LOOK_S = 1.0
#: What we send to a target that writes.
OURS = frozenset({"set", "mset", "restore", "unlink"})
#: What others may send.
WRITES = frozenset((
    "append", "bitfield", "bitop", "blmove", "blpop", "brpop", "brpoplpush", "copy", "decr", "decrby", "del",
    "expire", "expireat", "flushall", "flushdb", "geoadd", "getdel", "getex", "getset", "hdel", "hincrby",
    "hincrbyfloat", "hmset", "hset", "hsetnx", "incr", "incrby", "incrbyfloat", "linsert", "lmove", "lpop",
    "lpush", "lpushx", "lrem", "lset", "ltrim", "move", "msetnx", "persist", "pexpire", "pexpireat", "pfadd",
    "pfmerge", "psetex", "rename", "renamenx", "rpop", "rpoplpush", "rpush", "rpushx", "sadd", "sdiffstore",
    "setbit", "setex", "setnx", "setrange", "sinterstore", "smove", "spop", "srem", "sunionstore", "swapdb",
    "xadd", "xautoclaim", "xclaim", "xdel", "xgroup", "xreadgroup", "xsetid", "xtrim", "zadd", "zdiffstore",
    "zincrby", "zinterstore", "zpopmax", "zpopmin", "zrem", "zremrangebylex", "zremrangebyrank",
    "zremrangebyscore", "zunionstore",
))  # fmt: skip
_CALLS = re.compile(rb"^cmdstat_([^:|]+)[^:]*:calls=(\d+)", re.MULTILINE)


Calls = tuple[int, int]  # of commands that only others send, and of those that we send


@dataclass
class Trespass:
    """Looks at the targets; `seen` once others have written there."""

    controls: list[Control]
    seen: bool = False
    _base: Calls | None = None  # counted before we began, as far as is known
    _last: Calls | None = None
    _looked_at: float = 0.0  # when the last count was complete, or given up

    def restart(self) -> None:
        """Some of what our workers have sent will never be told: count from now on."""
        self._base = self._last = None

    def look(self, sent: int, told_at: float) -> bool:
        """Whether others are seen to write for the first time.

        `sent`: commands that our workers have sent, all of those that left before the instant `told_at` among them.
        """
        if self.seen or time.monotonic() - self._looked_at < LOOK_S or (self._last and told_at <= self._looked_at):
            return False
        if self._base and self._last:
            self.seen = self._last[0] > self._base[0] or self._last[1] - self._base[1] > sent
        return self.seen or self._count(sent)

    def _count(self, sent: int) -> bool:
        try:
            told = [_calls(control.call("INFO", "commandstats")) for control in self.controls]
        except AccessError:
            return False  # the workers have connections of their own, and will tell
        finally:
            self._looked_at = time.monotonic()
        last, self._last = self._last, (sum(one[0] for one in told), sum(one[1] for one in told))
        if self._base is None or (last and (self._last[0] < last[0] or self._last[1] < last[1])):
            self._base = self._last[0], self._last[1] - sent  # the first look, or somebody has reset the counters
        return False


def _calls(reply: object) -> Calls:
    found = _CALLS.findall(reply) if isinstance(reply, bytes) else []
    names = [(name.decode("ascii", "replace"), int(count)) for name, count in found]
    return (
        sum(count for name, count in names if name in WRITES),
        sum(count for name, count in names if name in OURS),
    )
