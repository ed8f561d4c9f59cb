"""`tidegate logs`: what it pushes comes back, page by page, as text and as JSON."""

import json
import subprocess
import time

import requests
from conftest import TARGET, Tidegate, wait_until


def logs(gateway, *arguments, text=None, check=True):
    command = [str(TARGET / "tidegate"), "logs", "--addr", gateway.loki_url(), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, input=text, timeout=60)
    assert not check or done.returncode == 0, done.stderr
    return done


def test_imported_lines_come_back_in_pages(gateway):
    lines = [f"line {number} é" for number in range(250)]
    done = logs(gateway, "import", "-", "--label", "job=import", text="\n".join(lines) + "\n")
    assert json.loads(done.stdout) == {"entries": 250}
    for arguments, want in ((["--forward"], lines), ([], lines[::-1])):
        done = logs(gateway, "query", '{job="import"}', "--limit", 0, "--batch", 40, "--output", "raw", *arguments)
        assert done.stdout.splitlines() == want
    done = logs(gateway, "query", '{job="import"}', "--limit", 3, "--output", "raw")
    assert done.stdout.splitlines() == lines[:-4:-1]


def test_what_json_output_printed_imports_as_the_same_streams_and_metadata(gateway, tmp_path, start):
    now = time.time_ns()
    streams = [
        {"stream": {"app": "shop", "env": env},
         "values": [[str(now + n), f'{{"n": {n}, "é": "<b>"}}', {"trace_id": f"{n:04}", "app_id": env} if n % 2 else {}] for n in range(20)]}
        for env in ("a", "b")
    ]
    answer = requests.post(gateway.loki_url("/loki/api/v1/push"), json={"streams": streams}, timeout=30)
    assert answer.status_code == 204, answer.text
    other = start(Tidegate(tmp_path, name="other"))
    rows = logs(gateway, "query", '{app="shop"} | json', "--limit", 0, "--batch", 7, "--output", "json").stdout
    assert json.loads(logs(other, "import", "-", "--format", "ndjson", text=rows).stdout) == {"entries": 40}

    def everything(server):
        flags = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
        answer = requests.get(server.loki_url("/loki/api/v1/query_range"), headers=flags, timeout=30,
                              params={"query": '{app="shop"}', "start": now - 10**9, "end": now + 10**9, "limit": 1000})
        return sorted((sorted(stream["stream"].items()), stream["values"]) for stream in answer.json()["data"]["result"])

    first, second = everything(gateway), everything(other)
    assert first == second and sum(len(values) for _, values in first) == 40
    assert {"trace_id": "0001", "app_id": "a"}.items() <= next(
        value[2]["structuredMetadata"] for labels, values in first for value in values if value[0] == str(now + 1)).items()


def test_labels_series_stats_and_metric_queries(gateway):
    logs(gateway, "import", "-", "--label", "job=x", "--label", "env=test", text="1\n2\n3\n")
    assert {"env", "job"} <= set(logs(gateway, "labels").stdout.split())
    assert logs(gateway, "labels", "env").stdout.split() == ["test"]
    assert 'env="test"' in logs(gateway, "series", '{job="x"}').stdout
    assert json.loads(logs(gateway, "stats", '{job="x"}').stdout)["entries"] == 3
    [sample] = json.loads(logs(gateway, "query", 'sum(count_over_time({job="x"}[5m]))', "--instant").stdout)
    assert sample["value"][1] == "3"
    refused = logs(gateway, "query", "{job=", check=False)
    assert refused.returncode != 0 and "parse error at line 1, col 6" in refused.stderr


def test_tail_prints_lines_as_they_come(gateway, tmp_path):
    out = tmp_path / "tail.txt"
    logs(gateway, "import", "-", "--label", "job=tailed", text="before\n")
    with open(out, "wb") as file:
        command = [str(TARGET / "tidegate"), "logs", "--addr", gateway.loki_url(), "tail", '{job="tailed"}', "--output", "raw"]
        child = subprocess.Popen(command, stdout=file)
    try:
        wait_until(lambda: out.read_text() == "before\n", "the look back")
        for number in range(5):
            logs(gateway, "import", "-", "--label", "job=tailed", text=f"line {number}\n")
        wait_until(lambda: out.read_text().splitlines() == ["before"] + [f"line {number}" for number in range(5)], "the lines")
    finally:
        child.terminate()
        child.wait(timeout=30)
