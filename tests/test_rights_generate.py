"""Rights of `generate`: a user with those that are documented succeeds; one that is missing is named before a write."""

from __future__ import annotations

import re

import pytest

import keyferry
from keyferry.generating import Generation
from keyferry.given import from_keywords
from keyferry.logs import Log
from keyferry.partitioners.generate_rights import OF_OPERATIONS, OF_TYPES, rights_of_generate
from keyferry.partitioners.rights import acl_rules
from keyferry.signals import Signals
from keyferry.workers.churn import DEFAULT_OPERATIONS
from keyferry.workers.churn_operations import OPERATIONS
from keyferry.workers.synth import TYPES
from tests.conftest import ServerFactory
from tests.support.processes import Result, run_keyferry
from tests.support.readme import section
from tests.support.servers import Server

DATA = ("--keys", "400", "--elements", "1-20", "--ttl-share", "20%", "--workers", "1")
CHURN = ("--churn", "2000", "--for", "300ms")
LINES = re.findall(r"^ACL SETUSER .*$", section("Permissions of generate"), re.MULTILINE)


def granted(one: Server, rules: str, *less: str, keys: str = "~*") -> None:
    words = ["reset", "on", ">pw", keys, *(rule for rule in rules.split() if rule not in less)]
    assert one.call("ACL", "SETUSER", "app", *words) == b"OK"


def generate(one: Server, *words: str) -> Result:
    return run_keyferry("generate", f"redis://app:pw@{one.address}", *DATA, *words)


def refusal(one: Server, db: int, **keywords: object) -> keyferry.AccessError:
    at = keyferry.Endpoint(port=one.port, user="app", password="pw", db=db)
    with pytest.raises(keyferry.AccessError) as caught:
        Generation(at, from_keywords("generate", keys=100, progress="none", **keywords), Log(), Signals()).run()
    return caught.value


def rules_of(line: str) -> str:
    return line.partition(" ~* ")[2]


def test_the_lines_of_readme_are_those_of_the_table() -> None:
    types = dict.fromkeys(TYPES)
    writes = rights_of_generate(types, {}, flush=False, writes=True, selects=False)
    churns = rights_of_generate(types, dict(DEFAULT_OPERATIONS), flush=False, writes=False, selects=False)
    both = rights_of_generate(types, dict(DEFAULT_OPERATIONS), flush=False, writes=True, selects=False)
    names = ("generate", "churn", "both")
    assert [
        f"ACL SETUSER {name} on >PASSWORD ~* {acl_rules(rows)}"
        for name, rows in zip(names, (writes, churns, both), strict=True)
    ] == LINES


def test_the_table_has_every_type_and_every_operation() -> None:
    assert OF_TYPES.keys() == set(TYPES) and OF_OPERATIONS.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("kind", ["6.2", "8.2", "9.1"])
def test_users_made_by_the_lines_of_readme_write_and_change_a_data_set(kind: str, server: ServerFactory) -> None:
    one = server(kind, fresh=True)
    granted(one, rules_of(LINES[0]))
    assert (ran := generate(one)).code == 0, ran.err
    assert one.call("DBSIZE") == 400
    granted(one, rules_of(LINES[1]))
    assert (ran := generate(one, *CHURN, "--churn-only")).code == 0, ran.err
    granted(one, rules_of(LINES[2]) + " +flushdb +select")
    assert (ran := generate(one, *CHURN, "--flush", "--yes", "-n", "1")).code == 0, ran.err


@pytest.mark.parametrize("kind", ["6.2", "9.1"])
def test_each_right_that_is_taken_away_is_named_before_anything_is_written(kind: str, server: ServerFactory) -> None:
    one = server(kind)
    rules = rules_of(LINES[2]) + " +flushdb +select"
    for rule in dict.fromkeys(rules.split()):
        granted(one, rules, rule)
        error = refusal(one, db=1, flush=True, yes=True, churn=100, **{"for": 0.1})
        command = rule.removeprefix("+").replace("|", " ").upper()
        assert error.message == f"permission refused: user app may not run {command}"
        assert error.hint == f"ACL SETUSER app {rule}"
        assert one.info("keyspace").keys() == set()


def test_a_user_of_other_keys_is_told(server: ServerFactory) -> None:
    one = server("7.0", fresh=True)
    granted(one, "+@all", keys="~gen:*")
    ran = generate(one, "--prefix", "other:")
    assert ran.code == 4 and "user app may not touch keys that begin with 'other:'" in ran.err
    assert "hint: ACL SETUSER app ~other:*" in ran.err
    assert one.call("DBSIZE") == 0
    assert generate(one, "--prefix", "gen:").code == 0


def test_only_what_the_types_and_operations_need_is_asked_for(server: ServerFactory) -> None:
    one = server("7.0", fresh=True)
    granted(one, "+ping +dbsize +time +hset +unlink +pexpireat +del")
    ran = generate(one, "--types", "hash=1", *CHURN, "--ops", "hset=1,del=1")
    assert ran.code == 0, ran.err
