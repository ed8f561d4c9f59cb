"""Our store gateway over a bucket that real sidecars and a real `thanos compact` wrote, raw and downsampled, beside
`thanos store` with `thanos query`: the same answers, from our PromQL and from `thanos query` over our StoreAPI.

INTEROP_STORE_DAYS (3; whole form 16, which has windows of an hour) says how much, INTEROP_THANOS_QUERIES how many."""

import json
import os
import random
import subprocess

import pytest
import requests
from conftest import TARGET, Process, free_port, peer, wait_until
from metric_protocols import Prometheus
from thanos_bucket import FORTNIGHT_MS, filesystem, summary, thanos_compact
from thanos_peers import Thanos, answer, comparable, compare, difference, generated_queries, thanos_query

DAYS = int(os.environ.get("INTEROP_STORE_DAYS", "3"))
QUERIES = int(os.environ.get("INTEROP_THANOS_QUERIES", "60"))
STEP_S = 120
DAY_S = 86_400


def lines(offset_s, away):
    """OpenMetrics of a replica: counters with resets, gauges, gaps; nothing while it is away."""
    start = FORTNIGHT_MS // 1000
    for index in range(18):
        kind = ["counter", "gauge", "gaps", "churn", "resets", "counter"][index % 6]
        pick = random.Random(f"{kind}{index}")
        labels = f'{{instance="host{index % 10}",job="job{index % 4}",n="{index}"}}'
        value = 0.0
        for at in range(start, start + DAYS * DAY_S, STEP_S):
            roll = pick.random()
            if kind in ("counter", "resets"):
                value = 0.0 if kind == "resets" and roll < 0.01 else value + round(roll * 9, 2)
            else:
                value = round(roll * 100 - 50, 2)
            is_out = kind == "gaps" and roll < 0.2 or kind == "churn" and (at // 7200 + index) % 5 == 0
            if not is_out and not any(first <= at - start < last for first, last in away):
                yield f"test_{kind}{labels} {value} {at + offset_s}\n"
    yield "# EOF\n"


class Replica:
    """A Prometheus that has all of it on disk, and a sidecar that uploads it."""

    def __init__(self, folder, objstore, name, offset_s, away):
        text = folder / f"{name}.txt"
        text.write_text("".join(lines(offset_s, away)))
        data = folder / f"{name}-data"
        subprocess.run([peer("promtool"), "tsdb", "create-blocks-from", "openmetrics", "-q", text, data], check=True)
        self.blocks = {path.parent.name for path in data.glob("*/meta.json")}
        self.prometheus = Prometheus(folder, name=name, external=f"cluster: c, replica: {name}")
        self.prometheus.command += ["--storage.tsdb.min-block-duration=2h", "--storage.tsdb.max-block-duration=2h",
                                    "--storage.tsdb.retention.time=1y"]
        self.sidecar = Thanos(folder, "sidecar", f"--prometheus.url={self.prometheus.url('')}", f"--tsdb.path={data}",
                              f"--objstore.config-file={objstore}", name=f"{name}-sidecar")


class StoreGateway(Process):
    """Our program with nothing but a bucket."""

    def __init__(self, folder, bucket, name="store-gateway", replicas="[replica]", extra=""):
        self.port, self.grpc = free_port(), free_port()
        config = folder / f"{name}.yaml"
        config.write_text(f"""server:
  prometheus: {{endpoint: "127.0.0.1:{self.port}"}}
  loki: {{endpoint: ""}}
  store_api: {{endpoint: "127.0.0.1:{self.grpc}"}}
storage: {{directory: {folder / (name + "-data")}, bucket: {json.dumps(bucket)}}}
store_gateway: {{enabled: true, sync_interval: 1s{extra}}}
query: {{store_apis: {{replica_labels: {replicas}}}}}
""")
        super().__init__(name, [TARGET / "tidegate", "--config", config], folder)

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def start(self):
        super().start()
        return self.wait_ready(self.url("/-/ready"))


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """A folder as a bucket: blocks of two replicas by sidecars, compacted and downsampled by thanos."""
    folder = tmp_path_factory.mktemp("written")
    place = folder / "bucket"
    place.mkdir()
    objstore = folder / "objstore.yaml"
    objstore.write_text(json.dumps(filesystem(place)))
    for name, offset, away in [("a", 0, [(20_000, 30_000)]), ("b", 7, [(90_000, 130_000)])]:
        replica = Replica(folder, objstore, name, offset, away)
        try:
            replica.prometheus.start()
            replica.sidecar.start()
            wait_until(lambda: replica.blocks <= {path.parent.name for path in place.glob("*/meta.json")},
                       "every block is in the bucket", 60 + 20 * DAYS)
        finally:
            replica.sidecar.kill()
            replica.prometheus.kill()
    thanos_compact(folder, filesystem(place))
    resolutions = {block[0] for block in summary(place)}
    assert resolutions >= ({0, 300_000, 3_600_000} if DAYS > 14 else {0, 300_000}), resolutions
    return place


def test_a_bucket_of_thanos_answers_as_thanos_store(tmp_path, start, bucket):
    objstore = tmp_path / "objstore.yaml"
    objstore.write_text(json.dumps(filesystem(bucket)))
    store = start(Thanos(tmp_path, "store", f"--data-dir={tmp_path / 'store'}", f"--objstore.config-file={objstore}"))
    ours = start(StoreGateway(tmp_path, filesystem(bucket)))
    theirs = start(thanos_query(tmp_path, [store.grpc], "--query.replica-label=replica"))
    through = start(thanos_query(tmp_path, [ours.grpc], "--query.replica-label=replica", name="query-over-ours"))
    begin = FORTNIGHT_MS / 1000
    spans = {0: (begin + 3 * 3600, begin + 9 * 3600, 300), 300_000: (begin + 7200, begin + DAYS * DAY_S, 3600)}
    if DAYS > 14:
        spans[3_600_000] = (begin + 7200, begin + DAYS * DAY_S, 6 * 3600)
    # Native histograms are not among what OpenMetrics can bring.
    queries = [query for query in generated_queries(21, 3 * QUERIES) if "native" not in query and "seconds" not in query]
    asked = 0
    for resolution, (first, last, step) in spans.items():
        for dedup in ("true", "false"):
            some, queries = queries[:QUERIES // 4], queries[QUERIES // 4:]
            parameters = {"dedup": dedup, "max_source_resolution": f"{resolution // 1000}s"}
            if resolution:
                # Windows of an hour need ranges over them.
                some = [query.replace("[1m]", "[3h]").replace("[2m]", "[4h]").replace("[5m]", "[6h]").replace("[10m]", "[12h]")
                        for query in some]
            asked += len(some)
            for one in (ours, through):
                assert compare(one, theirs, some, first, last, step, parameters=parameters) == [], (one.name, parameters)
    print(f"{asked} queries equal, twice")
    # What is there, by any matcher.
    whole = {"start": begin, "end": begin + DAYS * DAY_S}
    for path, more in [("labels", {}), ("label/replica/values", {}), ("label/job/values", {"match[]": 'test_gaps{replica="a"}'}),
                       ("label/instance/values", {"match[]": '{n=~"1."}'}), ("label/__name__/values", {})]:
        got = [requests.get(one.url(f"/api/v1/{path}"), params=whole | more, timeout=30).json()["data"]
               for one in (ours, theirs, through)]
        assert got[0] == got[1] == got[2] and got[0], path
    series = [sorted(map(str, requests.get(one.url("/api/v1/series"), params=whole | {"match[]": "test_gauge"},
                                           timeout=30).json()["data"])) for one in (ours, theirs)]
    assert series[0] == series[1] and series[0]
    # As querier Thanos' sees a store of its kind.
    stores = [requests.get(one.url("/api/v1/stores"), timeout=5).json()["data"]["store"][0] for one in (theirs, through)]
    stripped = [[labels for labels in one["labelSets"] if "@thanos_compatibility_store_type" not in labels] for one in stores]
    assert sorted(map(str, stripped[0])) == sorted(map(str, stripped[1])), stripped
    assert stores[1]["minTime"] == stores[0]["minTime"]


def test_a_restart_asks_only_for_what_is_new_and_blocks_come_and_go(tmp_path, start, bucket):
    ours = start(StoreGateway(tmp_path, filesystem(bucket)))
    query = {"query": "count(test_counter)", "time": FORTNIGHT_MS / 1000 + 7200, "dedup": "false"}
    first = comparable(answer(ours, "/api/v1/query", query))
    assert first
    headers = tmp_path / "store-gateway-data" / "store-gateway"
    count = len(summary(bucket))
    wait_until(lambda: len(list(headers.glob("*.index-header"))) >= count, "headers are on disk")
    times = {path.name: path.stat().st_mtime_ns for path in headers.iterdir()}
    ours.kill()
    ours.start()
    assert difference(first, comparable(answer(ours, "/api/v1/query", query))) is None
    assert {path.name: path.stat().st_mtime_ns for path in headers.iterdir()} == times
