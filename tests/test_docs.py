"""The documentation says what is true: every command and option is in it, and every example in it is run.

Examples name servers that do not exist here. SUBSTITUTED says what stands for what when they are run.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from keyferry import help, options
from keyferry.workers import errors
from tests.conftest import ClustersFactory, ServerFactory
from tests.support.dataset import fill
from tests.support.monitor import Executed, Monitor
from tests.support.processes import VERIFIED, run_keyferry
from tests.support.readme import README, ROOT, rows, section
from tests.support.replication import MASTER, follow
from tests.support.servers import Server

PAGES = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "bench/README.md")

DEMO = "keyferry demo"
#: What an example says → what is run. Hosts become real servers, whatever port they are given; a command that names no
#: server at all gets one by the environment; a test has no terminal to ask for a password, so a file gives it.
SUBSTITUTED = {
    "old": "the first server",
    "new": "the second server",
    "localhost": "the first server",
    "127.0.0.1": "the first server",
    "--askpass": "--pass-file old.password",
    "scripts/demo": DEMO,
}
FIRST, SECOND = ("old", "localhost", "127.0.0.1"), ("new",)
PASSWORD = "secret"


def fences(language: str) -> list[str]:
    """The blocks of README in a language, without their fences."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def option_rows() -> dict[str, list[str]]:
    """The rows of README's tables of options, by the option's long name."""
    found = {}
    for title in ("Connection", "replicate, compare", "generate, demo, ping", "Everywhere"):
        for row in rows(section(title)):
            found[re.findall(r"--([a-z-]+)", row[0])[0]] = row
    return found


# ---- commands, options, exit codes --------------------------------------------------------------------------------


def test_every_option_is_in_the_readme_and_no_other() -> None:
    assert set(option_rows()) == set(options.BY_NAME)


@pytest.mark.parametrize("row", options.BY_NAME.values(), ids=lambda row: row.name)
def test_an_option_is_described_as_it_is(row: options.Option) -> None:
    said = option_rows()[row.name]
    value = f"[={row.metavar}]" if row.name == "pass" else f" {row.metavar}" if row.metavar else ""
    assert f"`--{row.name}{value}`" in said[0]
    assert (f"`-{row.letter}`" in said[0]) == bool(row.letter)
    default = row.default_text or (str(row.default) if row.default and not callable(row.default) else "")
    if len(said) == 3 and default:
        assert said[1] and default.startswith(said[1])
    if len(said) == 3 and said[1]:
        assert default or said[1] == str(row.default)


def test_every_command_is_in_the_readme_and_no_other() -> None:
    named = re.findall(r"`(\w+)`", " ".join(row[0] for row in rows(section("Commands"))))
    assert sorted(named) == sorted(options.COMMAND_NAMES)


def test_every_exit_code_is_in_the_readme_and_no_other() -> None:
    codes = {str(value) for name, value in vars(errors).items() if name.startswith("EXIT_")}
    codes = codes - {str(errors.EXIT_SIGNAL)} | {f"{errors.EXIT_SIGNAL}+n"}
    assert {row[0] for row in rows(section("Exit codes"))} == codes


# ---- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_links_and_scripts_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert "://" in target or (ROOT / page).parent.joinpath(target).exists(), target
    for script in re.findall(r"\bscripts/\w+", text):
        assert (ROOT / script).exists(), script


@pytest.mark.parametrize("page", PAGES)
def test_files_named_in_code_quotes_exist(page: str) -> None:
    for name in re.findall(
        r"`((?:engine|partitioners|workers|tests|bench)/[\w/]*(?:\.py)?)`", (ROOT / page).read_text()
    ):
        assert (ROOT / name).exists(), name


def test_every_script_is_executable_and_named_in_the_documentation() -> None:
    pages = "".join((ROOT / page).read_text() for page in PAGES)
    for script in (ROOT / "scripts").iterdir():
        if script.name != "lib":
            assert script.stat().st_mode & 0o111, script
            assert f"scripts/{script.name}" in pages


def test_links_within_the_readme_lead_to_a_heading() -> None:
    headings = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", README, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= headings


# ---- examples -------------------------------------------------------------------------------------------------------


def runnable() -> list[str]:
    """Each command line of README's `sh` blocks and of the help, once; DEMO is a test of its own."""
    lines = [line for block in fences("sh") for line in block.splitlines()]
    lines += [line for level in help.EXAMPLES.values() for line in level]
    return [line for line in dict.fromkeys(lines) if SUBSTITUTED.get(line, line) != DEMO]


def substituted(line: str, first: Server, second: Server) -> list[str]:
    """The words after `keyferry` that are run for an example, by SUBSTITUTED."""
    ports = {**dict.fromkeys(FIRST, first.port), **dict.fromkeys(SECOND, second.port)}
    words = shlex.split(line.replace("--askpass", SUBSTITUTED["--askpass"]))
    words = shlex.split(SUBSTITUTED.get(words[0], words[0])) + words[1:]
    assert words.pop(0) == "keyferry", f"only keyferry and scripts/demo can be run here: {line}"
    hosts = "|".join(map(re.escape, ports))
    made: list[str] = []
    while words:
        word = words.pop(0)
        address = re.fullmatch(rf"(redis://)?({hosts})(?::\d+)?(/\d+)?", word)
        if word == "-h":
            made += ["-h", "127.0.0.1", "-p", str(ports[words.pop(0)])]
            del words[: 2 if words[:1] == ["-p"] else 0]
        elif address:
            made.append(f"{address[1] or ''}127.0.0.1:{ports[address[2]]}{address[3] or ''}")
        else:
            made.append(word)
    return made


@pytest.mark.parametrize("line", runnable())
def test_every_example_runs(line: str, server: ServerFactory, tmp_path: Path) -> None:
    locked = "password" in line or "--askpass" in line
    first, second = (server("9.1", password=PASSWORD) if locked else server("9.1") for _ in range(2))
    for name in ("old", "new"):
        (tmp_path / f"{name}.password").write_text(PASSWORD + "\n")
        (tmp_path / f"{name}.password").chmod(0o600)
    for one in (first, second):
        one.client.mset({f"{one.port}:{n}": "value" for n in range(300)})
        if " compare " in line:  # nothing must differ, and a sample must have some of the keys
            one.client.flushdb()
            one.client.mset({f"user:{n}": "value" for n in range(2_000)})
    ran = run_keyferry(
        *substituted(line, first, second), env={"KEYFERRY_PORT": str(first.port)}, cwd=str(tmp_path), timeout=60
    )
    assert ran.code == 0, ran.err
    assert ran.out
    assert "error" not in ran.err
    partial = any(f"--{name} " in f"{line} " for name in ("dry-run", "help", "db-map", "match", "type", "limit"))
    if " replicate " in line and not partial:
        assert second.client.exists(f"{first.port}:7")


@pytest.mark.parametrize("block", fences("python"))
def test_every_block_of_python_runs(block: str, server: ServerFactory, tmp_path: Path) -> None:
    first, second = server("9.1"), server("9.1")
    first.client.mset({f"key:{n}": "value" for n in range(300)})
    code = block.replace("old:6379", first.address).replace("new:6379", second.address)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert second.client.dbsize() == 300


def test_the_demos_output_in_the_readme_has_the_lines_of_a_real_one(tmp_path: Path) -> None:
    ran = run_keyferry(*shlex.split(DEMO)[1:], env=VERIFIED, cwd=str(tmp_path))
    assert ran.code == 0, ran.err

    def shape(text: str) -> list[str]:
        """First words of the lines; figures and folders are others each time."""
        return [re.sub(r"\d[\d,]*(?!/)|/.*", "#", (line.split() or [""])[0]) for line in text.splitlines()]

    assert shape(fences("text")[0]) == shape(ran.err + ran.out)


# ---- what is sent ---------------------------------------------------------------------------------------------

#: Filters that ask for everything, and let everything pass.
FILTERS = ("--type", "string,list", "--min-ttl", "0s", "--max-size", "1gb")
#: Commands that are documented with their second word.
WITH_SUBCOMMAND = ("ACL", "CLIENT", "CLUSTER", "CONFIG", "MEMORY")


def documented(side: str, *whens: str) -> set[str]:
    """The commands that README says are sent to a side."""
    table = {row[0].partition(",")[0].strip("`"): row for row in rows(section("What it sends to the servers"))}
    cells = [table[when][{"source": 1, "target": 2}[side]] for when in whens]
    return {name for cell in cells for name in re.findall(r"`([A-Z][A-Z -]+)`", cell)}


def names(commands: list[Executed]) -> set[str]:
    """The names of commands as they are documented."""
    return {
        f"{one.name} {one.args[1].decode().upper()}" if one.name in WITH_SUBCOMMAND else one.name for one in commands
    }


@pytest.mark.parametrize("kind", ["6.2", "7.0", "8.2", "9.1"])
def test_a_dry_run_sends_only_what_is_documented_and_changes_nothing(kind: str, server: ServerFactory) -> None:
    first, second = server(kind, password=PASSWORD), server(kind)
    first.client.mset({f"key:{n}": "value" for n in range(30_000)})
    second.client.set("key:1", "another")
    before = [one.info("persistence")["rdb_changes_since_last_save"] for one in (first, second)]
    with Monitor(first) as source, Monitor(second) as target:
        ran = run_keyferry("replicate", f"redis://:{PASSWORD}@{first.address}", second.address, "--dry-run")
    assert ran.code == 0
    assert names(source.commands) <= documented("source", "--dry-run", "verification")
    assert names(target.commands) <= documented("target", "--dry-run", "verification")
    asked = {arg for one in source.commands if one.name in ("DUMP", "MGET", "GET") for arg in one.args[1:]}
    assert len(asked) == 1 and asked.pop().startswith(b"keyferry:")
    assert [one.info("persistence")["rdb_changes_since_last_save"] for one in (first, second)] == before


@pytest.mark.parametrize("kind", ["7.0", "8.2"])
def test_a_copy_of_a_cluster_sends_only_what_is_documented(kind: str, clusters: ClustersFactory) -> None:
    first, second = clusters((kind, 3, 0), (kind, 3, 0))
    with first.connect() as connection:
        for n in range(3_000):
            connection.must("SET", f"key:{n}", "value")
    with Monitor(first.masters[0]) as source, Monitor(second.masters[0]) as target:
        ran = run_keyferry("replicate", first.masters[0].address, second.masters[0].address, env=VERIFIED)
    assert ran.code == 0
    whens = ("--dry-run", "replicate", "verification", "a cluster")
    assert "CLUSTER NODES" in names(source.commands) <= documented("source", *whens)
    assert "CLUSTER NODES" in names(target.commands) <= documented("target", *whens)


#: Options, and the rows of the table that they add.
MORE_IS_SENT: dict[str, tuple[str, ...]] = {
    "--on-conflict skip": ("--on-conflict skip` or `fail",),
    "--on-conflict fail --require-empty": ("--on-conflict skip` or `fail",),
    "--atomic": (),
    "--no-ttl --max-ttl 9h": (),
    "--verify quick --repair": (),
    "--limit 2000": (),
    "--source-rdbcompression off": ("--source-rdbcompression",),
    "--live --idle-timeout 500ms": ("--live",),
    "--live --idle-timeout 500ms --enable-notifications --prune --repair": (
        "--live",
        "--source-rdbcompression",
    ),
}


@pytest.mark.parametrize("kind", ["6.2", "7.0", "8.2", "9.1"])
@pytest.mark.parametrize("options", MORE_IS_SENT)
def test_with_other_options_only_what_is_documented_is_sent_either(
    options: str, kind: str, server: ServerFactory
) -> None:
    first, second = server(kind), server(kind)
    fill(first, 1_000)
    first.call("XGROUP", "CREATE", "events", "group", "0", "MKSTREAM")
    if "--require-empty" not in options:
        second.client.set("int:1", "another")
        second.client.set("extra", "value")
    words = ["replicate", first.address, second.address, *options.split()]
    with Monitor(first) as source, Monitor(second) as target:
        ran = run_keyferry(*words, env=VERIFIED)
    assert ran.code == 0, ran.err
    whens = ("--dry-run", "replicate", "verification", *MORE_IS_SENT[options])
    assert names(source.commands) - documented("source", *whens) == set()
    assert names(target.commands) - documented("target", *whens) == set()


@pytest.mark.parametrize("kind", ["7.0", "9.1"])
@pytest.mark.parametrize("live", [(), ("--live", "--idle-timeout", "500ms")], ids=["copy", "live"])
def test_of_a_master_whose_replica_is_read_only_what_is_documented_is_asked(
    live: tuple[str, ...], kind: str, server: ServerFactory
) -> None:
    first, between, second = server(kind, *MASTER), server(kind, fresh=True), server(kind)
    fill(first, 1_000)
    follow(between, first)
    words = ("-u", first.uri, "--read-from", "replica", "replicate", "-u", second.uri, *live)
    with Monitor(first) as master, Monitor(between) as replica:
        ran = run_keyferry(*words, env=VERIFIED)
    assert ran.code == 0, ran.err
    (row,) = [row for row in rows(section("What it sends to the servers")) if row[0] == "`--read-from replica`"]
    of_the_master = set(re.findall(r"`([A-Z][A-Z -]+)`", row[1].partition("of the master")[2]))
    assert names(asked_by_us(master)) - of_the_master == set()
    whens = ("--dry-run", "replicate", "verification", "--read-from replica", *(["--live"] if live else []))
    assert names(asked_by_us(replica)) - documented("source", *whens) == set()


def asked_by_us(seen: Monitor) -> list[Executed]:
    """What a master and its replica say to each other is left out."""
    return [one for one in seen.commands if one.name not in ("REPLCONF", "PSYNC") and one.client != "?:0"]


@pytest.mark.parametrize("kind", ["6.2", "9.1"])
@pytest.mark.parametrize("method", ["auto", "native", "dump"])
def test_a_copy_sends_only_what_is_documented(kind: str, method: str, server: ServerFactory) -> None:
    first, second = server(kind), server(kind)
    first.client.mset({f"key:{n}": "value" for n in range(3_000)})
    first.client.rpush("list", "value")
    first.client.set("large", b"v" * 100_000, px=100_000)
    with Monitor(first) as source, Monitor(second) as target:
        ran = run_keyferry("replicate", first.address, second.address, "--method", method, *FILTERS, env=VERIFIED)
    assert ran.code == 0
    whens = ("--dry-run", "replicate", "verification")
    assert names(source.commands) <= documented("source", *whens)
    assert names(target.commands) <= documented("target", *whens)
