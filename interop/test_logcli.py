"""logcli, as an operator uses it against a Loki."""

import json
import subprocess

import pytest
from conftest import loadtest, peer

LINES = 4000


@pytest.fixture
def filled(gateway):
    report = loadtest("--signal", "logs", "--endpoint", f"http://127.0.0.1:{gateway.grpc}", "--streams", 4,
                      "--batch", 100, "--connections", 2, "--rate", LINES / 2, "--duration", "2s")
    gateway.sent_lines = report["acked"]
    return gateway


def logcli(gateway, *arguments):
    command = [peer("logcli"), f"--addr={gateway.loki_url()}", "--quiet", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_query_pages_through_every_line_once(filled):
    # Over one page of answers, so that logcli asks again from the last timestamp.
    out = logcli(filled, "query", '{service_name="loadtest"}', "--limit=100000", "--batch=700", "--since=1h",
                 "--output=jsonl", "--forward")
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == filled.sent_lines
    assert len({(line["labels"]["service_instance_id"], line["timestamp"], line["line"]) for line in lines}) == len(lines)


def test_query_filters(filled):
    out = logcli(filled, "query", '{service_name="loadtest"} |= "request served" | logfmt | status="500"',
                 "--limit=5000", "--since=1h", "--output=raw")
    rows = out.splitlines()
    assert rows and all("request served" in row and "status=500" in row for row in rows)


def test_labels_and_values(filled):
    assert {"service_name", "service_instance_id"} <= set(logcli(filled, "labels", "--since=1h").split())
    assert logcli(filled, "labels", "service_name", "--since=1h").split() == ["loadtest"]


def test_series(filled):
    out = logcli(filled, "series", '{service_name="loadtest"}', "--since=1h")
    assert len(out.splitlines()) == 4


def test_instant_query(filled):
    query = 'sum(count_over_time({service_name="loadtest"}[1h]))'
    [sample] = json.loads(logcli(filled, "instant-query", query))
    assert int(sample["value"][1]) == filled.sent_lines
