"""Addresses: what a URI says, and that no secret is ever printed."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.values import REMAP
from keyferry.workers import endpoint
from keyferry.workers.endpoint import Endpoint, from_uri, parse_uri
from keyferry.workers.errors import UsageError

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
SECRETS = st.text("qwzjkQWZJK%@:/?#[] &=+", min_size=8, max_size=20)


#: What three Sentinels, one without a port, say of a service.
SERVICE = {"host": "h", "port": 1, "service": "main", "sentinels": (("h", 1), ("::1", 26379), ("k", 26379))}


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("redis://h", {"host": "h"}),
        ("REDIS://h:1", {"host": "h", "port": 1}),
        ("redis://h/", {"host": "h"}),
        ("redis://h?", {"host": "h"}),
        ("redis://h:1/2", {"host": "h", "port": 1, "db": 2}),
        ("redis://:pw@h", {"host": "h", "password": "pw"}),
        ("redis://u:p:w@h", {"host": "h", "user": "u", "password": "p:w"}),
        ("redis://u:p@w@h", {"host": "h", "user": "u", "password": "p@w"}),
        ("redis://u%40x:p%2Fw%25@h", {"host": "h", "user": "u@x", "password": "p/w%"}),
        ("redis://[::1]", {"host": "::1"}),
        ("redis://[fe80::1%25eth0]:7/1", {"host": "fe80::1%eth0", "port": 7, "db": 1}),
        ("redis://h?timeout=2.5&client_name=me", {"host": "h", "timeout_s": 2.5, "client_name": "me"}),
        ("redis+unix:///run/r.sock", {"socket": "/run/r.sock"}),
        ("unix://u:pw@/run/r.sock?db=3", {"socket": "/run/r.sock", "user": "u", "password": "pw", "db": 3}),
        ("redis-socket:///a%20b@c.sock?timeout=1", {"socket": "/a b@c.sock", "timeout_s": 1.0}),
        ("redis+sentinel://h:1,[::1],k/main/3", SERVICE | {"db": 3}),
        ("redis-sentinel://h:1,[::1],k/3#main", SERVICE | {"db": 3}),
        (
            "redis+sentinel://u:pw@h:1,[::1],k/main?sentinel_user=s&sentinel_pass=p%40",
            SERVICE | {"user": "u", "password": "pw", "sentinel_user": "s", "sentinel_password": "p@"},
        ),
        ("redis+cluster://h:1", {"host": "h", "port": 1, "cluster": True}),
        ("rediss://u:p@h:1/2", {"host": "h", "port": 1, "db": 2, "user": "u", "password": "p", "tls": True}),
        ("h", {"host": "h"}),
        ("h:1", {"host": "h", "port": 1}),
        ("h:1/2", {"host": "h", "port": 1, "db": 2}),
        ("h/2", {"host": "h", "db": 2}),
        ("[::1]:1/2", {"host": "::1", "port": 1, "db": 2}),
    ],
)
def test_a_uri_says_what_stands_in_it_and_nothing_else(uri: str, said: dict[str, object]) -> None:
    # A scheme says whether, but for that of Sentinels; a bare address does not.
    whether_tls = {"tls": False} if "://" in uri and "sentinel" not in uri else {}
    assert parse_uri(uri) == whether_tls | said


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("", "no host"),
        ("redis://", "no host"),
        ("redis://:pw@", "no host"),
        ("redis://u:@h", "password is empty"),
        ("redis://h:", "port"),
        ("redis://h:0", "port"),
        ("redis://h:65536", "port"),
        ("redis://h:٣", "port"),
        ("redis://h:1x", "port"),
        ("redis://h/x", "database"),
        ("redis://h/-1", "database"),
        ("redis://h/1/2", "database"),
        ("redis://h/" + "9" * 5000, "database"),
        ("redis://::1", "IPv6"),
        ("::1", "IPv6"),
        ("2001:db8::1", "IPv6"),
        (":1", "no host"),
        ("redis://[::1", "IPv6"),
        ("redis://h?db=1", "parameter is unknown"),
        ("redis://h?ssl=1", "parameter is unknown"),
        ("redis://h?timeout=0", "timeout"),
        ("redis://h?timeout=5s", "timeout"),
        ("redis://h?timeout=1&timeout=2", "twice"),
        ("redis://h?client_name=a%20b", "client_name"),
        ("redis://h#x", "percent-encoded"),
        ("redis://h h", "percent-encoded"),
        ("redis://:%zz@h", "%25"),
        ("redis://:%ff@h", "UTF-8"),
        ("redis://h%2Fx", "host"),
        ("unix://run/r.sock", "absolute path"),
        ("unix://", "absolute path"),
        ("unix:///", "absolute path"),
        ("http://h", "scheme is unknown"),
        ("h?timeout=1", "host"),
        ("u:pw@h", "needs its scheme"),
        ("h:x", "port"),
        ("redis+sentinel://h,k", "no service"),
        ("redis+sentinel://h,,k/main", "no host"),
        ("redis+sentinel://h/main?sentinel_pass=", "sentinel_pass is empty"),
    ],
)
def test_a_uri_that_is_wrong_is_refused_in_words(uri: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_uri(uri)
    assert complaint in str(caught.value)
    assert caught.value.hint


def test_one_word_before_the_at_sign_is_refused_without_showing_it() -> None:
    assert parse_uri("redis://word@h") == {"host": "h", "user": "word", "tls": False}
    with pytest.raises(UsageError) as caught:
        from_uri("redis://word@h")
    assert "redis-cli" in str(caught.value)
    assert "redis-py" in str(caught.value)
    assert "word@" not in str(caught.value) + caught.value.hint


@given(TEXTS, TEXTS, st.integers(0, 10**6), st.integers(1, 65535), st.sampled_from(["h.example", "[::1]", "10.0.0.1"]))
def test_any_user_and_password_survive_a_uri(user: str, password: str, db: int, port: int, host: str) -> None:
    uri = f"redis://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{port}/{db}"
    found = from_uri(uri)
    assert (found.user, found.password) == (user, password)
    assert (found.host, found.port, found.db) == (host.strip("[]"), port, db)


@given(
    SECRETS,
    st.sampled_from(["redis", "rediss", "unix", "http", "redis+sentinel"]),
    st.sampled_from(["@h:x", "@", "@h/x", "@h?x=1", "@h/1/2", "@h#", "", "/0", "?timeout=1"]),
)
def test_no_message_of_a_uri_shows_its_password(secret: str, scheme: str, after: str) -> None:
    assert secret not in shown_of(f"{scheme}://u:{secret}{after}")


@given(SECRETS)
def test_an_address_with_a_login_and_no_scheme_is_not_shown(secret: str) -> None:
    assert secret not in shown_of(f"u:{secret}@h")


def shown_of(uri: str) -> str:
    """All that is printed of a URI that is wrong; "" for one that is not."""
    try:
        from_uri(uri)
    except UsageError as error:
        return f"{error} {error.hint} {error!r}"
    return ""


def test_an_endpoint_prints_its_address_without_secrets() -> None:
    assert Endpoint(host="::1", password="pw-secret").address == "[::1]:6379"
    assert Endpoint(socket="/r.sock").address == "/r.sock"
    assert "pw-secret" not in repr(Endpoint(password="pw-secret"))


def test_an_endpoint_travels_to_a_worker_whole() -> None:
    there = Endpoint("h", 1, "", "u", "pw", 3, 2.5, "me", 4)
    assert endpoint.unpack(there.pack()) == there


def test_connecting_may_take_ten_seconds_at_most() -> None:
    assert Endpoint(timeout_s=60).connect_timeout_s == 10
    assert Endpoint(timeout_s=2).connect_timeout_s == 2


@pytest.mark.parametrize("text", ["", "replicas", "slave"])
def test_who_is_read_is_the_master_or_a_replica(text: str) -> None:
    with pytest.raises(UsageError, match="read_from") as refused:
        Endpoint(read_from=text)
    assert "replica" in refused.value.hint
    assert endpoint.unpack(Endpoint(read_from="replica").pack()).read_from == "replica"


@pytest.mark.parametrize("text", ["[fd00::1]:6379=[::1]:7001", "fd00::1:6379=::1:7001"])
def test_a_map_names_addresses_as_servers_tell_them_or_as_we_print_them(text: str) -> None:
    there = Endpoint(remap=(REMAP.read(text),)).at("fd00::1", 6379)
    assert (there.host, there.port, there.address) == ("::1", 7001, "[::1]:7001")


@pytest.mark.parametrize("text", ["a:1=b:2,c:3=d:4", "a:1=b:x", "a=b", "a:1", "a:1=b:2=c:3", "a:1= b:2", "a:+1=b:2"])
def test_what_is_no_pair_of_addresses_is_no_map(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT=HOST:PORT"):
        REMAP.read(text)
