"""Our querier over real sidecars and a real receiver beside `thanos query` over the same: replicas with gaps, offsets and
resets, deduplication on and off, partial answers when a store dies."""

import os
import random
import time

import pytest
import requests
from conftest import wait_until
from thanos_peers import (
    STEP_MS, Cable, Receive, Sidecar, Store, answer, comparable, compare, difference, generated_queries, generated_series, thanos_query, write,
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


@pytest.mark.parametrize("function", ["penalty", "chain", "union"])
def test_our_querier_answers_as_thanos_query(tmp_path, start, stores, function):
    (a, b, receive), times = stores
    ports = [a.grpc, b.grpc, receive.grpc]
    ours = start(ours_over(tmp_path, ports, function))
    # Thanos knows no union; of replicas without samples of one time its chain is the same.
    known = "chain" if function == "union" else function
    theirs = start(thanos_query(tmp_path, ports, "--query.replica-label=replica", f"--deduplication.func={known}"))
    queries = generated_queries(11, QUERIES if function == "penalty" or QUERIES >= 300 else QUERIES // 3)
    for parameters in ({}, {"dedup": "false"}):
        assert compare(ours, theirs, queries, *times, parameters=parameters) == [], parameters
    print(f"{function}: {len(queries)} queries equal with deduplication and without")
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


def test_a_store_that_is_killed_in_mid_stream_is_treated_as_by_thanos(tmp_path, start, stores):
    """Under both strategies: a part and a warning, or an error, and never an answer that is silently short."""
    (a, b, receive), times = stores
    query = {"query": 'count by (cluster, replica) ({__name__=~"test_.+"})', "time": times[1] - 5, "dedup": "false"}
    cables = [start(Cable(a.grpc)) for _ in range(2)]
    ours = start(ours_over(tmp_path, [cables[0].port, b.grpc, receive.grpc]))
    theirs = start(thanos_query(tmp_path, [cables[1].port, b.grpc, receive.grpc], "--query.replica-label=replica"))
    key = lambda **labels: tuple(sorted(labels.items()))
    seen = {}
    for querier, cable in zip((ours, theirs), cables):
        def is_whole():
            found = comparable(answer(querier, "/api/v1/query", query))
            return key(cluster="c1", replica="a") in found and found

        wait_until(is_whole, f"{querier.name} sees every store")
        whole = is_whole()
        for partial in ("true", "false"):
            cable.cut_after(4000, a.sidecar.kill)
            reply = requests.get(querier.url("/api/v1/query"), params=query | {"partial_response": partial}, timeout=30).json()
            assert cable.left is None and a.sidecar.child.poll() is not None, "it was killed in the middle of its answer"
            seen[querier.name, partial] = reply["status"], bool(reply.get("warnings"))
            if partial == "true":
                found = comparable((reply["data"]["resultType"], reply["data"]["result"]))
                rest = {labels for labels in whole if labels != key(cluster="c1", replica="a")}
                assert len(rest) == 2 and all(found[labels] == whole[labels] for labels in rest), (querier.name, found, whole)
            a.sidecar.start()
            wait_until(lambda: comparable(answer(querier, "/api/v1/query", query)) == whole, "the store is asked again", 60)
    for partial, want in (("true", ("success", True)), ("false", ("error", False))):
        assert seen[ours.name, partial] == seen[theirs.name, partial] == want, seen


def test_a_tenant_sees_what_thanos_lets_it_see(tmp_path, start):
    data = int(time.time() * 1000) // STEP_MS * STEP_MS - SAMPLES * STEP_MS
    receive = start(Receive(tmp_path, {"replica": "r"}))
    for seed, tenant in ((5, "team-a"), (6, "team-b")):
        write(receive.write_url(), generated_series(seed, data, SAMPLES, count=6), headers={"THANOS-TENANT": tenant})
    ours = start(ours_over(tmp_path, [receive.grpc]))
    theirs = start(thanos_query(tmp_path, [receive.grpc], "--query.replica-label=replica", "--query.enforce-tenancy",
                                "--query.tenant-label-name=tenant_id"))
    query = {"query": "sum by (tenant_id, job) (last_over_time(test_counter[10m]))", "time": data / 1000 + SAMPLES * 15}
    answers = {}
    for tenant in ("team-a", "team-b", "team-c"):
        replies = [requests.get(one.url("/api/v1/query"), params=query, headers={"THANOS-TENANT": tenant}, timeout=30).json()
                   for one in (ours, theirs)]
        found = [comparable((reply["data"]["resultType"], reply["data"]["result"])) for reply in replies]
        assert difference(*found) is None, (tenant, replies)
        answers[tenant] = found[0]
    tenants = {tenant: {dict(labels)["tenant_id"] for labels in found} for tenant, found in answers.items()}
    assert tenants == {"team-a": {"team-a"}, "team-b": {"team-b"}, "team-c": set()}
