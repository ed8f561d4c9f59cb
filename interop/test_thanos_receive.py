"""A real receive router in front of our gateways, and our router in front of them and of real receivers: what is sent
lands, whole, on the members that Thanos picks, and the answer is what a quorum of them says."""

import json
import os
import time

import pytest
import requests
from conftest import TARGET, Process, wait_until
from metric_protocols import held
from test_remote_write import V1, V2, Request
from thanos_peers import STEP_MS, Receive, Store, Thanos, free_port, generated_series, write

SAMPLES = 40


def test_a_receive_router_forwards_to_us(tmp_path, start):
    members = [start(Store(tmp_path, name=f"member-{n}", labels={"replica": n})) for n in "abc"]
    rings = tmp_path / "hashrings.json"
    rings.write_text(json.dumps([{"endpoints": [f"127.0.0.1:{one.grpc}" for one in members], "algorithm": "ketama"}]))
    write_port = free_port()
    router = start(Thanos(tmp_path, "receive", f"--remote-write.address=127.0.0.1:{write_port}",
                          f"--receive.hashrings-file={rings}", "--receive.replication-factor=2",
                          f"--tsdb.path={tmp_path / 'router'}", '--label=router="r"', name="router"))
    assert router.child.poll() is None
    base = int(time.time() * 1000) // STEP_MS * STEP_MS - SAMPLES * STEP_MS
    series = list(generated_series(3, base, SAMPLES, count=60))
    url = f"http://127.0.0.1:{write_port}/api/v1/receive"
    wait_until(lambda: requests.post(url, data=b"", timeout=5).status_code != 503, "the router takes writes")
    write(url, series)
    # One tenant of Thanos' is none here.
    at, seconds = (base + SAMPLES * STEP_MS) / 1000, SAMPLES * STEP_MS // 1000 + 60

    def all_there():
        found = [held(one, seconds, at) for one in members]
        copies = {}
        for one in found:
            for labels, points in one.items():
                copies.setdefault(labels, []).append(points)
        assert len(copies) == len(series), (len(copies), len(series))
        # The router answers when one of two has it; the other follows.
        assert all(len(points) == 2 and points[0] == points[1] for points in copies.values())
        assert all(found), "each member has some"
        return True

    wait_until(all_there, "every series is on two members")
    write(url, generated_series(4, base, SAMPLES, count=6), headers={"THANOS-TENANT": "team-a"})

    def tenant_there():
        rows = [requests.get(one.url("/api/v1/query"), params={"query": 'count({job=~".+"})', "time": at},
                             headers={"THANOS-TENANT": "team-a"}, timeout=30).json()["data"]["result"] for one in members]
        return sum(int(row[0]["value"][1]) for row in rows if row) > 0

    wait_until(tenant_there, "the tenant's series are in its own store")


# Whole: INTEROP_RING_SERIES=100000.
RING_SERIES = int(os.environ.get("INTEROP_RING_SERIES", "3000"))


class Router(Process):
    """Our program with nothing but a hash ring."""

    def __init__(self, folder, rings, factor, name="our-router"):
        self.port = free_port()
        config = folder / f"{name}.yaml"
        config.write_text(f"""receive: {{endpoint: "127.0.0.1:{self.port}", hashrings_file: {rings}, replication_factor: {factor}}}
server: {{prometheus: {{endpoint: ""}}, loki: {{endpoint: ""}}}}
service: {{telemetry: {{metrics: {{level: none}}}}}}
""")
        super().__init__(name, [TARGET / "tidegate", "--config", config], folder)

    def start(self):
        super().start()
        return self.wait_ready(f"http://127.0.0.1:{self.port}/-/ready")

    def write_url(self):
        return f"http://127.0.0.1:{self.port}/api/v1/receive"


def thanos_router(folder, rings, factor, name="router"):
    write_port = free_port()
    router = Thanos(folder, "receive", f"--remote-write.address=127.0.0.1:{write_port}", f"--receive.hashrings-file={rings}",
                    f"--receive.capnproto-address=127.0.0.1:{free_port()}",
                    f"--receive.replication-factor={factor}", f"--tsdb.path={folder / name}", '--label=router="r"', name=name)
    router.write_url = lambda: f"http://127.0.0.1:{write_port}/api/v1/receive"
    return router


def send(url, at_ms, count, headers=None, version=1):
    """One sample of each of many series; the statuses that came."""
    statuses = set()
    with requests.Session() as session:
        for first in range(0, count, 5000):
            request = Request(version)
            for index in range(first, min(first + 5000, count)):
                labels = [("__name__", "ring_series"), ("job", f"job{index % 17}"), ("n", str(index))]
                request.add(labels, [(at_ms, float(index))], [])
            answer = session.post(url, data=request.bytes(), timeout=60, headers={
                "Content-Type": {1: V1, 2: V2}[version], "Content-Encoding": "snappy", **(headers or {})})
            statuses.add(answer.status_code)
            if version == 2:
                assert answer.headers["X-Prometheus-Remote-Write-Samples-Written"] == str(min(5000, count - first))
    return statuses


def places(members, at_ms, tenant=None):
    """Which members have a sample of each series at a time."""
    found = {}
    for index, member in enumerate(members):
        answer = requests.get(member.url("/api/v1/query"), timeout=60, headers={"THANOS-TENANT": tenant} if tenant else {},
                              params={"query": "group by (n) (last_over_time(ring_series[20s]))", "time": at_ms / 1000})
        for row in answer.json()["data"]["result"]:
            found.setdefault(row["metric"]["n"], set()).add(index)
    return found


@pytest.mark.parametrize("algorithm, factor", [("ketama", 2), ("hashmod", 1)])
def test_series_land_on_the_members_that_thanos_picks(tmp_path, start, algorithm, factor):
    members = [start(Store(tmp_path, name=f"member-{n}", labels={"replica": n})) for n in "abcd"]
    rings = tmp_path / "hashrings.json"
    rings.write_text(json.dumps([{"endpoints": [f"127.0.0.1:{one.grpc}" for one in members], "algorithm": algorithm}]))
    theirs, ours = start(thanos_router(tmp_path, rings, factor)), start(Router(tmp_path, rings, factor))
    wait_until(lambda: requests.post(theirs.write_url(), data=b"", timeout=5).status_code != 503, "the router takes writes")
    now = int(time.time() * 1000) - 300_000
    for tenant in (None, "team-a"):
        picked = []
        count = RING_SERIES if tenant is None else RING_SERIES // 10
        for router, version, at in ((theirs, 1, now), (ours, 1, now + 60_000), (ours, 2, now + 120_000)):
            assert send(router.write_url(), at, count, {"THANOS-TENANT": tenant} if tenant else {}, version) == {200}

            def whole():
                found = places(members, at, tenant)
                return len(found) == count and all(len(where) == factor for where in found.values())

            wait_until(whole, f"{router.name} put every series on {factor} members", 60)
            picked.append(places(members, at, tenant))
        for ours_picked in picked[1:]:
            assert picked[0] == ours_picked, [(n, picked[0][n], ours_picked[n]) for n in picked[0] if picked[0][n] != ours_picked[n]][:3]
    shares = [sum(index in where for where in picked[1].values()) for index in range(4)]
    print(f"{algorithm}: {RING_SERIES} series on the same members, the last {count} as {shares}")


def test_we_route_to_real_receivers_and_a_quorum_decides(tmp_path, start):
    members = [start(Receive(tmp_path, {"replica": n}, name=f"receive-{n}")) for n in "abc"]
    rings = tmp_path / "hashrings.json"
    rings.write_text(json.dumps([{"endpoints": [f"127.0.0.1:{one.grpc}" for one in members], "algorithm": "ketama"}]))
    ours, theirs = start(Router(tmp_path, rings, 3)), start(thanos_router(tmp_path, rings, 3))
    endpoints = ", ".join(f'"127.0.0.1:{one.grpc}"' for one in members)
    querier = start(Store(tmp_path, name="querier", query=f"{{store_apis: {{endpoints: [{endpoints}]}}}}"))
    wait_until(lambda: requests.post(theirs.write_url(), data=b"", timeout=5).status_code != 503, "the router takes writes")
    now = int(time.time() * 1000) - 300_000

    def copies(at):
        query = {"query": "count by (replica) (last_over_time(ring_series[20s]))", "time": at / 1000, "dedup": "false"}
        rows = requests.get(querier.url("/api/v1/query"), params=query, timeout=30).json()["data"]["result"]
        return {row["metric"]["replica"]: int(row["value"][1]) for row in rows}

    assert send(ours.write_url(), now, 100) == {200}
    wait_until(lambda: copies(now) == {"a": 100, "b": 100, "c": 100}, "every receiver has every series")
    # The same sample again is none; another value at its time is a conflict for all three.
    old = now - 3_600_000 * 5
    assert send(ours.write_url(), old, 10) == send(theirs.write_url(), old, 10) == {409}
    members[0].kill()
    assert send(ours.write_url(), now + 30_000, 100) == send(theirs.write_url(), now + 60_000, 100) == {200}
    assert copies(now + 30_000) == {"b": 100, "c": 100}
    members[1].kill()
    assert send(ours.write_url(), now + 90_000, 100) == send(theirs.write_url(), now + 120_000, 100) == {503}
    members[0].start()
    members[1].start()
    wait_until(lambda: send(ours.write_url(), now + 150_000, 100) == {200}, "the receivers are reached again", 60)
