"""The data set of `keyferry generate` before it is sent: exact, well-formed, and the same for the same spec."""

from __future__ import annotations

import hashlib
import re
from collections import Counter

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.workers import synth, synth_values
from keyferry.workers.synth import Spec

Command = list[bytes]

EPOCH_MS = 1_900_000_000_000  # in the future: nothing expires during a test
ELEMENT_WORDS = {b"PFADD": 1, b"HSET": 2, b"RPUSH": 1, b"SADD": 1, b"ZADD": 2, b"GEOADD": 3}  # words of an element


def parse(requests: bytes) -> list[Command]:
    """The commands of a run of RESP requests; fails unless every byte is accounted for."""
    commands, at = [], 0
    while at < len(requests):
        words, at = header(requests, at, b"*")
        command = []
        for _ in range(words):
            size, at = header(requests, at, b"$")
            command.append(requests[at : at + size])
            assert requests[at + size : at + size + 2] == b"\r\n"
            at += size + 2
        commands.append(command)
    assert at == len(requests)
    return commands


def header(requests: bytes, at: int, mark: bytes) -> tuple[int, int]:
    end = requests.index(b"\r\n", at)
    assert requests[at : at + 1] == mark
    assert requests[at + 1 : end].isdigit()
    return int(requests[at + 1 : end]), end + 2


def blocks(spec: Spec) -> list[synth.Block]:
    return [synth.block(spec, number) for number in range(synth.block_count(spec))]


def commands_of(spec: Spec) -> list[Command]:
    return [command for block in blocks(spec) for command in parse(block.requests)]


def by_key(spec: Spec) -> dict[bytes, list[Command]]:
    """For each key the commands that make it; of an MSET its own part, of UNLINK nothing."""
    made: dict[bytes, list[Command]] = {}
    for command in commands_of(spec):
        if command[0] == b"MSET":
            for key, value in zip(command[1::2], command[2::2], strict=True):
                made.setdefault(key, []).append([b"SET", key, value])
        elif command[0] != b"UNLINK":
            made.setdefault(command[2 if command[0] == b"XGROUP" else 1], []).append(command)
    return made


def elements(commands: list[Command]) -> list[bytes]:
    """The elements of one collection: members, list elements, values of fields and of entries."""
    found = []
    for command in commands:
        if command[0] in ELEMENT_WORDS:
            step = ELEMENT_WORDS[command[0]]
            found += command[1 + step :: step]
        elif command[0] == b"XADD":
            found.append(command[-1])
    return found


def expiry(commands: list[Command]) -> int:
    """The key's expiry, in ms since 1970; 0: it has none."""
    if len(commands[0]) == 5 and commands[0][3] == b"PXAT":
        return int(commands[0][4])
    return int(commands[-1][2]) if commands[-1][0] == b"PEXPIREAT" else 0


weights = st.dictionaries(st.sampled_from(synth.TYPES), st.floats(0.5, 9), min_size=1).map(lambda d: tuple(d.items()))


def ordered(low: int, high: int) -> st.SearchStrategy[list[int]]:
    """Two numbers of the range, the smaller first."""
    return st.tuples(st.integers(low, high), st.integers(low, high)).map(sorted)


@st.composite
def specs(draw: st.DrawFn, keys: int = 1500) -> Spec:
    sizes, counts, ttls = draw(ordered(0, 300)), draw(ordered(1, 40)), draw(ordered(1, 10**8))
    return Spec(
        keys=draw(st.integers(0, keys)),
        prefix=draw(st.binary(max_size=8)),
        shares=draw(weights),
        size_min=sizes[0],
        size_max=sizes[1],
        elements_min=counts[0],
        elements_max=counts[1],
        ttl_share=draw(st.sampled_from([0.0, 0.3, 1.0])),
        ttl_min_ms=ttls[0],
        ttl_max_ms=ttls[1],
        seed=draw(st.integers(-(2**63), 2**63 - 1)),
        epoch_ms=draw(st.integers(0, 2**41)),
        binary=draw(st.booleans()),
    )


few = settings(max_examples=12)


@few
@given(specs())
def test_there_are_exactly_as_many_distinct_keys_as_asked_for_and_each_command_has_one_reply(spec):
    made = by_key(spec)
    assert len(made) == spec.keys == sum(block.keys for block in blocks(spec))
    assert all(key.startswith(spec.prefix) for key in made)
    assert all(len(parse(block.requests)) == block.replies for block in blocks(spec))


@few
@given(specs(), st.randoms())
def test_a_block_depends_on_nothing_but_its_spec_and_number(spec, order):
    straight = blocks(spec)
    numbers = list(range(len(straight)))
    order.shuffle(numbers)
    copy = synth.unpack(msgpack.unpackb(msgpack.packb(spec.pack())))
    assert copy == spec
    assert all(synth.block(copy, number) == straight[number] for number in numbers)


@few
@given(specs(), st.integers(1, 1500))
def test_a_larger_data_set_begins_with_the_same_keys(spec, more):
    larger = by_key(synth.unpack({**spec.pack(), "keys": spec.keys + more}))
    assert by_key(spec).items() <= larger.items()


def test_a_larger_data_set_begins_with_the_same_keys_even_where_a_block_lacks_a_type():
    """What is drawn must not depend on the types that a short last block happens to have."""
    for seed in range(10):
        small, large = (Spec(keys, shares=(("string", 1), ("hash", 9)), seed=seed) for keys in (2, 200))
        assert by_key(small).items() <= by_key(large).items()


@few
@given(specs())
def test_sizes_and_numbers_of_elements_are_within_their_limits(spec):
    longest = max(spec.size_max, len(f"{spec.elements_max}:"))  # a member has room for its number at least
    for commands in by_key(spec).values():
        found = elements(commands)
        if found:
            assert spec.elements_min <= len(found) <= spec.elements_max
            assert all(spec.size_min <= len(value) <= longest for value in found)
        if commands[0][0] in (b"SADD", b"ZADD", b"GEOADD", b"PFADD"):
            assert len(set(found)) == len(found)
        if commands[0][0] == b"SETBIT":
            assert max(1, spec.size_min) <= int(commands[0][2]) // 8 + 1 <= max(1, spec.size_max)
            assert int(commands[1][2]) + len(commands[1][3]) <= int(commands[0][2]) // 8 + 1


@few
@given(specs())
def test_the_value_bytes_are_those_of_the_values(spec):
    total = 0
    for commands in by_key(spec).values():
        total += sum(map(len, elements(commands)))
        total += len(commands[0][2]) if commands[0][0] == b"SET" else 0
        total += int(commands[0][2]) // 8 + 1 if commands[0][0] == b"SETBIT" else 0
    assert total == sum(block.value_bytes for block in blocks(spec))


@pytest.mark.parametrize("name", synth.TYPES)
def test_each_type_gets_its_share_of_expiries_within_their_limits(name):
    spec = Spec(
        4000, shares=((name, 1),), elements_max=3, ttl_share=0.25, ttl_min_ms=500, ttl_max_ms=900, epoch_ms=EPOCH_MS
    )
    found = [expiry(commands) for commands in by_key(spec).values()]
    assert 850 <= sum(map(bool, found)) <= 1150  # five standard deviations
    assert {EPOCH_MS + 500, EPOCH_MS + 900} <= set(found)
    assert all(EPOCH_MS + 500 <= at <= EPOCH_MS + 900 for at in found if at)


def test_all_types_of_the_default_mix_occur_in_their_shares():
    first_words = Counter(commands[0][0] for commands in by_key(Spec(5000)).values())
    assert set(first_words) == {b"SET", b"SETBIT", *ELEMENT_WORDS, b"XADD"}
    assert 0.42 <= first_words[b"SET"] / 5000 <= 0.48  # strings and counters
    assert 0.17 <= first_words[b"HSET"] / 5000 <= 0.23


def test_a_single_type_gives_only_keys_of_that_type():
    assert {command[0] for command in commands_of(Spec(3000, shares=synth.parse_types("string=100")))} == {b"MSET"}


def test_sizes_are_spread_evenly():
    spec = Spec(20_000, shares=(("string", 1),), size_min=10, size_max=19)
    sizes = Counter(len(commands[0][2]) for commands in by_key(spec).values())
    assert sorted(sizes) == list(range(10, 20))
    assert all(1800 <= count <= 2200 for count in sizes.values())


def test_strings_of_a_block_differ():
    assert len({commands[0][2] for commands in by_key(Spec(1024, shares=(("string", 1),))).values()}) == 1024


def test_text_is_printable_and_binary_has_every_byte_in_names_and_values():
    text, binary = (by_key(Spec(2000, shares=(("string", 1),), binary=flag)) for flag in (False, True))
    assert all(key.isascii() and key.decode().isprintable() for key in text)
    assert all(made[0][2].isascii() and made[0][2].decode().isprintable() for made in text.values())
    for words in (list(binary), [made[0][2] for made in binary.values()]):
        assert set(b"".join(words)) == set(range(256))
        assert any(b"\r\n" in word for word in words)


def test_binary_elements_have_line_ends_too():
    made = by_key(Spec(200, shares=tuple((name, 1) for name in synth_values.WRITERS), size_min=100, binary=True))
    kinds = {commands[0][0] for commands in made.values() if any(b"\r\n" in value for value in elements(commands))}
    assert kinds == {*ELEMENT_WORDS, b"XADD"}


def test_large_values_make_small_blocks():
    spec = Spec(10, shares=(("string", 1),), size_min=10**6, size_max=10**6)
    assert [block.keys for block in blocks(spec)] == [1] * 10
    assert synth.block_keys(Spec(10, shares=(("string", 1),))) == synth.BLOCK_KEYS


def test_a_large_collection_is_written_by_several_commands():
    spec = Spec(1, shares=(("set", 1),), elements_min=5000, elements_max=5000)
    commands = commands_of(spec)
    assert max(map(len, commands)) == 2 + synth_values.CHUNK
    assert len(set(elements(commands))) == 5000


def test_the_data_of_a_seed_stay_the_same_from_release_to_release():
    """People keep seeds in scripts. A change of this digest is a change of every data set: say so in the CHANGELOG."""
    spec = Spec(3000, seed=7, ttl_share=0.25, epoch_ms=EPOCH_MS)
    digest = hashlib.sha256(b"".join(block.requests for block in blocks(spec)))
    assert digest.hexdigest() == "3025725cd1cc4251ce75ca5b57733e5aa86baac53a8caff2f451d33f7a68ea68"


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("string=60,hash=10", (("string", 60.0), ("hash", 10.0))),
        (" zset = 0.5 , list=1e1 ", (("zset", 0.5), ("list", 10.0))),
        ("set=1,geo=0", (("set", 1.0),)),
    ],
)
def test_types_are_read_with_their_weights(text, shares):
    assert synth.parse_types(text) == shares


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no type"),
        ("string=1,", "'' is no type"),
        ("strings=1", "'strings' is no type to generate; the types are string, counter"),
        ("hash", "'hash': the weight must be"),
        ("set=1,hash=", "'hash=': the weight must be"),
        ("hash=x", "'hash=x': the weight must be"),
        ("hash=-1", "'hash=-1': the weight must be"),
        ("hash=nan", "'hash=nan': the weight must be"),
        ("hash=inf", "'hash=inf': the weight must be"),
        ("hash=1,hash=2", "hash is given twice"),
        ("hash=0,set=0", "leaves no type"),
    ],
)
def test_a_wrong_part_of_the_types_is_named(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        synth.parse_types(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"keys": -1},
        {"keys": 10**12 + 1},
        {"shares": ()},
        {"shares": (("json", 1),)},
        {"shares": (("set", 0),)},
        {"size_min": 101},
        {"size_min": -1},
        {"size_max": (512 << 20) + 1},
        {"elements_min": 0},
        {"elements_min": 51},
        {"ttl_share": 1.5},
        {"ttl_min_ms": 0},
        {"ttl_max_ms": 1},
        {"epoch_ms": -1},
        {"seed": 1 << 63},
    ],
)
def test_a_spec_that_cannot_be_written_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)).partition("_")[0]):
        Spec(**{"keys": 1, **wrong})


@pytest.mark.parametrize("number", [-1, 2])
def test_a_block_outside_of_the_data_set_is_refused(number):
    with pytest.raises(ValueError, match=f"no block {number}"):
        synth.block(Spec(synth.BLOCK_KEYS + 1, shares=(("string", 1),)), number)
