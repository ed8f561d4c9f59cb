"""Queries of blocks in a bucket beside `thanos store` with `thanos query`, in one run: `interop/run compare_store` prints
Markdown tables.

One bucket for both: blocks of two replicas over STORE_DAYS days (4) with STORE_SERIES series (500) every 15 s, compacted
and downsampled by the real `thanos compact`. Tidegate is a store gateway that answers PromQL by itself, where Thanos takes
two programs, whose figures are added. Each has its defaults; replicas are deduplicated; every answer is compared, to 1e-9.
CPU is user and system time of the whole processes over several runs of a query after one that warms it.
"""

import json
import math
import os
import pathlib
import tempfile
import time

import psutil
import requests
from test_thanos_store_gateway import StoreGateway
from thanos_bucket import FORTNIGHT_MS, filesystem, make_bucket, summary, thanos_compact
from thanos_peers import Thanos, thanos_query

DAYS = int(os.environ.get("STORE_DAYS", "4"))
SERIES = int(os.environ.get("STORE_SERIES", "500"))
HOUR = 3600


class Side:
    """One or two programs that answer together."""

    def __init__(self, name, processes):
        self.name, self.processes = name, processes

    def watched(self):
        return [psutil.Process(process.child.pid) for process in self.processes]

    def cpu(self):
        return sum(sum(process.cpu_times()[:2]) for process in self.watched())

    def peak_mib(self):
        status = [open(f"/proc/{process.pid}/status").read() for process in self.watched()]
        return sum(int(text.split("VmHWM:")[1].split()[0]) for text in status) / 1024

    def ask(self, session, query, seconds, step, resolution):
        """Wall seconds, and the answer by series."""
        end = FORTNIGHT_MS // 1000 + DAYS * 24 * HOUR - HOUR
        parameters = {"query": query, "start": end - seconds, "end": end, "step": step, "dedup": "true",
                      "max_source_resolution": resolution}
        began = time.perf_counter()
        answer = session.post(self.processes[-1].url("/api/v1/query_range"), data=parameters, timeout=300)
        wall = time.perf_counter() - began
        assert answer.status_code == 200, (self.name, query, answer.text[:500])
        body = answer.json()
        # Thanos has hints on names among its warnings.
        warnings = [text for text in body.get("warnings", []) if not text.startswith("PromQL info")]
        assert not warnings, (self.name, query, warnings)
        return wall, {tuple(sorted(one["metric"].items())): one["values"] for one in body["data"]["result"]}


def queries():
    """Name, query, seconds, step, and the coarsest resolution that may answer."""
    all_days = (DAYS * 24 - 3) * HOUR
    counters, gauges = '{__name__=~"test_counter_.+"}', '{__name__=~"test_gauge_.+"}'
    return [
        ("one metric, 6 h", "sum by (instance) (rate(test_counter_5[5m]))", 6 * HOUR, 60, "0s"),
        ("sum of all counters, 6 h", f"sum(rate({counters}[5m]))", 6 * HOUR, 60, "0s"),
        ("sum of all counters, all days", f"sum(rate({counters}[5m]))", all_days, 600, "0s"),
        ("sum of all counters, all days, 5 m", f"sum(rate({counters}[1h]))", all_days, HOUR, "5m"),
        ("by instance, 24 h", f"sum by (instance) (increase({counters}[1h]))", 24 * HOUR, 600, "0s"),
        ("highest gauges, 6 h", f"topk(5, max_over_time({gauges}[10m]))", 6 * HOUR, 300, "0s"),
        ("average of gauges, all days, 5 m", f"avg by (__name__) (avg_over_time({gauges}[2h]))", all_days, HOUR, "5m"),
        ("raw gauges, 1 h", gauges, HOUR, 15, "0s"),
        ("count of everything", 'count by (__name__) ({series=~".+"})', 2 * HOUR, 600, "0s"),
    ]


def assert_alike(query, ours, theirs):
    assert ours and ours.keys() == theirs.keys(), (query, len(ours), len(theirs))
    for key, values in ours.items():
        assert len(values) == len(theirs[key]), (query, key)
        for (at, one), (other_at, other) in zip(values, theirs[key]):
            same = one == other or math.isclose(float(one), float(other), rel_tol=1e-9)
            assert at == other_at and same, (query, key, at, one, other)


def measured(side, session, *query):
    """CPU-ms, and the shortest wall time in ms."""
    before, walls = side.cpu(), []
    # Clock ticks are 10 ms: at least so many runs that the figure has two digits.
    while len(walls) < 5 or (side.cpu() - before < 0.2 and len(walls) < 100):
        walls.append(side.ask(session, *query)[0])
    return (side.cpu() - before) / len(walls) * 1000, min(walls) * 1000


def started(processes):
    """Wall and CPU seconds until all are ready."""
    began = time.monotonic()
    for process in processes:
        process.start()
    return time.monotonic() - began, sum(sum(psutil.Process(p.child.pid).cpu_times()[:2]) for p in processes)


def main():
    with tempfile.TemporaryDirectory(prefix="tidegate-store-") as name:
        folder = pathlib.Path(name)
        bucket = folder / "bucket"
        make_bucket(bucket, DAYS, SERIES, 15)
        thanos_compact(folder, filesystem(bucket))
        blocks = summary(bucket)
        objstore = folder / "objstore.yaml"
        objstore.write_text(json.dumps(filesystem(bucket)))
        store = Thanos(folder, "store", f"--data-dir={folder / 'store'}", f"--objstore.config-file={objstore}")
        sides = [Side("tidegate", [StoreGateway(folder, filesystem(bucket))]),
                 Side("thanos", [store, thanos_query(folder, [store.grpc], "--query.replica-label=replica")])]
        try:
            starts = [started(side.processes) for side in sides]
            report(sides, starts, blocks)
        finally:
            for side in sides:
                for process in side.processes:
                    process.kill()


def report(sides, starts, blocks):
    session = requests.Session()
    resolutions = sorted({block[0] // 60_000 for block in blocks})
    print(f"{len(blocks)} blocks, resolutions {', '.join(f'{minutes} m' if minutes else 'raw' for minutes in resolutions)}; "
          f"{SERIES} series of two replicas, {DAYS} days at 15 s\n")
    print("| query | " + " | ".join(f"{side.name} CPU-ms (wall)" for side in sides) + " | ratio |\n|---|" + "---|" * (len(sides) + 1))
    sums = [0.0] * len(sides)
    for name, *query in queries():
        answers = [side.ask(session, *query)[1] for side in sides]
        assert_alike(name, *answers)
        figures = [measured(side, session, *query) for side in sides]
        sums = [total + cpu for total, (cpu, _) in zip(sums, figures)]
        cells = " | ".join(f"{cpu:.1f} ({wall:.1f})" for cpu, wall in figures)
        print(f"| {name} | {cells} | {figures[0][0] / max(figures[1][0], 1e-9):.2f} |", flush=True)
    print("| sum | " + " | ".join(f"{total:.0f}" for total in sums) + f" | {sums[0] / sums[1]:.2f} |\n")
    print("| program | ready after, s | CPU until ready, s | peak RSS, MiB |\n|---|---|---|---|")
    for side, (wall, cpu) in zip(sides, starts):
        print(f"| {side.name} | {wall:.2f} | {cpu:.2f} | {side.peak_mib():.0f} |")


if __name__ == "__main__":
    main()
