"""A real `thanos query` over our StoreAPI: the same answers as over a real sidecar and as our own API."""

import os
import re
import time

import pytest
import requests
from thanos_peers import STEP_MS, Sidecar, Store, compare, generated_queries, generated_series, thanos_query, write

# Whole: INTEROP_THANOS_QUERIES=300.
QUERIES = int(os.environ.get("INTEROP_THANOS_QUERIES", "60"))
SAMPLES = 160
LABELS = {"cluster": "c1", "replica": "a"}
# Thanos takes resets out of what these functions see, from the first chunk on that it was sent: where a counter would
# have been zero, and with it the result, moves with the resets and the chunks before. Without resets it does not.
MOVED = re.compile(r"(rate|increase|irate)\(test_(gauge|gaps|resets)")


@pytest.fixture
def data():
    """Start of the generated series, ms: their end is now."""
    return int(time.time() * 1000) // STEP_MS * STEP_MS - SAMPLES * STEP_MS


@pytest.mark.parametrize("component", ["receive", "sidecar", "store"])
def test_thanos_query_over_us_answers_as_over_a_sidecar_and_as_we_do(tmp_path, start, data, component):
    ours = start(Store(tmp_path, labels=LABELS, component=component))
    sidecar = start(Sidecar(tmp_path, LABELS))
    for url in (ours.url("/api/v1/write"), sidecar.url("/api/v1/write")):
        write(url, generated_series(1, data, SAMPLES))
    over_us = start(thanos_query(tmp_path, [ours.grpc], name="over-us"))
    over_sidecar = start(thanos_query(tmp_path, [sidecar.grpc], name="over-sidecar"))
    stores = requests.get(over_us.url("/api/v1/stores"), timeout=5).json()["data"]
    assert [store["labelSets"] for store in stores[component]] == [[LABELS]]
    times = data / 1000 + 600, data / 1000 + SAMPLES * STEP_MS / 1000
    count = QUERIES if component == "receive" or QUERIES >= 300 else max(QUERIES // 4, 10)
    queries = generated_queries(7, 2 * count)
    plain = [query for query in queries if not MOVED.search(query)][:count]
    assert len(plain) == count
    assert compare(over_us, over_sidecar, plain, *times) == []
    assert compare(over_us, ours, plain, *times, without=LABELS) == []
    assert compare(ours, sidecar, queries[:count], *times) == []
    assert compare(ours, sidecar, plain, *times) == []
    print(f"{component}: {count} queries equal over us, over a sidecar, by us and by Prometheus")
    # Parts by labels, which Thanos' engine asks for under vertical sharding.
    shard = {"shard_info": '{"shard_index":"1","total_shards":"3","by":true,"labels":["job","n"]}'}
    assert compare(over_us, over_sidecar, plain[:10], *times, parameters=shard) == []


def test_labels_through_thanos_query_are_those_of_a_sidecar(tmp_path, start, data):
    ours, sidecar = start(Store(tmp_path, labels=LABELS)), start(Sidecar(tmp_path, LABELS))
    for url in (ours.url("/api/v1/write"), sidecar.url("/api/v1/write")):
        write(url, generated_series(1, data, SAMPLES))
    queriers = [start(thanos_query(tmp_path, [store.grpc], "--query.replica-label=replica", name=name))
                for name, store in (("over-us", ours), ("over-sidecar", sidecar))]
    for path in ["/labels", "/label/__name__/values", "/label/job/values", "/label/cluster/values", "/label/n/values",
                 "/label/replica/values", "/label/nothing/values"]:
        for matches in ([], ["test_gauge"], ['{job="job1"}'], ['{job="nothing"}'], ['test_gauge{cluster="c1"}'],
                        ['test_gauge{cluster="c2"}'], ["test_gauge", 'test_counter{n=~"1.*"}']):
            got = [requests.get(querier.url("/api/v1" + path), params={"match[]": matches}, timeout=30).json()
                   for querier in queriers]
            assert got[0] == got[1], (path, matches)
    for matches in (["test_gauge"], ['{job="job1"}'], ['test_gauge{cluster="c2"}']):
        for dedup in ("true", "false"):
            got = [requests.get(querier.url("/api/v1/series"), params={"match[]": matches, "dedup": dedup},
                                timeout=30).json() for querier in queriers]
            key = lambda labels: sorted(labels.items())
            assert sorted(got[0]["data"], key=key) == sorted(got[1]["data"], key=key), (matches, dedup)
