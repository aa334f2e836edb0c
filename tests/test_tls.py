"""TLS to each side: what is encrypted arrives, and whatever does not fit is one clear line within the time-out."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import keyferry
from tests.conftest import ClusterFactory, ServerFactory
from tests.support.certificates import Certificates
from tests.support.commands import at
from tests.support.compare import assert_equal, differences
from tests.support.dataset import fill
from tests.support.processes import VERIFIED, Result, run_keyferry
from tests.support.proxy import FaultProxy
from tests.support.replication import wait_until_in_step
from tests.support.sentinels import Sentinels
from tests.support.servers import Server
from tests.support.words import read, refusal

KEYS = 3_000
#: More than the kernel takes at once, on either side.
LARGE_BYTES = 9_000_000
#: A suite of TLS 1.3, and another; a cipher of TLS 1.2, and another.
SUITES = ("TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256")
CIPHERS = ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384")


@pytest.fixture(scope="module")
def filled(certificates: Certificates) -> Iterator[Server]:
    """A source with a port for TLS that no test of this file changes; it takes clients without a certificate."""
    with Server("7.0", tls=certificates.words()) as source:
        fill(source, KEYS)
        source.call("SET", "large", os.urandom(LARGE_BYTES))
        yield source


@pytest.fixture
def secure(server: ServerFactory, certificates: Certificates) -> Callable[..., Server]:
    """Servers with a port for TLS, which have the certificate given, or the usual one."""

    def make(*extra: str, **how: object) -> Server:
        return server("7.0", *extra, tls=certificates.words(**how))  # type: ignore[arg-type]

    return make


def by_tls(server: Server | FaultProxy, certificates: Certificates, *more: str) -> list[str]:
    """The words that name a server's port for TLS, and trust it."""
    port = server.tls_port if isinstance(server, Server) else server.port
    return ["-p", str(port), "-t", "--cacert", certificates.cacert, *more]


def ours(certificates: Certificates) -> list[str]:
    """The words for our own certificate."""
    return ["--cert", certificates.client.cert, "--key", certificates.client.key]


# ---- what works -------------------------------------------------------------------------------------------------


@pytest.mark.covers("tls", "cacert")
@pytest.mark.parametrize(("source_tls", "target_tls"), [(True, False), (False, True), (True, True)])
def test_either_side_or_both_may_be_encrypted(
    source_tls: bool, target_tls: bool, filled: Server, secure: Callable[..., Server], certificates: Certificates
) -> None:
    target = secure()
    before = by_tls(filled, certificates) if source_tls else at(filled)
    after = by_tls(target, certificates) if target_tls else at(target)
    ran = run_keyferry(*before, "replicate", *after, "--workers", "2")
    assert ran.code == 0, ran.err
    assert_equal(filled, target)


@pytest.mark.covers("cert", "key")
def test_a_certificate_of_ours_is_shown_where_the_server_asks_for_one(
    filled: Server, secure: Callable[..., Server], certificates: Certificates
) -> None:
    target = secure(mutual=True)
    ran = run_keyferry(*at(filled), "replicate", *by_tls(target, certificates, *ours(certificates)))
    assert ran.code == 0, ran.err
    assert_equal(filled, target)


def test_certificate_and_key_may_be_one_file(
    secure: Callable[..., Server], certificates: Certificates, tmp_path: Path
) -> None:
    both = tmp_path / "both.pem"
    both.write_text(Path(certificates.client.key).read_text() + Path(certificates.client.cert).read_text())
    assert run_keyferry("ping", *by_tls(secure(mutual=True), certificates, "--cert", str(both))).code == 0


@pytest.mark.covers("sni")
def test_the_name_to_check_may_be_another_than_the_host(
    secure: Callable[..., Server], certificates: Certificates
) -> None:
    one = secure(pair=certificates.issue("other", "db.example"))
    assert run_keyferry("ping", *by_tls(one, certificates)).code == 3
    ran = run_keyferry("ping", *by_tls(one, certificates, "--sni", "db.example"))
    assert ran.code == 0, ran.err


@pytest.mark.covers("insecure")
def test_insecure_checks_neither_certificate_nor_name(filled: Server) -> None:
    assert run_keyferry("ping", "-p", str(filled.tls_port), "-t").code == 3
    ran = run_keyferry("ping", "-p", str(filled.tls_port), "-t", "--insecure")
    assert ran.code == 0, ran.err


@pytest.mark.covers("cacertdir")
def test_a_folder_of_authorities_is_searched_by_hashed_names(
    filled: Server, certificates: Certificates, tmp_path: Path
) -> None:
    words = ("ping", "-p", str(filled.tls_port), "-t", "--cacertdir", str(tmp_path))
    (tmp_path / "ca.pem").write_text(Path(certificates.cacert).read_text())
    ran = run_keyferry(*words)
    assert ran.code == 2
    assert "no certificate is named by its hash" in ran.err
    subprocess.run(["openssl", "rehash", str(tmp_path)], check=True, capture_output=True)
    ran = run_keyferry(*words)
    assert ran.code == 0, ran.err


@pytest.mark.covers("tls-ciphers", "tls-ciphersuites")
@pytest.mark.parametrize(
    ("protocol", "option", "names"), [("TLSv1.2", "--tls-ciphers", CIPHERS), ("TLSv1.3", "--tls-ciphersuites", SUITES)]
)
def test_ciphers_are_those_that_the_user_chose(
    protocol: str, option: str, names: tuple[str, str], secure: Callable[..., Server], certificates: Certificates
) -> None:
    one = secure("--tls-protocols", protocol, option, names[0])
    ran = run_keyferry("ping", *by_tls(one, certificates, option, names[0]))
    assert ran.code == 0, ran.err
    ran = run_keyferry("ping", *by_tls(one, certificates, option, names[1]))
    assert ran.code == 3
    assert "agrees to none of our ciphers" in ran.err


def test_uris_environment_and_the_python_api_say_tls_as_well(
    filled: Server, secure: Callable[..., Server], certificates: Certificates
) -> None:
    target = secure(mutual=True)
    around = {
        "KEYFERRY_SOURCE_URI": f"rediss://localhost:{filled.tls_port}",
        "KEYFERRY_SOURCE_CACERT": certificates.cacert,
        "KEYFERRY_TARGET_PORT": str(target.tls_port),
        "KEYFERRY_TARGET_TLS": "yes",
        "KEYFERRY_TARGET_CACERT": certificates.cacert,
        "KEYFERRY_TARGET_CERT": certificates.client.cert,
        "KEYFERRY_TARGET_KEY": certificates.client.key,
    }
    ran = run_keyferry("replicate", env=around)
    assert ran.code == 0, ran.err
    assert_equal(filled, target)
    target.call("FLUSHALL")
    files = {"cert": certificates.client.cert, "key": certificates.client.key}
    keyferry.replicate(
        keyferry.Endpoint(port=filled.tls_port, tls=keyferry.Tls(cacert=certificates.cacert)),
        keyferry.Endpoint(port=target.tls_port, tls=keyferry.Tls(cacert=certificates.cacert, **files)),
        limit=10, no_verify=True,
    )  # fmt: skip
    assert target.call("DBSIZE") == 10


def test_generate_and_settings_that_are_put_back_go_by_tls(
    secure: Callable[..., Server], server: ServerFactory, certificates: Certificates, tmp_path: Path
) -> None:
    one, target = secure(mutual=True), server("7.0")
    words = by_tls(one, certificates, *ours(certificates))
    assert run_keyferry("generate", *words, "--keys", "2000", "--epoch", "1").code == 0
    state = {"XDG_STATE_HOME": str(tmp_path)}
    ran = run_keyferry(*words, "replicate", *at(target), "--source-rdbcompression", "off", env=state)
    assert ran.code == 0, ran.err
    assert "rdbcompression is yes again" in ran.err
    assert one.call("CONFIG", "GET", "rdbcompression")[1] == b"yes"
    assert_equal(one, target)


@pytest.mark.parametrize("fault", ["cut after 400000 bytes", "reset after 3000000 bytes", "stall after 900000 bytes"])
def test_encrypted_connections_that_are_lost_on_the_way_are_replaced(
    fault: str, filled: Server, secure: Callable[..., Server], certificates: Certificates
) -> None:
    target = secure()
    with FaultProxy(target.tls_port, f"{fault} connection 2+", watch=False) as proxy:
        ran = run_keyferry(*by_tls(filled, certificates), "replicate", *by_tls(proxy, certificates), "-o", "2")
    assert ran.code == 0, ran.err
    assert "connected again" in ran.err
    assert_equal(filled, target)


# ---- what does not ----------------------------------------------------------------------------------------------


def refused(ran: Result, code: int, side: str, *texts: str) -> None:
    """One line that says what, one with a hint, and the exit code."""
    lines = ran.err.splitlines()
    errors = [line for line in lines if line.startswith("error:")]
    assert ran.code == code, ran.err
    assert len(errors) == 1 and errors[0].startswith(f"error: {side} 127.0.0.1:"), ran.err
    assert all(text in errors[0] for text in texts), ran.err
    assert lines[-1].startswith("hint: "), ran.err
    assert all(len(line) <= 200 for line in lines)
    assert ran.seconds < 25  # neither the usual time-out of a minute, nor as long as a server may be waited for


def cases(certificates: Certificates, secure: Callable[..., Server]) -> dict[str, tuple[Server, list[str], str]]:
    """What is wrong → the server, the words that name it, and what is said."""
    trust = ["--cacert", certificates.cacert]
    other = Certificates(certificates.folder / "other")
    usual, mutual = secure(), secure(mutual=True)
    expired = secure(pair=certificates.issue("expired", "127.0.0.1", expired=True))
    elsewhere = secure(pair=certificates.issue("elsewhere", "elsewhere.example"))
    stranger = ["--cert", other.client.cert, "--key", other.client.key]
    plain = ["-p", str(usual.tls_port)]
    return {
        "unknown authority": (usual, [*plain, "-t"], "signed by an unknown authority"),
        "wrong authority": (usual, [*plain, "-t", "--cacert", other.cacert], "signed by an unknown authority"),
        "wrong host name": (elsewhere, by_tls(elsewhere, certificates), "its certificate is not for 127.0.0.1"),
        "expired": (expired, by_tls(expired, certificates), "its certificate has expired"),
        "no certificate of ours": (mutual, by_tls(mutual, certificates), "the server wants a certificate of ours"),
        "a stranger's certificate": (
            mutual,
            by_tls(mutual, certificates, *stranger),
            "does not accept our certificate",
        ),
        "no TLS on a TLS port": (usual, plain, "before its first answer: TLS?"),
        "TLS on a plain port": (usual, [*at(usual), "-t", *trust], "TLS: no answer in time"),
    }


@pytest.mark.parametrize("side", ["source", "target"])
def test_what_does_not_fit_is_one_clear_line_and_nothing_is_copied(
    side: str, server: ServerFactory, secure: Callable[..., Server], certificates: Certificates
) -> None:
    peer = server("7.0")
    peer.call("SET", "k", "v")
    for name, (one, words, text) in cases(certificates, secure).items():
        words = [*words, "-o", "2"]
        command = [*words, "replicate", *at(peer)] if side == "source" else [*at(peer), "replicate", *words]
        ran = run_keyferry(*command, "--wait-for", "30s" if "port" not in name else "0s")
        refused(ran, 3 if side == "source" else 4, side, text)
        assert one.call("DBSIZE") == 0 and peer.call("DBSIZE") == 1, name


def test_words_about_tls_that_contradict_or_cannot_have_an_effect_are_refused(certificates: Certificates) -> None:
    pem, key = certificates.client.cert, certificates.client.key
    foreign = certificates.server.key
    assert "--cacert is about TLS, which is not used" in refusal("ping h --cacert x")
    assert "--insecure is about TLS" in refusal("ping redis://h --insecure")
    assert "says no TLS, -t says TLS" in refusal("ping redis://h -t")
    assert "no TLS on a Unix socket" in refusal("ping -s /tmp/s -t")
    assert "says no TLS, -t says TLS" in refusal("ping unix:///tmp/s -t")
    assert "--key needs --cert" in refusal("ping -h h -t --key x")
    assert "source: --cacert '/nowhere/x': No such file" in refusal("-h h -t --cacert /nowhere/x replicate t")
    assert f"--cacert {key!r}: no certificate in it" in refusal(f"ping -h h -t --cacert {key}")
    assert f"--cert {key!r}: no certificate in it" in refusal(f"ping -h h -t --cert {key}")
    assert f"--cert {pem!r}: no private key in it" in refusal(f"ping -h h -t --cert {pem}")
    assert "do not belong together" in refusal(f"ping -h h -t --cert {pem} --key {foreign}")
    assert "--cacertdir '/nowhere': No such file" in refusal("ping -h h -t --cacertdir /nowhere")
    assert "--tls-ciphers 'NONE'" in refusal("ping -h h -t --tls-ciphers NONE")
    assert "--tls-ciphersuites 'NONE'" in refusal("ping -h h -t --tls-ciphersuites NONE")


@pytest.mark.parametrize("name", [".example", "db..example", "d" * 64])
def test_a_name_to_ask_for_that_can_be_none_is_wrong_usage(name: str) -> None:
    ran = run_keyferry("ping", "-p", "1", "-t", "--sni", name)
    assert ran.code == 2 and f"--sni '{name}': it is no host's name" in ran.err, ran.err


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(certificates: Certificates, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    words = ["openssl", "pkey", "-in", certificates.client.key, "-aes256", "-passout", "pass:x", "-out", str(locked)]
    subprocess.run(words, check=True, capture_output=True)
    said = refusal(f"ping -h h -t --cert {certificates.client.cert} --key {locked}")
    assert "the key needs a passphrase" in said


def test_addresses_say_tls_and_flags_beat_the_environment() -> None:
    assert read("ping rediss://h").servers[0].tls == keyferry.Tls()
    assert read("ping rediss://h -t").servers[0].tls == keyferry.Tls()
    assert read("ping -tlh h --sni n").servers[0].tls == keyferry.Tls(sni="n")
    assert read("ping h", KEYFERRY_TLS="1").servers[0].tls == keyferry.Tls()
    assert read("ping redis://h", KEYFERRY_TLS="1", KEYFERRY_SNI="n").servers[0].tls is None
    assert read("replicate rediss://s t").target.tls is None  # type: ignore[union-attr]


def test_clusters_are_read_and_written_by_tls(cluster: ClusterFactory, certificates: Certificates) -> None:
    source, target = (cluster("7.0", 2, replicas, tls=certificates.words()) for replicas in (1, 0))
    fill(source, 300, tagged=0.3)
    for master in source.masters:
        wait_until_in_step(master, *source.replicas_of(master))
    before, after = (by_tls(one.masters[0], certificates) for one in (source, target))
    for words in ([], ["--read-from", "replica"]):
        target.flush()
        ran = run_keyferry(*before, *words, "replicate", *after, env=VERIFIED)
        assert ran.code == 0 and ran.err.count("cluster of 2 masters") == 2, ran.err
        assert target.dbsize() == source.dbsize()
    # What groups have read, 7.0 does not tell its replicas.
    assert [line for line in differences(source, target) if "entries-read" not in line] == []


def test_sentinels_and_the_servers_of_their_service_are_reached_by_tls(
    server: ServerFactory, certificates: Certificates
) -> None:
    target = server("7.0")
    with Sentinels("7.0", tls=certificates.words()) as group:
        fill(group.master, 300)
        wait_until_in_step(group.master, *group.replicas)
        trust = ("-u", group.uri, "-t", "--cacert", certificates.cacert)
        for words in ((), ("--read-from", "replica")):
            target.call("FLUSHALL")
            ran = run_keyferry(*trust, *words, "replicate", *at(target), env=VERIFIED)
            assert ran.code == 0 and f":{group.master.tls_port}" in ran.err, ran.err
            assert target.call("DBSIZE") == group.master.call("DBSIZE")
        assert f":{group.replicas[0].tls_port} (replica of " in ran.err
        plain = run_keyferry("-u", group.uri, "replicate", *at(target))
        assert plain.code == 3 and "TLS?" in plain.err
