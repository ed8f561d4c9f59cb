"""The same samples in a gateway and in a real Prometheus: chunks of the same bytes in their blocks; tools read ours, each of
the two programs reads those of the other one, and 30 generated queries have the same answers from both.
"""

import json
import random
import shutil
import time
from collections import Counter

import pytest
from metric_protocols import Gateway, Prometheus
from promql_corpus import Corpus
from promql_queries import Queries
from test_blocks import blocks, dumps_alike, promtool, sections
from test_migrate import migrate
from test_promql_differential import allowed, ask, difference, send
from test_remote_read import float_histogram
from test_remote_write import V2, Request, post

HOURS = 3
SEED = 11
QUERIES = 30


@pytest.fixture
def both(tmp_path, start):
    """The two, filled with the same, and their snapshots."""
    prometheus, gateway = Prometheus(tmp_path), Gateway(tmp_path)
    prometheus.command.append("--web.enable-admin-api")
    config = tmp_path / "tidegate.yaml"
    config.write_text(config.read_text().replace("server: {prometheus: {", "server: {prometheus: {enable_admin_api: true, "))
    servers = start(prometheus), start(gateway)
    end_ms = int(time.time() // 15) * 15_000 - 60_000
    corpus = Corpus(SEED, HOURS, end_ms)
    send(servers, corpus)
    request = Request(2)
    times = range(end_ms - 3_000_000, end_ms, 15_000)
    request.add([("__name__", "float_counts"), ("job", "j")], [], [float_histogram(ms, 5 + ms % 7) for ms in times])
    for server in servers:
        assert post(server, request.bytes(), V2)[0] == 204
    folders = []
    for server, data in zip(servers, ("prometheus-data", "tidegate-data/metrics/default")):
        status, answer = ask(server, "/api/v1/admin/tsdb/snapshot", {})
        assert status == 200, answer
        folders.append(tmp_path / data / "snapshots" / answer["data"]["name"])
    return servers, folders, corpus


def chunks(folder):
    """All chunks of the blocks in a folder, as (encoding, bytes), with how often each is there."""
    found = Counter()
    for path in folder.glob("*/chunks/*"):
        data = path.read_bytes()
        at = 8
        while at < len(data):
            length = shift = 0
            while True:
                byte = data[at]
                at, length, shift = at + 1, length | (byte & 0x7F) << shift, shift + 7
                if byte < 0x80:
                    break
            if length:
                found[(data[at], data[at + 1 : at + 1 + length])] += 1
            at += 1 + length + 4
    return found


def same_answers(ours, theirs, corpus):
    """Generated queries: how many had something to answer."""
    first = corpus.start_ms / 1000
    queries, chance, told, asked = Queries(SEED, first, first + HOURS * 3600), random.Random(SEED), 0, 0
    while asked < QUERIES:
        query = queries.next()
        path, times = "/api/v1/query", {"time": f"{chance.uniform(first + 600, first + HOURS * 3600):.3f}"}
        if asked % 2:
            path, times = "/api/v1/query_range", {"start": first + 300, "end": first + HOURS * 3600, "step": 60}
        answers = [ask(server, path, {"query": query, **times}) for server in (ours, theirs)]
        if answers[1][0] != 200:
            continue
        asked += 1
        said = difference(query, *answers)
        assert not said or allowed(query, said), f"{query} {times}: {said}"
        told += bool(answers[1][1]["data"]["result"])
    print(f"\n{asked} queries with the same answers, {told} of them not empty")
    assert told >= QUERIES / 2
    return told


def test_chunks_of_floats_have_the_same_bytes(both):
    # Those of histograms are cut at other places behind a reset: a chunk that a reset began has no predicted end upstream.
    _, (theirs, ours), _ = both
    left, right = chunks(ours), chunks(theirs)
    by_encoding = Counter(encoding for encoding, _ in right.elements())
    assert set(by_encoding) == {1, 2, 3} and by_encoding[1] > 500
    floats = lambda found: {chunk: count for chunk, count in found.items() if chunk[0] == 1}
    assert floats(left) == floats(right)
    shared = sum((left & right).values()) / sum(right.values())
    print(f"\n{dict(by_encoding)} chunks by encoding, {shared:.1%} the same")


def test_tools_and_a_prometheus_read_our_blocks(both, tmp_path, start):
    servers, (_, ours), corpus = both
    copy = tmp_path / "copy"
    shutil.copytree(ours, copy)
    reports = dumps_alike(copy)
    table = [line.split() for line in promtool("list", copy).splitlines()[1:]]
    listed = json.loads(blocks("ls", "--output", "json", copy))
    assert sorted(row[0] for row in table) == sorted(row["meta"]["ulid"] for row in listed) and len(reports) == len(table)
    for options in ([], ["--extended"]):
        theirs, mine = (sections(tool("analyze", "--limit", "1000", *options, copy)) for tool in (promtool, blocks))
        assert mine[0] == theirs[0] and {k: sorted(v) for k, v in mine[1].items()} == {k: sorted(v) for k, v in theirs[1].items()}
    reader = Prometheus(tmp_path, name="reader")
    shutil.rmtree(tmp_path / "reader-data", ignore_errors=True)
    shutil.copytree(ours, tmp_path / "reader-data")
    start(reader)
    same_answers(servers[1], reader, corpus)


def test_we_read_the_data_of_a_prometheus(both, tmp_path, start):
    (prometheus, _), _, corpus = both
    # Killed, so that its log is part of what is read.
    prometheus.kill()
    reader = Gateway(tmp_path, name="reader")
    migrate(reader, tmp_path / "prometheus-data")
    prometheus.start()
    same_answers(start(reader), prometheus, corpus)
