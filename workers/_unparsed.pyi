def skip(replies: bytearray | memoryview, begin: int, due: int) -> tuple[int, int]: ...
def splice(
    replies: bytearray,
    keys: list[bytes],
    asked: int,
    told: int,
    shift_ms: int,
    moment_ms: int,
    may_share: bool,
    slots: list[int] | None,
    owners: list[int] | None,
    ahead_ms: tuple[int, ...],
) -> tuple[list[tuple[int, bytes, int]], int, int, int, int, list[int], int] | None: ...
def alike(
    ours: bytearray, theirs: bytearray, count: int, arrays: int, expiries: bool
) -> tuple[int, int, int] | None: ...
