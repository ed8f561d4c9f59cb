"""A real receive router in front of our gateways: what it is sent lands on as many of them as it replicates to, whole."""

import json
import time

import requests
from conftest import wait_until
from metric_protocols import held
from thanos_peers import STEP_MS, Store, Thanos, free_port, generated_series, write

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
