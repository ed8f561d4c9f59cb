"""The page of the side-by-side benchmark: sections are replaced by themselves, and the summary says what they say."""

import dataclasses
import sys
import time

import compare_all
import pytest
from compare_all import PARTS, run
from compare_page import AMISS, Ratio, numbers, rebuilt, section_of, tables

SUMMARY = {part.name: part.summary for part in PARTS}

# As the scripts of the parts print them.
PRINTED = {
    "gateway": """2026-11-21, 2 cores
| signal | program | items a run | CPU-µs an item | peak RSS, MiB |
|---|---|---|---|---|
| logs | Tidegate, stored durably | 800,000 | 2.78 (2.71–2.85) | 132 |
| logs | otelcol, forwarded to a sink | 800,000 | 2.84 (2.74–2.95) | 127 |
| logs | ratio | | 0.98 | |
| metrics | Tidegate, stored durably | 1,600,000 | 1.03 (0.92–1.14) | 82 |
| metrics | otelcol, forwarded to a sink | 1,600,000 | 2.42 (2.31–2.53) | 129 |
| metrics | ratio | | 0.43 | |
""",
    "forwarding": """| signal, protocol, compression in→out | Tidegate CPU-µs an item | otelcol | ratio | at most | peak RSS MiB |
|---|---|---|---|---|---|
| logs grpc none→none | 0.60 | 3.00 | 0.20 | 0.33 | 27, 285 |
| logs grpc gzip→none | 1.00 | 4.00 | 0.25 | 0.33 | 31, 129 |
| logs http gzip→gzip | 3.00 | 10.00 | 0.30 | 0.50 | 30, 221 |
""",
    "metrics": """| protocol | program | CPU-µs a sample | ratio | RSS a series, B | peak RSS, MiB | log, B a sample | block, B a sample | ready after kill -9, s (CPU-s) |
|---|---|---|---|---|---|---|---|---|
| remote write 1 | Tidegate | 2.40 | 0.46 | 1,885 | 230 | 2.40 | 3.86 | 0.50 (0.82) |
| remote write 1 | Prometheus | 4.80 | 1.00 | 3,986 | 460 | 6.69 | 3.86 | 2.00 (5.71) |
| remote write 1 | VictoriaMetrics | 1.50 | 0.29 | 2,065 | 305 | 0.00 | 2.92 | 0.11 (0.17) |
| OTLP HTTP gzip | Tidegate | 0.60 | 0.13 | 1,928 | 225 | 2.44 | 3.78 | 0.52 (0.90) |
| OTLP HTTP gzip | Prometheus | 4.46 | 1.00 | 4,276 | 608 | 6.45 | 3.78 | 2.60 (4.62) |
""",
    "promql": """| query | tidegate CPU-ms (wall) | prometheus CPU-ms (wall) | ratio |
|---|---|---|---|
| sum by (mode) (rate) 1 h | 10.0 (88.0) | 40.0 (501.8) | 0.25 |
| raw selector 1 h | 4.0 (27.7) | 5.0 (24.3) | 0.80 |
| sum | 14 | 45 | 0.31 |
""",
    "logs": """| | push, CPU-s/GB | to files, CPU-s/GB | wall, s | peak RSS, MiB | on disk per raw byte |
|---|---|---|---|---|---|
| tidegate | 24.0 | 5.9 | 38 | 219 | 0.271 |
| loki | 60.0 | 5.0 | 113 | 442 | 0.284 |

| query over all 6 h | tidegate, ms (CPU-ms) | loki, ms (CPU-ms) | share | aim | |
|---|---|---|---|---|---|
| unique id, whole word | 58.1 (4.0) | 16,768.3 (2,900.0) | 1/681 | 1/50 | ok |
| json filter | 858.1 (300.0) | 3872.9 (1100.0) | 1/5 | 1/3 | ok |
""",
    "compaction": """90 blocks of two replicas
| | CPU s | wall s | peak MiB | MiB written |
|---|---|---|---|---|
| tidegate blocks compact | 4.0 | 5.0 | 100.0 | 500.0 |
| thanos compact | 16.0 | 10.0 | 400.0 | 500.0 |
""",
    "store": """8 blocks
| query | tidegate CPU-ms (wall) | thanos CPU-ms (wall) | ratio |
|---|---|---|---|
| one metric, 6 h | 5.0 (4.0) | 10.0 (9.0) | 0.50 |
| sum of all counters, 6 h | 5.0 (4.0) | 20.0 (9.0) | 0.25 |
| sum | 10 | 30 | 0.33 |

| program | ready after, s | CPU until ready, s | peak RSS, MiB |
|---|---|---|---|
| tidegate | 0.30 | 0.10 | 50 |
| thanos | 1.30 | 0.40 | 200 |
""",
}


def check(part, expected):
    """`expected`: some of the ratios, by a part of their names."""
    found = {(one.what, one.beside): round(one.ratio, 2) for one in SUMMARY[part](PRINTED[part])}
    for (what, beside), ratio in expected.items():
        hits = [value for (name, peer), value in found.items() if what in name and peer == beside]
        assert hits == [ratio], (part, what, beside, found)
    return found


def test_the_summary_has_what_the_tables_have():
    check("gateway", {("CPU-µs of a log record", "otelcol"): 0.98, ("CPU-µs of a data point", "otelcol"): 0.43,
                      ("peak memory in MiB, logs", "otelcol"): 1.04})
    check("forwarding", {("middle of 3: logs grpc gzip→none", "otelcol"): 0.25, ("worst: logs http", "otelcol"): 0.3,
                         ("peak memory", "otelcol"): 0.14})
    check("metrics", {("remote write 1, CPU", "Prometheus"): 0.5, ("remote write 1, CPU", "VictoriaMetrics"): 1.6,
                      ("remote write 1, s until ready", "Prometheus"): 0.25, ("OTLP HTTP gzip, CPU", "Prometheus"): 0.13})
    check("promql", {("CPU-ms of 2 queries", "Prometheus"): 0.31, ("worst: raw selector", "Prometheus"): 0.8})
    check("logs", {("pushed and in files", "Loki"): 0.46, ("CPU-ms of 2 queries", "Loki"): 0.08,
                   ("worst: json filter", "Loki"): 0.27})
    check("compaction", {("CPU-s", "Thanos"): 0.25, ("wall", "Thanos"): 0.5, ("peak memory", "Thanos"): 0.25})
    check("store", {("CPU-ms of 2 queries", "Thanos"): 0.33, ("worst: one metric", "Thanos"): 0.5,
                    ("until ready", "Thanos"): 0.25, ("peak memory", "Thanos"): 0.25})


def test_a_part_replaces_its_own_section_and_no_other():
    names = [part.name for part in PARTS]
    first = rebuilt("old text", names, {"logs": PRINTED["logs"]}, SUMMARY)
    assert "old text" not in first and "| gateway | not run |" in first
    second = rebuilt(first, names, {"gateway": PRINTED["gateway"]}, SUMMARY)
    assert section_of(second, "logs") == PRINTED["logs"] and section_of(second, "gateway") == PRINTED["gateway"]
    assert second.index("gateway begins") < second.index("logs begins")
    beside = "stored durably beside forwarded"
    assert f"- peak memory in MiB, logs, {beside}: 1.04 of otelcol\n" in second and "more in 1;" in second, second
    third = rebuilt(second, names, {"gateway": "**This part failed**: `compare_gateway.py` did not end\n"}, SUMMARY)
    assert "| gateway | failed: see its section" in third and section_of(third, "logs") == PRINTED["logs"]


def test_a_part_of_which_something_failed_does_not_count():
    names = [part.name for part in PARTS]
    amiss = f"**{AMISS}**: `compare_logs.py` ended with exit code 1.\n\n" + PRINTED["logs"]
    page = rebuilt("", names, {"gateway": PRINTED["gateway"], "logs": amiss}, SUMMARY)
    assert "| logs | not all of it is as it should be: see its section; these lines do not count |" in page
    assert "| logs | logs, pushed and in files" in page
    assert "Of 4 lines" in page, page


def test_queries_whose_answers_differ_are_in_no_ratio():
    differs = PRINTED["logs"].replace("858.1 (300.0) | 3872.9 (1100.0) | 1/5 | 1/3 | ok |",
                                      "858.1 (9000.0) | 3872.9 (1.0) | 1/5 | 1/3 | MISSED, answers differ: 2 and 3 |")
    assert differs != PRINTED["logs"]
    found = {one.what: one for one in SUMMARY["logs"](differs)}
    assert found["LogQL, CPU-ms of 1 queries"].ours == 4 and "LogQL, CPU-ms of the worst: unique id, whole word" in found


def test_the_run_fails_with_any_of_its_parts(tmp_path, monkeypatch):
    script, page = tmp_path / "part.py", tmp_path / "page.md"
    monkeypatch.setattr(compare_all, "PARTS", [dataclasses.replace(PARTS[0], script=str(script))])
    monkeypatch.setattr(compare_all, "PAGE", page)
    monkeypatch.setattr(sys, "argv", ["compare"])
    script.write_text(f"print({PRINTED['gateway']!r})\n")
    assert compare_all.main() == 0 and "Of 4 lines" in page.read_text()
    script.write_text(f"print({PRINTED['gateway']!r})\nraise SystemExit('answers differ')\n")
    assert compare_all.main() == 1 and AMISS in page.read_text() and "Of 4 lines" not in page.read_text()


def ended(process):
    try:
        with open(f"/proc/{process}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_part_that_fails_or_hangs_says_so_and_leaves_no_program_behind(tmp_path):
    script = tmp_path / "part.py"
    part = dataclasses.replace(PARTS[0], script=str(script))
    script.write_text("print('| a |\\n|---|\\n| 1 |')\nraise SystemExit('no peer')\n")
    section, fault = run(part, 30)
    assert "ended with exit code 1" in fault and fault in section and "no peer" in section and "| 1 |" in section, section
    script.write_text("import subprocess, time\nprint(subprocess.Popen(['sleep', '600']).pid, flush=True)\ntime.sleep(600)\n")
    began = time.monotonic()
    section, fault = run(part, 3)
    assert time.monotonic() - began < 20 and "**This part failed**" in section and "did not end within 3 s" in fault, section
    assert ended(int(section.splitlines()[-1])), section


@pytest.mark.parametrize("cell, expected", [("2.78 (2.71–2.85)", [2.78, 2.71, 2.85]), ("1,885", [1885]), ("27, 285", [27, 285]),
                                            ("**0.5**", [0.5])])
def test_numbers_in_cells(cell, expected):
    assert numbers(cell) == expected


def test_tables_end_where_they_end():
    one, two = tables("x\n| a | b |\n|---|---|\n| 1 | 2 |\n\n| c |\n|---|\n| 3 |")
    assert (one.columns, one.rows, two.rows) == (["a", "b"], [["1", "2"]], [["3"]])
    assert Ratio("x", "y", 1, 0).ratio != 1
