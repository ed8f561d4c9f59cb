"""Our querier over real sidecars and a real receiver beside `thanos query` over the same: replicas with gaps, offsets and
resets, deduplication on and off, partial answers when a store dies."""

import os
import random
import time

import pytest
import requests
from conftest import wait_until
from thanos_peers import (
    STEP_MS, Receive, Sidecar, Store, answer, comparable, compare, generated_queries, generated_series, thanos_query, write,
)

# Whole: INTEROP_THANOS_QUERIES=300.
QUERIES = int(os.environ.get("INTEROP_THANOS_QUERIES", "60"))
SAMPLES = 160


def replica(seed, shift_ms, series):
    """The same series as another Prometheus saw them: a little later, with gaps of its own."""
    pick = random.Random(seed)
    for labels, samples, histograms in series:
        gaps = [(start, start + pick.randrange(2, 20)) for start in pick.sample(range(SAMPLES), 2)]
        kept = [point for at, point in enumerate(samples) if not any(a <= at < b for a, b in gaps)]
        yield labels, [(ms + shift_ms, value) for ms, value in kept], histograms if shift_ms == 0 else []


def ours_over(folder, ports, function="penalty", extra=""):
    endpoints = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
    section = f"{{store_apis: {{endpoints: [{endpoints}], replica_labels: [replica], deduplication: {function}{extra}}}}}"
    return Store(folder, name=f"querier-{function}", query=section, labels={"cluster": "own"})


@pytest.fixture
def stores(tmp_path, start):
    """Two Prometheus of one pair behind sidecars and a receiver; and the times of their data, s."""
    data = int(time.time() * 1000) // STEP_MS * STEP_MS - SAMPLES * STEP_MS
    a = start(Sidecar(tmp_path, {"cluster": "c1", "replica": "a"}, name="prometheus-a"))
    b = start(Sidecar(tmp_path, {"cluster": "c1", "replica": "b"}, name="prometheus-b"))
    receive = start(Receive(tmp_path, {"replica": "r"}))
    write(a.url("/api/v1/write"), replica(1, 0, generated_series(1, data, SAMPLES)))
    write(b.url("/api/v1/write"), replica(2, 3210, generated_series(1, data, SAMPLES)))
    write(receive.write_url(), generated_series(5, data, SAMPLES, count=12))
    return [a, b, receive], (data / 1000 + 600, data / 1000 + SAMPLES * STEP_MS / 1000)


@pytest.mark.parametrize("function", ["penalty", "chain"])
def test_our_querier_answers_as_thanos_query(tmp_path, start, stores, function):
    (a, b, receive), times = stores
    ports = [a.grpc, b.grpc, receive.grpc]
    ours = start(ours_over(tmp_path, ports, function))
    theirs = start(thanos_query(tmp_path, ports, "--query.replica-label=replica", f"--deduplication.func={function}"))
    queries = generated_queries(11, QUERIES if function == "penalty" else QUERIES // 3)
    for parameters in ({}, {"dedup": "false"}):
        assert compare(ours, theirs, queries, *times, parameters=parameters) == [], parameters
    if function == "penalty":
        both = {"replicaLabels[]": ["replica", "n"]}
        assert compare(ours, theirs, queries[:10], *times, parameters=both) == []
        one = {"storeMatch[]": f'{{__address__="127.0.0.1:{a.grpc}"}}', "dedup": "false"}
        assert compare(ours, theirs, queries[:10], *times, parameters=one) == []
        kinds = [requests.get(one.url("/api/v1/stores"), timeout=5).json()["data"] for one in (ours, theirs)]
        shape = [{kind: sorted((store["name"], str(store["labelSets"])) for store in listed) for kind, listed in all.items()}
                 for all in kinds]
        assert shape[0] == shape[1]
        for path in ("/api/v1/labels", "/api/v1/label/replica/values", "/api/v1/label/cluster/values"):
            got = [requests.get(one.url(path), params={"match[]": "test_gauge"}, timeout=30).json()["data"]
                   for one in (ours, theirs)]
            assert got[0] == got[1], path


def test_a_store_that_dies_makes_the_answer_partial_or_an_error(tmp_path, start, stores):
    (a, b, receive), times = stores
    ours = start(ours_over(tmp_path, [a.grpc, receive.grpc]))
    query = {"query": "count by (cluster) (test_gauge)", "time": times[1] - 5}
    whole = comparable(answer(ours, "/api/v1/query", query))
    assert len(whole) == 1 or len(whole) == 2
    a.sidecar.kill()
    reply = requests.get(ours.url("/api/v1/query"), params=query | {"partial_response": "true"}, timeout=30).json()
    assert reply["status"] == "success" and reply["warnings"], reply
    reply = requests.get(ours.url("/api/v1/query"), params=query | {"partial_response": "false"}, timeout=30).json()
    assert reply["status"] == "error", reply

    def is_left_out():
        reply = requests.get(ours.url("/api/v1/query"), params=query | {"partial_response": "false"}, timeout=30).json()
        return reply["status"] == "success"

    # It does not answer `Info` either, and is not asked any more.
    wait_until(is_left_out, "the dead store is left out")
