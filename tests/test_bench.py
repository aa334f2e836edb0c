"""The benchmark still runs and tells the truth about failures; how fast anything is, no test asks."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench import facts, publish
from bench.chart import COLOURS, chart
from bench.data import DATASETS, Loaded
from bench.goals import goals
from bench.measure import LEFT_S
from bench.options import PARTS, PUBLISHED, SMOKE_DATA, parse
from bench.parts import MEASURES
from bench.parts.growth import asked_share, given_to_those_who_ask, growth, huge_share
from bench.parts.growth import server as server_with
from bench.peers import MIGRATE_KEYS, TOOLS, Tool, available
from bench.report import FIGURES, summarize, table
from bench.rounds import Round, play
from tests.conftest import ServerFactory
from tests.support import binaries
from tests.support.processes import start_command

ROOT = Path(__file__).resolve().parents[1]

#: Figures that come from looks at the processes or from the machine's ticks: 0 for a copy that takes a moment.
UNSEEN = {"others_share", "client_cpu_seen_us_per_key", "peak_pss_mb"}
TOOL_NAMES = {tool.name for tool in TOOLS}


#: Two smoke runs that together measure every part, at the same time where two tests run.
HALVES = ("copy", "memory", "growth", "cluster"), ("compression", "distance", "limits", "methods")


def measured(folder: Path, *wanted: str) -> dict[str, Any]:
    """What a smoke run of these parts has written."""
    binaries.find("7.0")
    words = (sys.executable, str(ROOT / "bench/run.py"), "--smoke", "--parts", ",".join(wanted), "--json", "out.json")
    with start_command(*words, cwd=str(folder), env={"XDG_STATE_HOME": str(folder)}) as run:
        done = run.wait(380)
    assert done.code == 0, done.err
    assert not done.left
    assert max(map(len, done.out.splitlines())) <= 80
    parts: dict[str, Any] = json.loads((folder / "out.json").read_text())["parts"]
    assert set(parts) == set(wanted)
    for part in parts.values():
        assert part["versions"]["server"].startswith("Redis 7.0.")
        assert part["machine"]["cores"] >= 1
        for item in part["data"]:
            check(item)
    assert publish.tables("7.0", parts).count("\n### ") == sum(len(part["data"]) for part in parts.values())
    return parts


@pytest.mark.timeout(400)
def test_a_smoke_run_copies_by_all_tools_and_between_clusters(tmp_path: Path) -> None:
    parts = measured(tmp_path, *HALVES[0])
    copies = parts["copy"]["data"]
    assert [item["name"] for item in copies] == list(SMOKE_DATA)
    for item in copies:
        assert set(item["tools"]) == set(item["commands"]) == TOOL_NAMES
        assert set(item["ratios"]) == {"keyferry/migrate", "keyferry/pipeline"}
    assert set(parts["cluster"]["data"][0]["ratios"]) == {"keyferry/loop", "keyferry/pipeline"}
    assert {goal.what.split(":")[0] for goal in goals(parts)} >= {"100B", "mixed", "cluster to cluster, 100B"}


@pytest.mark.timeout(400)
def test_a_smoke_run_measures_all_other_parts(tmp_path: Path) -> None:
    assert set(HALVES[0] + HALVES[1]) == set(PARTS) and tuple(MEASURES) == PARTS
    parts = measured(tmp_path, *HALVES[1])
    assert [set(item["ratios"]) for item in parts["compression"]["data"]] == 2 * [{"off/on", "off/migrate"}]
    assert set(parts["distance"]["data"][0]["ratios"]) == {"+20 ms/near"}
    check_distance(parts["distance"]["data"][0])
    rate, bandwidth, _ = parts["limits"]["data"]
    assert rate["reached"]["median"] <= 1.5 * rate["wanted"]
    assert bandwidth["reached"]["median"] <= 1.5 * bandwidth["wanted"]
    assert {goal.what.split(":")[0] for goal in goals(parts)} >= {"2 KB mixed", "--rate 20000"}


def check(item: dict[str, Any]) -> None:
    """One item of the JSON is complete, and its figures are possible."""
    for figures in item["tools"].values():
        assert figures["failures"] == []
        for name in set(FIGURES) - UNSEEN:
            assert 0 < figures[name]["min"] <= figures[name]["median"] <= figures[name]["max"], name
    assert all(ratio["median"] > 0 for ratio in item["ratios"].values())


def check_distance(item: dict[str, Any]) -> None:
    """Each of the two links leads through proxies of its own. That a proxy delays is for its own tests to show."""
    ports = [re.findall(r"-p (\d+)", item["commands"][name]) for name in ("near", "+20 ms")]
    assert len({*ports[0], *ports[1]}) == 4, ports


def test_single_functions_of_the_hot_path_can_be_measured(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    words = ("-m", "pytest", "bench/micro", "-q", "-n", "0", "-p", "no:cacheprovider", f"--benchmark-json={figures}")
    quick = ("--benchmark-min-rounds=1", "--benchmark-max-time=0.001", "--benchmark-warmup=off")
    alone = {"PYTEST_XDIST_WORKER": ""}  # beside other tests, pytest-benchmark measures nothing
    with start_command(sys.executable, *words, *quick, cwd=str(ROOT), env=alone) as run:
        done = run.wait()
    assert done.code == 0, done.out
    measured = {one["fullname"].split("::")[0] for one in json.loads(figures.read_text())["benchmarks"]}
    nouns = ("cursors", "expiries", "filters", "replies", "requests", "unparsed")
    assert measured == {f"bench/micro/test_{noun}.py" for noun in nouns}


# ---- what is asked for -------------------------------------------------------------------------------------


def test_the_run_that_is_published_has_the_parts_and_keys_that_the_goals_ask_for() -> None:
    options = parse(["--publish", "--tools", "keyferry,migrate"])
    assert (options.parts, options.keys, options.rounds) == (PUBLISHED, 2_000_000, 5)
    assert options.tools == ("keyferry", "migrate")
    assert options.data == tuple(dataset.name for dataset in DATASETS)
    growth = parse(["--scale", "growth"])
    assert (growth.parts, growth.keys) == (("growth",), 2_000_000)
    assert parse([]).parts == ("copy",)


def test_every_data_set_has_its_keys_of_one_migrate() -> None:
    assert set(MIGRATE_KEYS) >= {dataset.name for dataset in DATASETS}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--tools", "keyfery"], "keyfery: not one of keyferry, migrate"),
        (["--data", "1GB"], "1GB: not one of 100B"),
        (["--parts", "copy,speed"], "speed: not one of copy"),
        (["--scale", "copy"], "copy: not one of memory, growth"),
        (["--scale", "growth", "--parts", "copy"], "exclude each other"),
        (["--rounds", "0"], "at least 1"),
        (["--tools", "riot"], "riot: its command has to be in the environment"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RIOT", raising=False)
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


# ---- other people's programs -------------------------------------------------------------------------------

#: Stands in for both: copies the keys if it is called as the real program has to be, else says what is wrong.
STAND_IN = """\
import re, sys, tomllib
from tests.support.wire import Connection

if sys.argv[1:2] == ["replicate"]:
    source, target = (re.fullmatch(r"redis://127.0.0.1:(\\d+)", word)[1] for word in sys.argv[2:4])
    options = dict(zip(sys.argv[4::2], sys.argv[5::2], strict=True))
    assert options.pop("--compare") == options.pop("--progress") == "NONE", options
    assert {"--scan-count", "--batch", "--threads", "--read-batch", "--read-threads"} == set(options), options
else:
    assert sys.argv[1] == "first option", sys.argv
    text = tomllib.loads(open(sys.argv[2]).read())
    assert set(text) == {"scan_reader", "redis_writer", "advanced"} and text["scan_reader"]["scan"] is True
    assert text["advanced"]["rdb_restore_command_behavior"] == "rewrite"
    source, target = (text[part]["address"].partition("127.0.0.1:")[2] for part in ("scan_reader", "redis_writer"))
with Connection(("127.0.0.1", int(source))) as old, Connection(("127.0.0.1", int(target))) as new:
    for key in old.must("KEYS", "*"):
        new.must("RESTORE", key, 0, old.must("DUMP", key), "REPLACE")
"""


@pytest.mark.parametrize(
    ("name", "variable", "more"), [("redis-shake", "REDIS_SHAKE", " 'first option'"), ("riot", "RIOT", "")]
)
def test_a_tool_that_the_environment_names_is_measured_too(
    name: str, variable: str, more: str, tmp_path: Path, server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert name not in {tool.name for tool in available()}
    stand_in = tmp_path / "stand in.py"
    stand_in.write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv(variable, f"{sys.executable} '{stand_in}'{more}")
    source, target = server("7.0"), server("7.0")
    source.call("MSET", "a", "1", "b", "2")
    (tool,) = [tool for tool in available() if tool.name == name]
    done = play(tool, 0, "100B", Loaded(2, 2), source, target)
    assert done.failed == ""
    assert target.call("MGET", "a", "b") == [b"1", b"2"]


# ---- what is said of a round -------------------------------------------------------------------------------


def test_a_tool_that_copies_nothing_has_failed(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    source.call("SET", "a", "1")
    idle = Tool("idle", lambda _data, _source, _target: [sys.executable, "-c", "pass"])
    done = play(idle, 0, "100B", Loaded(1, 1), source, target)
    assert done.failed == "0 keys arrived of 1"
    assert "! idle, round 0: 0 keys arrived of 1" in table(
        {**summarize([done]), "name": "", "what": "", "keys": 1, "bytes": 1}
    )


def test_a_process_that_outlives_its_command_is_counted_and_then_killed(server: ServerFactory) -> None:
    """The command ends once the other one was busy for half a second; the wait for that one is not the command's."""
    script = (
        "import subprocess, sys; words = [sys.executable, '-c', {!r}]\n"
        "subprocess.Popen(words, start_new_session=True, stdout=subprocess.PIPE).stdout.readline()"
    )
    busy = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ntime.sleep(1000)"
    tool = Tool("orphans", lambda _data, _source, _target: [sys.executable, "-c", script.format(busy)])
    began = time.monotonic()
    done = play(tool, 0, "100B", Loaded(1, 1), server("7.0"), server("7.0"))
    assert done.failed == "1 processes were left behind"
    assert done.client_cpu_s >= 0.5
    assert done.seconds + LEFT_S < time.monotonic() - began


def round_of(tool: str, number: int, seconds: float, failed: str = "") -> Round:
    """A round of 1,000 keys of 100 B that took so long."""
    return Round(tool, number, 1000, 100_000, seconds, 0.002, 0.002, None, None, 0.003, 0.001, 10**6, 0.0, failed)


def test_ratios_are_taken_round_by_round_and_without_failures() -> None:
    rounds = [round_of("keyferry", 0, 1.0), round_of("migrate", 0, 2.0)]
    rounds += [round_of("keyferry", 1, 2.0), round_of("migrate", 1, 8.0)]
    rounds += [round_of("keyferry", 2, 1.0), round_of("migrate", 2, 0.1, "it broke")]
    result = summarize(rounds)
    assert result["ratios"]["keyferry/migrate"] == {"median": 3.0, "min": 2.0, "max": 4.0}
    assert result["tools"]["migrate"]["keys_per_second"] == {"median": 312.5, "min": 125.0, "max": 500.0}
    assert result["tools"]["migrate"]["failures"] == ["round 2: it broke"]
    assert result["tools"]["keyferry"]["client_cpu_us_per_key"]["median"] == pytest.approx(2.0)


def test_the_floor_is_the_busier_server_or_all_processors_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    tools = summarize([round_of("keyferry", 0, 1.0)])["tools"]
    assert tools["keyferry"]["of_floor"]["median"] == pytest.approx(1 / 0.003, rel=0.001)  # 2 + 3 + 1 ms on 2 cores
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3})
    tools = summarize([round_of("keyferry", 0, 1.0)])["tools"]
    assert tools["keyferry"]["of_floor"]["median"] == pytest.approx(1 / 0.003, rel=0.001)  # the source alone


def test_growth_is_of_the_time_for_a_key() -> None:
    beside = [round_of("keyferry", 0, seconds) for seconds in (1.0, 1.0, 9.0)]
    large = [replace(round_of("keyferry", number, seconds), keys=10_000) for number, seconds in enumerate((12.0, 11.0))]
    grown = growth([(beside, one) for one in large])
    assert grown["seconds"] == {"median": 1.15, "min": 1.1, "max": 1.2}
    # The same processor time, for ten times as many keys.
    assert {figures["median"] for name, figures in grown.items() if name != "seconds"} == {0.1}
    failed = replace(large[0], failed="exit code 3")
    assert growth([(beside, failed)]) == growth([([failed], large[0])]) == {}


@pytest.mark.parametrize(("allocator", "version"), [("jemalloc", "7.0"), ("libc", "9.1")])
def test_servers_with_huge_pages_ask_for_them(allocator: str, version: str) -> None:
    """Whichever allocator they have, at every start; those as they come do not. How many they get is the kernel's."""
    for pages in ("plain", "huge", "huge", "huge"):
        with server_with(version, pages) as held:
            assert held.info("memory")["mem_allocator"].startswith(allocator)
            held.call("DEBUG", "POPULATE", 100_000, "key", 1000)
            if given_to_those_who_ask():
                asked = asked_share(held)
                assert asked > 0.5 if pages == "huge" else asked == huge_share(held) == 0


# ---- what is published -------------------------------------------------------------------------------------


def test_what_is_published_is_what_the_committed_figures_say() -> None:
    parts = publish.read(publish.SHOWN)["parts"]
    assert publish.path_of(publish.SHOWN).with_suffix(".md").read_text() == publish.tables(publish.SHOWN, parts)
    assert (publish.RESULTS / "copy.svg").read_text() == publish.picture(parts["copy"])
    readme = publish.README.read_text()
    assert publish.with_block(readme, parts["copy"]) == readme
    for part in parts.values():
        assert part["machine"]["cpu"] and part["versions"]["commit"] and part["started"]


def test_the_pace_of_python_is_told_where_it_was_measured() -> None:
    part = publish.read(publish.SHOWN)["parts"]["copy"]
    part["machine"] = {**facts.machine(), "loop_ns": 12.5}
    assert "; 12.5 ns a step of an empty loop\n" in publish.tables(publish.SHOWN, {"copy": part})
    del part["machine"]["loop_ns"]
    assert "empty loop" not in publish.tables(publish.SHOWN, {"copy": part})
    assert 0 < facts.loop_ns() < 10_000


def test_parts_that_are_measured_again_replace_the_old_ones_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = publish.read(publish.SHOWN)["parts"]
    monkeypatch.setattr(publish, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(publish, "README", tmp_path / "README.md")
    publish.README.write_text(f"before {publish.BEGIN}old{publish.END} after")
    publish.publish(publish.SHOWN, {"copy": parts["copy"], "memory": {**parts["copy"], "data": []}})
    publish.publish(publish.SHOWN, {"copy": {**parts["copy"], "rounds": 77}})
    found = publish.read(publish.SHOWN)["parts"]
    assert (set(found), found["copy"]["rounds"]) == ({"copy", "memory"}, 77)
    text = publish.README.read_text()
    assert text.startswith("before ") and text.endswith(" after") and "bench/results/copy.svg" in text


def test_the_chart_is_plain_svg_with_a_bar_for_each_tool_on_pages_of_either_kind() -> None:
    rounds = [round_of(name, 0, seconds) for name, seconds in (("keyferry", 1.0), ("migrate", 2.0), ("a<b", 4.0))]
    item = {"name": "100B", **summarize(rounds)}
    text = chart("Title & more", "note", [item], "migrate")
    svg = ElementTree.fromstring(text)
    name = "{http://www.w3.org/2000/svg}"
    bars = [one for one in svg.iter(f"{name}rect") if one.get("height") == "15"]
    widths = [float(one.get("width", "0")) for one in bars]
    assert widths == pytest.approx([2 * widths[1], widths[1], widths[1] / 2], abs=0.2)
    assert len({one.get("fill") for one in bars} & set(COLOURS)) == 3
    assert "prefers-color-scheme: dark" in text
    assert {one.tag.removeprefix(name) for one in svg.iter()} <= {"svg", "title", "style", "text", "rect", "line"}
    shown = [one.text for one in svg.iter(f"{name}text")]
    assert "2.00x · 1,000 keys/s" in shown and "a<b" in shown
