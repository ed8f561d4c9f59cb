"""CPU of queries beside a real Prometheus and VictoriaMetrics, in one run: `interop/run compare_promql` prints a Markdown
table.

10,940 series over 26 h at 15 s (COMPARE_PODS, COMPARE_HOURS for less): hosts with CPUs, pods with counters, gauges and
a classic histogram. They go into Tidegate by remote write; a snapshot of its blocks is what both Tidegate and Prometheus
then serve, so that both read the same bytes; VictoriaMetrics takes the same requests, and its answers are not compared,
because its `rate` is another. CPU is user and system time of the whole process over COMPARE_RUNS runs of
a query after one that warms it, the answers compared once, the programs taking turns; COMPARE_ENCODING=identity leaves
out compressing them.
"""

import math
import os
import pathlib
import random
import re
import shutil
import sys
import tempfile
import time
from itertools import accumulate

import bench_tsdb
import psutil
import requests
from conftest import Process, free_port, peer
from metric_protocols import Gateway
from promql_corpus import float_series, snappy

PODS = int(os.environ.get("COMPARE_PODS", "374"))
HOURS = int(os.environ.get("COMPARE_HOURS", "26"))
RUNS = int(os.environ.get("COMPARE_RUNS", "5"))
INTERVAL = 15
HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}
MODES = ["user", "system", "idle", "iowait"]
BOUNDS = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"]
FIXED = {"cluster": "production-eu-1", "environment": "production", "region": "eu-central-1"}


def all_series():
    """(labels, kind, rate): 21 series of a pod, and 33 of a host for every fourth."""
    counter = lambda rate: ("counter", rate)
    series = []
    for pod in range(PODS):
        host = {**FIXED, "instance": f"10.12.{pod // 250}.{pod % 250}:9100", "job": "node"}
        own = {**FIXED, "job": "app", "namespace": f"team-{pod % 20}", "pod": f"app-{pod:04d}", "node": f"node-{pod // 10}"}
        if pod % 4 == 0:
            series += [({"__name__": "node_cpu_seconds_total", **host, "cpu": str(cpu), "mode": mode}, counter(4.0))
                       for cpu in range(8) for mode in MODES]
            series.append(({"__name__": "node_load1", **host}, ("gauge", 4.0)))
        for number in range(6):
            series.append(({"__name__": f"app_requests_{number}_total", **own}, counter(50.0)))
        series.append(({"__name__": "container_cpu_seconds_total", **own}, counter(0.7)))
        series.append(({"__name__": "container_memory_bytes", **own}, ("gauge", 1e8)))
        series.append(({"__name__": "kube_pod_info", **own, "created_by": f"deployment-{pod % 50}"}, ("one", 1.0)))
        for bound in BOUNDS:
            series.append(({"__name__": "http_duration_seconds_bucket", **own, "le": bound}, counter(20.0 * (1 + BOUNDS.index(bound)))))
        series.append(({"__name__": "http_duration_seconds_count", **own}, counter(200.0)))
        series.append(({"__name__": "http_duration_seconds_sum", **own}, counter(9.0)))
    return [(labels, kind, rate) for labels, (kind, rate) in series]


def values_of(kind, rate, steps, rng, before):
    """Values of some steps, and the last one."""
    if kind == "one":
        return [1.0] * steps, before
    if kind == "gauge":
        return [round(rate * (1 + 0.1 * rng.random()), 1) for _ in range(steps)], before
    top = int(rate * 20) + 2
    values = list(accumulate((float(int(rng.random() * top)) for _ in range(steps)), initial=before))[1:]
    if rng.random() < 0.01:
        values[steps // 2 :] = [value - values[steps // 2] for value in values[steps // 2 :]]
    return values, values[-1]


def load(servers, series, start_ms, hours):
    """Sends everything to each, 25 minutes at a time."""
    rng, session = random.Random(3), requests.Session()
    last = [0.0] * len(series)
    total, chunk = hours * 3600 // INTERVAL, 100
    for first in range(0, total, chunk):
        steps = min(chunk, total - first)
        times = [start_ms + (first + step) * INTERVAL * 1000 for step in range(steps)]
        parts = []
        for number, (labels, kind, rate) in enumerate(series):
            values, last[number] = values_of(kind, rate, steps, rng, last[number])
            parts.append(float_series(labels, times, values))
            if len(parts) == 2000 or number + 1 == len(series):
                body = snappy(b"".join(parts))
                for server in servers:
                    answer = session.post(server.url("/api/v1/write"), data=body, headers=HEADERS, timeout=120)
                    assert answer.status_code in (200, 204), answer.text
                parts = []


def queries(end):
    """(name, query, seconds, step); 0 seconds for an instant query."""
    hour, day = 3600, 24 * 3600
    requests_ = '{__name__=~"app_requests_[0-5]_total"}'
    return [
        ("sum by (mode) (rate) 1 h", "sum by (mode) (rate(node_cpu_seconds_total[5m]))", hour, 15),
        ("sum by (instance) (rate) 6 h", 'sum by (instance) (rate(node_cpu_seconds_total{mode!="idle"}[5m]))', 6 * hour, 60),
        ("share of idle 6 h", '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))', 6 * hour, 60),
        ("quantile of sum by le 1 h", "histogram_quantile(0.99, sum by (le) (rate(http_duration_seconds_bucket[5m])))", hour, 15),
        ("quantile of sum by le 6 h", "histogram_quantile(0.99, sum by (le) (rate(http_duration_seconds_bucket[5m])))", 6 * hour, 60),
        ("quantile of sum by le 24 h", "histogram_quantile(0.99, sum by (le) (rate(http_duration_seconds_bucket[5m])))", day, 300),
        ("quantile by namespace 6 h", "histogram_quantile(0.9, sum by (le, namespace) (rate(http_duration_seconds_bucket[5m])))", 6 * hour, 60),
        ("topk of pod CPU 1 h", "topk(10, rate(container_cpu_seconds_total[5m]))", hour, 15),
        ("bottomk of memory 6 h", "bottomk(5, container_memory_bytes)", 6 * hour, 60),
        ("quantile_over_time 6 h", "quantile_over_time(0.9, node_load1[10m])", 6 * hour, 60),
        ("join with pod info 1 h", "rate(container_cpu_seconds_total[5m]) * on (pod) group_left (created_by) kube_pod_info", hour, 15),
        ("sum of a join 6 h", "sum by (created_by) (rate(container_cpu_seconds_total[5m]) * on (pod) group_left (created_by) kube_pod_info)", 6 * hour, 60),
        ("one to one 1 h", "http_duration_seconds_sum / http_duration_seconds_count", hour, 15),
        ("average duration 6 h", "sum(rate(http_duration_seconds_sum[5m])) / sum(rate(http_duration_seconds_count[5m]))", 6 * hour, 60),
        ("max_over_time[1h] at once", "max_over_time(container_memory_bytes[1h])", 0, 0),
        ("avg_over_time[1h] 6 h", "avg_over_time(container_memory_bytes[1h])", 6 * hour, 60),
        ("count by name and job at once", "count by (__name__, job) ({__name__=~'.+'})", 0, 0),
        ("subquery 6 h", 'max_over_time(sum by (namespace) (rate(app_requests_0_total[5m]))[1h:1m])', 6 * hour, 60),
        ("subquery of each 1 h", 'max_over_time(rate(container_cpu_seconds_total[5m])[1h:1m])', hour, 60),
        ("sum (rate) 24 h", "sum(rate(app_requests_1_total[5m]))", day, 300),
        ("sum by name of six, 6 h", f"sum by (__name__, namespace) ({requests_})", 6 * hour, 60),
        ("raw selector 1 h", "container_memory_bytes", hour, 15),
        ("rate against a day before 1 h", "sum by (namespace) (rate(app_requests_2_total[5m])) / sum by (namespace) (rate(app_requests_2_total[5m] offset 1d))", hour, 15),
        ("increase[1h] 24 h", "sum by (namespace) (increase(app_requests_3_total[1h]))", day, 300),
        ("label_replace 1 h", 'sum by (host) (label_replace(rate(node_cpu_seconds_total[5m]), "host", "$1", "instance", "(.*):.*"))', hour, 60),
        ("comparison and count 1 h", "count by (namespace) (container_memory_bytes > 105e6)", hour, 15),
        ("irate at once", "sum by (job) (irate(app_requests_4_total[5m]))", 0, 0),
        ("stddev over groups 6 h", "stddev by (namespace) (container_memory_bytes)", 6 * hour, 60),
    ]


class Prometheus(Process):
    def __init__(self, folder, data):
        self.port = free_port()
        config = folder / "prometheus.yml"
        config.write_text("global: {}\n")
        super().__init__("prometheus", [
            peer("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address=127.0.0.1:{self.port}",
            "--storage.tsdb.retention.time=10y", "--log.level=error",
        ], folder)

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def start(self):
        super().start()
        return self.wait_ready(self.url("/-/ready"), 120)


class VictoriaMetrics(bench_tsdb.VictoriaMetrics):
    """Without its cache of results: each query is worked out."""

    def __init__(self, folder):
        folder = folder / "victoria-metrics"
        folder.mkdir(exist_ok=True)
        super().__init__(folder)
        self.command.append("-search.disableCache")

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def start(self):
        super().start()
        return self.wait_ready(self.url("/health"), 120)


def ask(server, session, query, seconds, step, end):
    if seconds:
        path, parameters = "/api/v1/query_range", {"query": query, "start": end - seconds, "end": end, "step": step}
    else:
        path, parameters = "/api/v1/query", {"query": query, "time": end}
    began = time.perf_counter()
    answer = session.post(server.url(path), data=parameters, timeout=300)
    wall = time.perf_counter() - began
    assert answer.status_code == 200, (server.name, query, answer.text[:500])
    return wall, answer


def rows(answer):
    result = answer.json()["data"]["result"]
    return {tuple(sorted(s["metric"].items())): s.get("values") or [s["value"]] for s in result}


def assert_alike(query, ours, theirs):
    left, right = rows(ours), rows(theirs)
    assert left.keys() == right.keys(), (query, len(left), len(right))
    for key, values in left.items():
        assert len(values) == len(right[key]), (query, key)
        for (t, v), (u, w) in zip(values, right[key]):
            assert t == u and (v == w or math.isclose(float(v), float(w), rel_tol=1e-9)), (query, key, t, v, w)


def cpu_of(server):
    times = psutil.Process(server.child.pid).cpu_times()
    return times.user + times.system


def prepare(folder, start_ms):
    """Makes a folder of blocks with all series."""
    gateway = Gateway(folder, "{}", processors="[]", name="loader")
    config = folder / "loader.yaml"
    config.write_text(config.read_text().replace('prometheus: {endpoint: ', 'prometheus: {enable_admin_api: true, endpoint: '))
    gateway.start()
    victoria = VictoriaMetrics(folder)
    try:
        victoria.start()
        series = all_series()
        print(f"loading {len(series)} series, {HOURS} h", file=sys.stderr)
        load([gateway, victoria], series, start_ms, HOURS)
        # In order, so that it writes what it holds in memory.
        victoria.stop(120)
        answer = requests.post(gateway.url("/api/v1/admin/tsdb/snapshot"), timeout=600).json()
        found = next((folder / "loader-data").rglob(answer["data"]["name"]))
        shutil.copytree(found, folder / "blocks")
    finally:
        gateway.kill()
        victoria.kill()
        shutil.rmtree(folder / "loader-data")


def tidegate(folder):
    """A gateway whose store has the blocks and nothing else."""
    shutil.rmtree(folder / "tidegate-data", ignore_errors=True)
    gateway = Gateway(folder, "{}", processors="[]", name="tidegate")
    shutil.copytree(folder / "blocks", folder / "tidegate-data" / "metrics" / "default")
    return gateway


def main():
    folder = pathlib.Path(os.environ.get("COMPARE_FOLDER") or tempfile.mkdtemp(prefix="tidegate-promql-"))
    folder.mkdir(exist_ok=True)
    servers = []
    try:
        stamp = folder / "end"
        if not stamp.exists():
            end = int(time.time()) // 7200 * 7200
            prepare(folder, (end - HOURS * 3600) * 1000)
            stamp.write_text(str(end))
        end = int(stamp.read_text())
        shutil.copytree(folder / "blocks", folder / "prometheus-data", dirs_exist_ok=True)
        servers = [tidegate(folder), Prometheus(folder, folder / "prometheus-data"), VictoriaMetrics(folder)]
        for server in servers:
            server.start()
        compare(servers, end)
    finally:
        for server in servers:
            server.kill()
        if "COMPARE_FOLDER" not in os.environ:
            shutil.rmtree(folder)


def compare(servers, end):
    session = requests.Session()
    session.headers["Accept-Encoding"] = os.environ.get("COMPARE_ENCODING", "gzip")
    only = os.environ.get("COMPARE_ONLY", "")
    print("| query | " + " | ".join(f"{server.name} CPU-ms (wall)" for server in servers) + " | ratio |")
    print("|---|" + "---|" * (len(servers) + 1))
    sums = [0.0] * len(servers)
    for name, query, seconds, step in queries(end):
        if not re.search(only, name):
            continue
        at = end - 60
        answers = [ask(server, session, query, seconds, step, at)[1] for server in servers]
        for other in answers[1:2]:
            assert_alike(query, answers[0], other)
        cells, figures = [], []
        for number, server in enumerate(servers):
            before, walls = cpu_of(server), []
            runs = 0
            # Clock ticks are 10 ms: at least so many runs that the figure has two digits.
            while runs < RUNS or (cpu_of(server) - before < 0.2 and runs < 200):
                walls.append(ask(server, session, query, seconds, step, at)[0])
                runs += 1
            spent = (cpu_of(server) - before) / runs * 1000
            sums[number] += spent
            figures.append(spent)
            cells.append(f"{spent:.1f} ({min(walls) * 1000:.1f})")
        print(f"| {name} | " + " | ".join(cells) + f" | {figures[0] / max(figures[1], 1e-9):.2f} |", flush=True)
    print("| sum | " + " | ".join(f"{total:.0f}" for total in sums) + f" | {sums[0] / sums[1]:.2f} |")


if __name__ == "__main__":
    main()
