"""Blocks of a real Prometheus, read by `tidegate blocks` as `promtool` reads them."""

import json
import random
import subprocess
import time

import pytest
import requests
from conftest import Process, TARGET, free_port, peer

START = 1_700_006_400  # On a two-hour boundary.


def promtool(*arguments):
    done = subprocess.run([peer("promtool"), "tsdb", *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def blocks(*arguments, fails=False):
    done = subprocess.run([TARGET / "tidegate", "blocks", *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert (done.returncode != 0) == fails, done.stderr + done.stdout
    return done.stdout + (done.stderr if fails else "")


def dumps_alike(folder):
    """Both dumps have the same lines; promtool's order of series is that of its hash."""
    # promtool opens nothing without this folder.
    (folder / "wal").mkdir(exist_ok=True)
    theirs = promtool("dump", "--sandbox-dir-root", folder, folder).splitlines()
    ours = blocks("dump", folder).splitlines()
    assert len(theirs) > 1000 and len(ours) == len(theirs)
    for left, right in zip(sorted(ours), sorted(theirs)):
        assert left == right
    reports = json.loads(blocks("verify", "--output", "json", folder))
    assert reports and all(report["fault_count"] == 0 for report in reports)
    assert sum(report["samples"] for report in reports) >= len(theirs)
    return reports


@pytest.fixture
def openmetrics(tmp_path):
    """A data folder that promtool made of text: nine hours, counters with resets, gauges, gaps, odd labels."""
    chance = random.Random(5)
    lines = ["# TYPE requests counter"]
    for series in range(20):
        value = 0
        for step in range(0, 9 * 3600, 30):
            if series % 5 == 0 and 9000 < step < 12000:
                continue
            value = 0 if chance.random() < 0.001 else value + chance.randrange(100)
            path = f'/p{series}/é\\"\\\\'
            lines.append(f'requests_total{{instance="host-{series % 4}",path="{path}"}} {value} {START + step}')
    lines.append("# TYPE temperature gauge")
    for series in range(10):
        for step in range(0, 9 * 3600, 60):
            lines.append(f'temperature{{room="{series}"}} {chance.gauss(20, 1e3):.6g} {START + step}')
    (tmp_path / "in.om").write_text("\n".join(lines) + "\n# EOF\n")
    folder = tmp_path / "data"
    promtool("create-blocks-from", "openmetrics", tmp_path / "in.om", folder)
    return folder


def test_blocks_that_promtool_wrote(openmetrics):
    dumps_alike(openmetrics)
    listed = {row["meta"]["ulid"]: row["meta"] for row in json.loads(blocks("ls", "--output", "json", openmetrics))}
    table = [line.split() for line in promtool("list", openmetrics).splitlines()[1:]]
    assert sorted(listed) == sorted(row[0] for row in table) and len(table) >= 4
    for row in table:
        meta = listed[row[0]]
        assert [meta["minTime"], meta["maxTime"]] == [int(row[1]), int(row[2])]
        assert [meta["stats"]["numSamples"], meta["stats"]["numChunks"], meta["stats"]["numSeries"]] == list(map(int, row[4:7]))
    some = blocks("dump", "--match", 'temperature{room=~"[12]"}', "--min-time", (START + 600) * 1000, "--max-time",
                  (START + 1200) * 1000, openmetrics).splitlines()
    assert len(some) == 22 and all('room="1"' in line or 'room="2"' in line for line in some)


def test_a_damaged_block_is_named(openmetrics):
    block = next(path for path in sorted(openmetrics.iterdir()) if (path / "meta.json").exists())
    chunks = bytearray((block / "chunks/000001").read_bytes())
    chunks[1000] ^= 8
    (block / "chunks/000001").write_bytes(chunks)
    said = blocks("verify", openmetrics, fails=True)
    assert f"{block}: damaged (1)" in said and "checksum is wrong" in said and "1 of " in said
    (block / "index").write_bytes((block / "index").read_bytes()[:100])
    assert "damaged" in blocks("ls", openmetrics)


class Prometheus(Process):
    """A real Prometheus that takes OTLP and makes snapshots."""

    def __init__(self, folder):
        self.port = free_port()
        (folder / "prometheus.yml").write_text("storage: {tsdb: {out_of_order_time_window: 1h}}\n")
        super().__init__("prometheus", [
            peer("prometheus"), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'prom'}",
            f"--web.listen-address=127.0.0.1:{self.port}", "--web.enable-otlp-receiver", "--web.enable-admin-api",
        ], folder)

    def start(self):
        super().start()
        return self.wait_ready(self.url("/-/ready"))

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"


def otlp(step, chance):
    """One export of a counter, a gauge and exponential histograms, as OTLP JSON."""
    at = {"timeUnixNano": str((int(time.time()) - 3600 + step * 15) * 10**9)}
    attributes = lambda n: [{"key": "n", "value": {"stringValue": str(n)}}]
    points = lambda make: [{"attributes": attributes(n), **at, **make(n)} for n in range(5)]
    exponential = lambda n: {
        "count": str(10 * step + n), "sum": step * 1.5, "scale": 3 if step < 120 else 1, "zeroCount": str(step),
        "positive": {"offset": -4 - step // 40, "bucketCounts": [str(5 * step), str(n), "0", str(4 * step)]},
        "negative": {"offset": 2, "bucketCounts": []},
    }
    metrics = [
        {"name": "work", "sum": {"aggregationTemporality": 2, "isMonotonic": True,
                                 "dataPoints": points(lambda n: {"asInt": str(step * n)})}},
        {"name": "level", "gauge": {"dataPoints": points(lambda n: {"asDouble": chance.gauss(0, 1)})}},
        {"name": "latency", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": points(exponential)}},
    ]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "blocks"}}]}
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": metrics}]}]}


def test_a_snapshot_of_a_running_prometheus_with_native_histograms(tmp_path, start):
    prometheus = start(Prometheus(tmp_path))
    chance = random.Random(6)
    steps = list(range(200))
    steps[50], steps[80] = steps[80], steps[50]  # Some come late.
    for step in steps:
        answer = requests.post(prometheus.url("/api/v1/otlp/v1/metrics"), json=otlp(step, chance), timeout=10)
        assert answer.status_code == 200, answer.text
    answer = requests.post(prometheus.url("/api/v1/admin/tsdb/snapshot"), timeout=60).json()
    folder = tmp_path / "prom" / "snapshots" / answer["data"]["name"]
    reports = dumps_alike(folder)
    dumped = blocks("dump", "--match", "latency", folder)
    assert "latency" in dumped and "{count:" in dumped
    # Samples that came late are not in a snapshot of the head.
    assert sum(report["samples"] for report in reports) >= 150 * 15


def sections(text):
    """Heads by their names, and each list as a set of (count, name) by its title."""
    heads, lists, title = {}, {}, None
    for line in text.splitlines():
        if title is None and ": " in line:
            name, value = line.split(": ", 1)
            heads[name] = value
        elif line.endswith(":"):
            title = line
            lists[title] = []
        elif line and title:
            lists[title].append(line)
    return heads, lists


def test_analyze_has_promtools_figures(openmetrics):
    (openmetrics / "wal").mkdir(exist_ok=True)
    for options in ([], ["--match", 'requests_total{instance=~"host-[12]"}']):
        # All entries, so that the order of equal ones, which is that of promtool's hash, does not matter.
        theirs = sections(promtool("analyze", "--limit", "1000", "--extended", *options, openmetrics))
        ours = sections(blocks("analyze", "--limit", "1000", "--extended", *options, openmetrics))
        assert ours[0] == theirs[0] and len(theirs[0]) >= 6
        assert list(ours[1]) == list(theirs[1]) and len(theirs[1]) == 7
        for title, lines in theirs[1].items():
            counts = lambda lines: [line.split()[0] for line in lines]
            assert sorted(ours[1][title]) == sorted(lines), title
            assert title.startswith("Compaction") or counts(ours[1][title]) == counts(lines), title
    report = json.loads(blocks("analyze", "--limit", "3", "--output", "json", openmetrics))
    assert report["series"] == 30 and len(report["series_by_pair"]) == 3 and "chunks" not in report
