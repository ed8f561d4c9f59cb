"""logcli, as an operator uses it against a Loki."""

import json
import subprocess
import time

import pytest
import requests
from conftest import loadtest, peer, wait_until

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


def test_instant_log_queries_are_refused_with_lokis_words(filled):
    command = [peer("logcli"), f"--addr={filled.loki_url()}", "--quiet", "instant-query", '{service_name="loadtest"}']
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "log queries are not supported as an instant query type" in done.stderr + done.stdout


def test_stats_and_volume_count_every_byte(filled):
    stats = index_stats(filled)
    assert stats["streams"] == 4 and stats["entries"] == filled.sent_lines
    [series] = json.loads(logcli(filled, "volume", '{service_name="loadtest"}', "--since=1h"))
    assert int(series["value"][1]) == stats["bytes"]
    steps = json.loads(logcli(filled, "volume_range", '{service_name="loadtest"}', "--since=1h", "--step=60s"))
    total = sum(int(value) for one in steps for _, value in one.get("values", [one.get("value")]))
    assert total == stats["bytes"]


def index_stats(gateway):
    now = time.time_ns()
    parameters = {"query": '{service_name="loadtest"}', "start": now - 3_600_000_000_000, "end": now}
    return requests.get(gateway.loki_url("/loki/api/v1/index/stats"), params=parameters, timeout=30).json()


def test_stats(filled):
    out = logcli(filled, "stats", '{service_name="loadtest"}', "--since=1h")
    assert "streams" in out and str(filled.sent_lines) in out


def test_detected_fields(filled):
    out = logcli(filled, "detected-fields", '{service_name="loadtest"}', "--since=1h")
    assert "status" in out, out


def test_fmt(filled):
    done = subprocess.run([peer("logcli"), f"--addr={filled.loki_url()}", "fmt"], input='sum by (a) (rate({b="c"}|="d"[5m]))',
                          capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == 'sum by (a)(rate({b="c"} |= "d"[5m]))', done.stderr


def push(gateway, lines, **labels):
    now = time.time_ns()
    values = [[str(now + index), line] for index, line in enumerate(lines)]
    answer = requests.post(gateway.loki_url("/loki/api/v1/push"), json={"streams": [{"stream": labels, "values": values}]},
                           timeout=30)
    assert answer.status_code == 204, answer.text


def test_tail_shows_what_is_there_and_then_each_new_line_once(gateway, tmp_path):
    push(gateway, [f"before {number}" for number in range(5)], app="tailed")
    out = tmp_path / "tail.txt"
    with open(out, "wb") as file:
        child = subprocess.Popen(
            [str(peer("logcli")), f"--addr={gateway.loki_url()}", "--quiet", "query", "--tail", "--output=raw",
             "--limit=100", '{app="tailed"} != "skipped"'], stdout=file, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: out.read_text().count("before") == 5, "the look back")
        for number in range(200):
            push(gateway, [f"line {number}", f"skipped {number}"], app="tailed")
        wait_until(lambda: out.read_text().count("line") >= 200, "every new line")
        rows = out.read_text().split("\n")[:-1]
        assert rows == [f"before {number}" for number in range(5)] + [f"line {number}" for number in range(200)]
    finally:
        child.terminate()
        child.wait(timeout=30)


def test_delete_requests_hide_lines_at_once_and_are_taken_back(gateway):
    push(gateway, ["keep me", "secret 1", "secret 2"], app="deleted")
    assert len(gateway.lines('{app="deleted"}')) == 3
    stamp = lambda seconds: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    # A request's end is a whole second and may not lie in the future: wait until the lines' second is over.
    end = int(time.time()) + 1
    wait_until(lambda: time.time() >= end, "the next second")
    logcli(gateway, "delete", "create", '{app="deleted"} |= "secret"', f"--from={stamp(end - 3600)}", f"--to={stamp(end)}")
    assert [line for _, _, line in gateway.lines('{app="deleted"}')] == ["keep me"]
    assert "secret" in logcli(gateway, "delete", "list")
    [request] = requests.get(gateway.loki_url("/loki/api/v1/delete"), timeout=30).json()
    gateway.kill()
    gateway.start()
    assert len(gateway.lines('{app="deleted"}')) == 1, "a request survives kill -9"
    logcli(gateway, "delete", "cancel", f"--request-id={request['request_id']}")
    assert len(gateway.lines('{app="deleted"}')) == 3
