"""Generated LogQL queries beside a real Loki over one corpus: the same streams, lines, values and statuses.

The short form has a fixed seed. The long one: INTEROP_LOKI_QUERIES=1000 INTEROP_LOKI_LINES=1000000. What may differ is
listed in `allowed`, each with its reason; everything else fails the test. INTEROP_LOKI_REPORT names a file for every
difference, with its reason.
"""

import json
import math
import os
import pathlib
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from conftest import Process, Tidegate, free_port, peer
from loki_corpus import SECOND, SPAN, corpus
from loki_queries import missed, queries

QUERIES = int(os.environ.get("INTEROP_LOKI_QUERIES", "200"))
LINES = int(os.environ.get("INTEROP_LOKI_LINES", "20000"))
STREAMS = int(os.environ.get("INTEROP_LOKI_STREAMS", "500"))
SEED = int(os.environ.get("INTEROP_LOKI_SEED", "1"))
REPORT = os.environ.get("INTEROP_LOKI_REPORT")
# Loki's own time limits end answers that a busy machine is slow to give.
PATIENCE_S = 600
BATCH = 2000
# Series of an answer, beyond which Loki refuses and ours has the largest only: more than any query finds.
SERIES_MAX = 1_000_000


class Loki(Process):
    """A real Loki with one process' worth of everything, its limits out of the way."""

    def __init__(self, folder):
        self.http, grpc = free_port(), free_port()
        data = folder / "loki-data"
        config = folder / "loki.yaml"
        config.write_text(
            f"""auth_enabled: false
server: {{http_listen_port: {self.http}, http_listen_address: 127.0.0.1, grpc_listen_port: {grpc}, grpc_listen_address: 127.0.0.1, log_level: error,
  http_server_read_timeout: {PATIENCE_S}s, http_server_write_timeout: {PATIENCE_S}s, grpc_server_max_recv_msg_size: 104857600, grpc_server_max_send_msg_size: 104857600}}
common:
  instance_addr: 127.0.0.1
  path_prefix: {data}
  storage: {{filesystem: {{chunks_directory: {data}/chunks, rules_directory: {data}/rules}}}}
  replication_factor: 1
  ring: {{kvstore: {{store: inmemory}}}}
schema_config:
  configs: [{{from: 2020-01-01, store: tsdb, object_store: filesystem, schema: v13, index: {{prefix: index_, period: 24h}}}}]
limits_config: {{reject_old_samples: false, ingestion_rate_mb: 1000, ingestion_burst_size_mb: 1000, per_stream_rate_limit: 1GB,
  per_stream_rate_limit_burst: 1GB, max_query_series: {SERIES_MAX}, query_timeout: {PATIENCE_S}s, split_queries_by_interval: 0, max_query_lookback: 0, shard_streams: {{enabled: false}}}}
query_range: {{parallelise_shardable_queries: false, cache_results: false, max_retries: 1}}
analytics: {{reporting_enabled: false}}
pattern_ingester: {{enabled: false}}
querier: {{query_ingesters_within: 0s}}
ingester: {{wal: {{enabled: false}}, max_chunk_age: 24h, chunk_idle_period: 24h, lifecycler: {{min_ready_duration: 0s}}}}
"""
        )
        super().__init__("loki", [peer("loki"), f"-config.file={config}"], folder, {"GOMEMLIMIT": "4GiB"})

    def url(self, path):
        return f"http://127.0.0.1:{self.http}{path}"

    def start(self):
        super().start()
        return self.wait_ready(self.url("/ready"), 90)


def push(url, streams):
    """Sends everything in requests of `BATCH` lines."""
    batch, size = [], 0

    def send():
        answer = requests.post(url, json={"streams": batch}, timeout=120)
        assert answer.status_code == 204, answer.text[:500]

    for labels, rows in streams:
        for start in range(0, len(rows), BATCH):
            part = rows[start:start + BATCH]
            batch.append({"stream": labels, "values": [[str(at), line, metadata] for at, line, metadata in part]})
            size += len(part)
            if size >= BATCH:
                send()
                batch, size = [], 0
    if batch:
        send()


def ask(base, path, parameters):
    """Status, and the result or the error's text. Status 0 is a connection that was closed without an answer."""
    try:
        answer = requests.get(f"{base}/loki/api/v1/{path}", params=parameters, timeout=PATIENCE_S)
    except requests.ConnectionError as error:
        return 0, str(error)
    if answer.status_code != 200:
        return answer.status_code, answer.text.strip()
    data = answer.json()["data"]
    return 200, (data["resultType"], data["result"])


def named(labels):
    """Labels as one text. A label with an empty value is no label."""
    return json.dumps({name: value for name, value in labels.items() if value != ""}, sort_keys=True, ensure_ascii=False)


def near(a, b):
    a, b = float(a), float(b)
    return (math.isnan(a) and math.isnan(b)) or a == b or abs(a - b) <= 1e-9 * max(abs(a), abs(b))


def streams_differ(theirs, ours):
    grouped = []
    for result in (theirs, ours):
        by_labels = {}
        for stream in result:
            by_labels.setdefault(named(stream["stream"]), []).append([tuple(value[:2]) for value in stream["values"]])
        grouped.append(by_labels)
    if grouped[0].keys() != grouped[1].keys():
        return f"streams: only Loki {sorted(grouped[0].keys() - grouped[1].keys())[:2]}, only ours {sorted(grouped[1].keys() - grouped[0].keys())[:2]}"
    for labels, parts in grouped[0].items():
        a, b = sum(parts, []), sum(grouped[1][labels], [])
        # Streams that Loki tells apart by an empty label only are one here; the order among them is not defined.
        if len(parts) > 1:
            a, b = sorted(a), sorted(b)
        if a != b:
            return f"entries of {labels}: {len(a)} and {len(b)}, first {next((pair for pair in zip(a, b) if pair[0] != pair[1]), None)}"
    return None


def series_differ(kind, theirs, ours):
    points = lambda one: one["values"] if kind == "matrix" else [one["value"]]
    a, b = ({named(one["metric"]): points(one) for one in result} for result in (theirs, ours))
    if a.keys() != b.keys():
        return f"series: only Loki {sorted(a.keys() - b.keys())[:2]}, only ours {sorted(b.keys() - a.keys())[:2]}"
    for labels in a:
        same = len(a[labels]) == len(b[labels]) and all(
            abs(float(x[0]) - float(y[0])) < 1e-3 and near(x[1], y[1]) for x, y in zip(a[labels], b[labels]))
        if not same:
            return f"values of {labels}: {a[labels][:3]} and {b[labels][:3]}"
    return None


def difference(theirs, ours):
    """What differs between two answers, or None."""
    if theirs[0] != ours[0]:
        return f"status {theirs[0]} and {ours[0]}: {str(theirs[1])[:300]} | {str(ours[1])[:300]}"
    if theirs[0] != 200:
        return None if theirs[1] == ours[1] else f"text {theirs[1][:300]} | {ours[1][:300]}"
    (kind, their_result), (our_kind, our_result) = theirs[1], ours[1]
    if kind != our_kind:
        return f"type {kind} and {our_kind}"
    if kind == "streams":
        return streams_differ(their_result, our_result)
    if kind == "scalar":
        return None if near(their_result[1], our_result[1]) else f"{their_result} and {our_result}"
    return series_differ(kind, their_result, our_result)


def is_part(parameters, theirs, ours):
    """Whether Loki's answer lacks some of ours and has nothing else, as far as ours reaches."""
    if theirs[0] != ours[0]:
        return False
    if theirs[0] == "streams":
        sign = 1 if parameters["direction"] == "forward" else -1
        a, b = ({(sign * int(value[0]), value[1]) for stream in result[1] for value in stream["values"]} for result in (theirs, ours))
        if sum(len(stream["values"]) for stream in ours[1]) == parameters["limit"]:
            a = {entry for entry in a if entry[0] <= max(b)[0]}
    else:
        a, b = ({named(one["metric"]) for one in result[1]} for result in (theirs, ours))
    return a < b


def allowed(parameters, theirs, ours):
    """The reason why a difference is no defect, or None. `docs/loki-differences.md` has them with more words."""
    query, statuses = parameters["query"], (theirs[0], ours[0])
    parsers = re.search(r"\| (json|logfmt|regexp|pattern|unpack)\b", query)
    if statuses == (400, 400) and all("pipeline error: '" in text for _, text in (theirs, ours)):
        return "a metric query that meets several lines with errors names one of them, whichever comes first"
    if statuses == (500, 400) and theirs[1] == ours[1] and re.match("multiple matches for labels|found duplicate series", theirs[1]):
        return "Loki calls vectors that cannot be joined its own fault (500), we the query's (400)"
    if statuses == (200, 400) and ours[1].startswith("label_replace gives several series the same labels"):
        return "Loki answers with several series of the same labels, or several values at a time, after label_replace"
    if statuses != (200, 200):
        return None
    # `<first> <_>` gives an empty label to a line that begins with a blank.
    if theirs[1][0] != "streams" and ("--keep-empty" in query or 'pattern "<first> <_>"' in query):
        return "Loki tells series apart by labels with an empty value, here such a label is none"
    if re.search(r'\|= ("[^"]*"|ip\("[^"]*"\)) or ip\(|\|= ip\("[^"]*"\) or', query):
        return "Loki looks for the text between the parentheses where ip() is an alternative of a line filter"
    # Parsers drop a line as soon as a filter refuses a label that they read. Loki does so for every filter of the query.
    if parsers and is_part(parameters, theirs[1], ours[1]):
        if re.search(r"\| __error__ ?!?=.*\| ?(logfmt|json|unpack)", query):
            return "Loki hands a filter on __error__ to the parsers that come after it too, and drops what those fail on"
        if re.search(r"\| (label_format|drop|keep) .*\| \(?\w+ ?[=!<>]", query):
            return "Loki hands a label filter to parsers before it though a stage between the two changes the label"
    # An anchored expression that `.*` begins or ends, on a label that is not the selector's.
    if re.search(r'\| [^|]*\w+ ?[=!]~ ?"(\.\*[^"]*[^"*]|[^".][^"]*\.\*)"', query) and (
            theirs[1][0] != "streams" or is_part(parameters, theirs[1], ours[1]) or is_part(parameters, ours[1], theirs[1])):
        return "Loki looks for the rest of a regular expression with .* at one end anywhere in the label"
    if '=~"INFO|WARN|"' in query:
        return "Loki drops the empty alternative of a regular expression (newOrFilter in pkg/logql/log/filter.go)"
    return thinned(parameters, theirs, ours)


def thinned(parameters, theirs, ours):
    """Whether Loki's answer is the first part of ours, by time, and the query asks for one entry an interval."""
    if "interval" not in parameters or theirs[1][0] != "streams":
        return None
    sign = 1 if parameters["direction"] == "forward" else -1
    entries = [sorted((sign * int(value[0]), value[1]) for stream in result[1][1] for value in stream["values"])
               for result in (theirs, ours)]
    if entries[0] == entries[1][:len(entries[0])]:
        return "Loki thins by interval only the first `limit` entries that it reads, we the whole range"
    return None


@pytest.fixture
def filled(start, tmp_path):
    loki = start(Loki(tmp_path))
    gateway = start(Tidegate(tmp_path, loki=f", max_query_series: {SERIES_MAX}"))
    begin = (time.time_ns() // (SPAN * SECOND) - 2) * SPAN * SECOND
    streams = corpus(SEED, STREAMS, LINES, begin)
    for url in (loki.url("/loki/api/v1/push"), gateway.loki_url("/loki/api/v1/push")):
        push(url, streams)
    return loki, gateway, begin


def test_generated_queries_get_the_same_answers_as_from_loki(filled):
    loki, gateway, begin = filled
    asked = queries(SEED, QUERIES, begin)
    bases = loki.url(""), gateway.loki_url()
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda one: [ask(base, *one) for base in bases], asked))
    reasons, defects, empty, report = Counter(), [], 0, []
    for (path, parameters), (theirs, ours) in zip(asked, answers):
        empty += theirs[0] == 200 and not theirs[1][1]
        found = difference(theirs, ours)
        if found is None:
            continue
        reason = allowed(parameters, theirs, ours)
        report.append(f"{reason or 'DEFECT'}\n    {path} {json.dumps(parameters, ensure_ascii=False)}\n    {found}\n")
        if reason:
            reasons[reason] += 1
        else:
            defects.append(f"{path} {json.dumps(parameters, ensure_ascii=False)}\n    {found}")
    if REPORT:
        pathlib.Path(REPORT).write_text("\n".join(sorted(report)))
    print(f"\n{len(asked)} queries, {len(defects)} differ, {empty} empty in Loki; allowed: {dict(reasons)}")
    assert not defects, f"{len(defects)} of {len(asked)} differ\n" + "\n".join(defects[:20])
    assert empty <= len(asked) / 5, "too few queries find anything to compare"
    if len(asked) >= 1000:
        assert not missed(asked), "parts of the language that no query has"
