"""The log store in a bucket of a real S3 server: what is there, what logcli finds, and what happens while the server is away."""

import json
import os
import random
import shutil
import subprocess
import threading
import time

import requests
from conftest import Tidegate, loadtest, peer, wait_until
from s3_faults import Faults
from test_durability import flush_all_the_time, metric
from thanos_bucket import S3

ROUNDS = int(os.environ.get("INTEROP_KILL_ROUNDS", "3"))


def in_bucket(s3, port=None):
    """The storage section of a gateway whose log files are in the bucket."""
    config = s3.config()
    config["config"]["endpoint"] = f"127.0.0.1:{port or s3.port}"
    return f"  logs: {{bucket: {json.dumps(config)}}}"


def push(gateway, app, lines, base):
    values = [[str(base + n), line] for n, line in enumerate(lines)]
    body = {"streams": [{"stream": {"app": app}, "values": values}]}
    return requests.post(gateway.loki_url("/loki/api/v1/push"), json=body, timeout=60)


def flush(gateway):
    return requests.post(gateway.loki_url("/flush"), timeout=60)


def data_files(s3):
    return list((s3.root / s3.bucket / "tidegate" / "logs" / "data").rglob("*.parquet"))


def found(gateway, query):
    return sorted(line for _, _, line in gateway.lines(query))


def test_lines_are_in_the_bucket_for_every_process_that_shares_it(tmp_path, start):
    s3 = start(S3(tmp_path, "logs"))
    one = start(Tidegate(tmp_path, name="one", storage=in_bucket(s3)))
    two = start(Tidegate(tmp_path, name="two", storage=in_bucket(s3)))
    base = time.time_ns()
    lines = [f"line {n} of one with a needle-{n:05d}" for n in range(3000)]
    assert push(one, "a", lines, base).status_code == 204
    assert push(two, "b", ["of two"], base).status_code == 204
    assert found(one, '{app="a"}') == sorted(lines), "from memory"
    assert flush(one).status_code == flush(two).status_code == 204
    assert len(data_files(s3)) == 2 and not list((tmp_path / "one-data" / "logs").rglob("*.parquet"))
    assert found(one, '{app="a"}') == sorted(lines), "from the bucket"
    wait_until(lambda: found(one, '{app="b"}') == ["of two"], "one sees what two wrote", 60)
    assert found(one, '{app="a"} |= "needle-00042"') == [lines[42]]
    # The real client, against the process that did not write the lines.
    wait_until(lambda: found(two, '{app="a"} |= "needle-02999"') == [lines[2999]], "two sees what one wrote", 60)
    command = [peer("logcli"), "query", '{app="a"} |~ "needle-0000[1-3]"', "--addr", two.loki_url(), "--quiet", "-o", "raw",
               "--limit", "10", "--since", "1h"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
    assert sorted(done.stdout.splitlines()) == lines[1:4], done.stderr
    # A folder that is lost takes nothing along that was flushed; what was not comes back from the write-ahead log.
    assert push(two, "b", ["only in the write-ahead log"], base + 1).status_code == 204
    one.kill()
    two.kill()
    shutil.rmtree(tmp_path / "one-data")
    one.start()
    two.start()
    assert found(one, '{app="a"}') == sorted(lines)
    assert found(two, '{app="b"}') == ["of two", "only in the write-ahead log"]
    # Lines that are deleted are in no file that is named.
    query = {"query": '{app="a"} |= "needle-00042"', "start": str(base // 10**9 - 10), "end": str(time.time())}
    assert requests.post(one.loki_url("/loki/api/v1/delete"), params=query, timeout=30).status_code == 204
    assert found(one, '{app="a"} |= "needle-00042"') == []
    assert len(found(one, '{app="a"}')) == 2999
    assert one.stop() == two.stop() == 0


def test_a_server_that_is_away_makes_errors_and_no_short_answers_and_loses_nothing(tmp_path, start):
    s3 = start(S3(tmp_path, "logs"))
    gateway = start(Tidegate(tmp_path, storage=in_bucket(s3)))
    base = time.time_ns()
    assert push(gateway, "a", [f"before {n}" for n in range(500)], base).status_code == 204
    assert flush(gateway).status_code == 204
    gateway.kill()
    gateway.start()
    s3.kill()
    assert push(gateway, "a", ["while it is away"], base + 1000).status_code == 204, "the write-ahead log takes lines"
    flushing = threading.Thread(target=flush, args=(gateway,))
    flushing.start()
    began = time.monotonic()
    answer = requests.get(gateway.loki_url("/loki/api/v1/query_range"), timeout=100,
                          params={"query": '{app="a"}', "start": base - 10**9, "end": base + 10**9})
    print(f"a query was answered with {answer.status_code} after {time.monotonic() - began:.1f} s: {answer.text[:200]}")
    assert answer.status_code in (500, 503) and "tidegate/logs" in answer.text, answer.text
    flushing.join()
    assert metric(gateway, "tidegate_log_store_flush_failures_total") > 0
    gateway.kill()
    s3.start()
    gateway.start()
    assert len(found(gateway, '{app="a"}')) == 501
    s3.kill()
    assert push(gateway, "a", ["away again"], base + 2000).status_code == 204
    s3.start()
    wait_until(lambda: flush(gateway).status_code == 204, "files are written by itself once the server is there", 60)
    assert len(found(gateway, '{app="a"}')) == 502
    assert gateway.stop(60) == 0


def test_an_object_that_was_emptied_is_damage_and_a_server_that_hangs_holds_no_end_up(tmp_path, start):
    s3 = start(S3(tmp_path, "logs"))
    faults = start(Faults(s3.port, 1, share=0))
    gateway = start(Tidegate(tmp_path, storage=in_bucket(s3, faults.port)))
    base = time.time_ns()
    for app in ("a", "b"):
        assert push(gateway, app, [f"line of {app}"], base).status_code == 204
        assert flush(gateway).status_code == 204
    gateway.kill()
    first = min(data_files(s3), key=lambda path: path.stat().st_mtime_ns)
    first.write_bytes(b"")
    gateway.start()
    answer = requests.get(gateway.loki_url("/loki/api/v1/query_range"), params={"query": '{app=~".+"}'}, timeout=60)
    assert answer.status_code == 200, answer.text
    streams = answer.json()["data"]["result"]
    assert [value[1] for stream in streams for value in stream["values"]] == ["line of b"]
    [warning] = answer.json()["warnings"]
    assert first.name in warning and "are missing" in warning
    # No request is answered any more: what is not in a file stays in the write-ahead log.
    assert push(gateway, "c", ["line of c"], base).status_code == 204
    faults.work.clear()
    assert gateway.stop(60) in (0, 1)
    assert "panicked" not in gateway.tail()
    faults.work.set()
    gateway.start()
    assert found(gateway, '{app="c"}') == ["line of c"]


def test_a_data_folder_that_was_copied_loses_nothing_that_was_acknowledged(tmp_path, start):
    s3 = start(S3(tmp_path, "logs"))
    one = start(Tidegate(tmp_path, name="one", storage=in_bucket(s3)))
    base = time.time_ns()
    assert push(one, "a", ["before"], base).status_code == 204
    assert flush(one).status_code == 204
    two = Tidegate(tmp_path, name="two", storage=in_bucket(s3))
    shutil.copytree(tmp_path / "one-data", tmp_path / "two-data")
    start(two)
    for n in range(3):
        assert push(two, "b", [f"of two {n}"], base + n).status_code == 204
        assert flush(two).status_code == 204
    assert push(one, "a", ["not known yet"], base + 1).status_code == 204
    assert flush(one).status_code == 500
    refused = push(one, "a", ["refused"], base + 2)
    assert refused.status_code == 503 and "another process writes as" in refused.text, refused.text
    one.kill()
    one.start()
    assert push(one, "a", ["under a new name"], base + 3).status_code == 204
    assert flush(one).status_code == 204
    for gateway in (one, two):
        wait_until(lambda: found(gateway, '{app="a"}') == ["before", "not known yet", "under a new name"], "all of one", 60)
        assert found(gateway, '{app="b"}') == ["of two 0", "of two 1", "of two 2"]
    assert one.stop() == two.stop() == 0


def test_acked_lines_survive_kill_9_with_files_in_a_bucket(tmp_path, start):
    seed = int(os.environ.get("INTEROP_SEED", time.time()))
    print(f"seed {seed}")
    rng = random.Random(seed)
    s3 = start(S3(tmp_path, "logs"))
    faults = start(Faults(s3.port, seed))
    gateway = start(Tidegate(tmp_path, storage=in_bucket(s3, faults.port)))
    done, merged = threading.Event(), 0
    flusher = threading.Thread(target=flush_all_the_time, args=(gateway, done))
    flusher.start()
    try:
        for number in range(ROUNDS):
            reports = []
            target = [gateway.grpc, gateway.http][number % 2]
            sender = threading.Thread(
                target=lambda: reports.append(
                    loadtest("--signal", "logs", "--transport", ["grpc", "http"][number % 2], "--endpoint",
                             f"http://127.0.0.1:{target}", "--loki", gateway.loki_url(), "--streams", 4, "--batch", 200,
                             "--rate", 2000, "--duration", "5s", "--verify", check=False)
                )
            )
            sender.start()
            time.sleep(rng.uniform(0.3, 2.5))
            merged += metric(gateway, "tidegate_log_store_compactions_total") > 0
            gateway.kill()
            if number % 3 == 1:
                s3.kill()
                s3.start()
            gateway.start()
            if number % 3 == 2:
                # Away for a moment while lines come in.
                s3.kill()
                time.sleep(0.5)
                s3.start()
            sender.join()
            [report] = reports
            assert report["acked"] > 0, report
            verdict = report["verify"]
            wrong = {key: verdict[key] for key in ("lost", "duplicated", "wrong")}
            assert wrong == {"lost": 0, "duplicated": 0, "wrong": 0}, (number, report)
        print(f"merged in {merged} of {ROUNDS} rounds; {faults.requests} requests, spoiled {faults.counts}")
        assert sum(faults.counts.values()) > 0
    finally:
        done.set()
        flusher.join()
