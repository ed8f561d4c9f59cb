"""kill -9 under load: nothing acknowledged is lost, doubled or wrong."""

import os
import pathlib
import random
import threading
import time

import pytest
import requests
from conftest import Tidegate, loadtest, wait_until
from metric_protocols import Gateway
from promql_corpus import float_series, snappy
from test_promql_differential import HEADERS

ROUNDS = int(os.environ.get("INTEROP_KILL_ROUNDS", "6"))


# Blocks so short that flush, checkpoint and compaction run all the time.
SHORT_BLOCKS = "  metrics: {block_duration: 1s, out_of_order_window: 30m}"


def metric(gateway, name):
    """Sum of a metric's values."""
    rows = requests.get(gateway.prometheus_url("/metrics"), timeout=10).text.splitlines()
    return sum(float(row.split()[-1]) for row in rows if row.split("{")[0].split(" ")[0] == name)


def flush_all_the_time(gateway, done):
    """Makes the log store write a file every few milliseconds, so many that it merges them, too."""
    while not done.wait(0.02):
        try:
            requests.post(gateway.loki_url("/flush"), timeout=5)
        except requests.RequestException:
            pass


@pytest.mark.parametrize(("signal", "storage"), [("metrics", ""), ("metrics", SHORT_BLOCKS), ("logs", "")])
def test_acked_data_survives_kill_9(tmp_path, signal, storage):
    seed = int(os.environ.get("INTEROP_SEED", time.time()))
    print(f"seed {seed}")
    rng = random.Random(seed)
    gateway = Tidegate(tmp_path, storage=storage)
    gateway.start()
    done, merged = threading.Event(), 0
    flusher = threading.Thread(target=flush_all_the_time, args=(gateway, done))
    # Few lines, so that many files are written and merged between two kills.
    rate = 2000 if signal == "logs" else 20000
    if signal == "logs":
        flusher.start()
    try:
        for number in range(ROUNDS):
            reports = []
            sender = threading.Thread(
                target=lambda: reports.append(
                    loadtest("--signal", signal, "--transport", ["grpc", "http"][number % 2], "--endpoint",
                             f"http://127.0.0.1:{[gateway.grpc, gateway.http][number % 2]}", "--prometheus",
                             gateway.prometheus_url(), "--loki", gateway.loki_url(), "--series", 2000,
                             "--histogram-every", 10, "--streams", 4, "--batch", 200, "--rate", rate, "--duration", "5s",
                             "--verify", check=False)
                )
            )
            sender.start()
            time.sleep(rng.uniform(0.3, 2.5))
            if signal == "logs" and not merged:
                # How many files a while leaves depends on the machine.
                wait_until(lambda: metric(gateway, "tidegate_log_store_compactions_total") > 0, "a merge of files")
            merged += signal == "logs" and metric(gateway, "tidegate_log_store_compactions_total") > 0
            gateway.kill()
            gateway.start()
            sender.join()
            [report] = reports
            verdict = report["verify"]
            assert report["acked"] > 0 and verdict["checked"] > 0, report
            faults = {key: verdict[key] for key in ("lost", "duplicated", "wrong")}
            assert faults == {"lost": 0, "duplicated": 0, "wrong": 0}, (number, report)
        if storage:
            folder = tmp_path / "tidegate-data" / "metrics" / "default"
            blocks = [entry for entry in folder.iterdir() if len(entry.name) == 26]
            assert blocks, list(folder.iterdir())
        if signal == "logs":
            print(f"files were merged in {merged} of {ROUNDS} rounds")
            assert merged > 0
    finally:
        done.set()
        gateway.kill()


class OnSmallDisk(Tidegate):
    """A gateway whose data folder is a file system of its own of this many MiB."""

    def __init__(self, folder, mib, **options):
        super().__init__(folder, **options)
        data = folder / f"{self.name}-data"
        data.mkdir()
        script = 'mount -t tmpfs -o size="$0m" tidegate "$1" && shift && exec "$@"'
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        self.command = ["unshare", *user, "--mount", "sh", "-c", script, mib, data, *self.command]
        self.data = data

    def inside(self, name):
        """A path in the data folder as this process sees it."""
        return pathlib.Path(f"/proc/{self.child.pid}/root{self.data}/{name}")


def test_a_full_disk_refuses_lines_until_there_is_room_and_loses_none(tmp_path, start):
    storage = "  free_bytes_min: 8MB"
    gateway = start(OnSmallDisk(tmp_path, 96, storage=storage))
    ballast = gateway.inside("ballast")
    ballast.write_bytes(bytes(56 << 20))
    acked, base = 0, time.time_ns()

    def body():
        # Lines that do not compress, so that the disk fills up.
        values = [[str(base + acked + n), os.urandom(500).hex()] for n in range(500)]
        return {"streams": [{"stream": {"app": "full"}, "values": values}]}

    def push(streams):
        answer = requests.post(gateway.loki_url("/loki/api/v1/push"), json=streams, timeout=60)
        if answer.status_code != 204:
            assert answer.status_code in (429, 503) and int(answer.headers["retry-after"]) >= 1, (answer.status_code, answer.text)
        return answer.status_code == 204

    def count():
        answer = requests.get(gateway.loki_url("/loki/api/v1/query"), timeout=60,
                              params={"query": 'sum(count_over_time({app="full"}[1h]))', "time": base + 60 * 10**9})
        assert answer.status_code == 200, answer.text
        return int(answer.json()["data"]["result"][0]["value"][1])

    deadline = time.monotonic() + 60
    while push(waiting := body()):
        acked += 500
        assert time.monotonic() < deadline, "the disk does not fill up"
    assert acked > 0 and not push(waiting) and not push(waiting)
    # What was refused may be stored all the same: its sender comes again.
    assert acked <= count() <= acked + 500, "what was acknowledged is answered while the disk is full"
    ballast.unlink()
    wait_until(lambda: push(waiting), "lines are taken by itself once there is room", 20)
    acked += 500
    for _ in range(10):
        assert push(body())
        acked += 500
    requests.post(gateway.loki_url("/flush"), timeout=60).raise_for_status()
    assert count() == acked
    assert gateway.stop(60) == 0


def test_a_million_points_replay_in_under_a_second(tmp_path):
    gateway = Tidegate(tmp_path)
    gateway.start()
    try:
        report = loadtest("--endpoint", f"http://127.0.0.1:{gateway.grpc}", "--series", 20000, "--rate", "max",
                          "--duration", "6s")
        assert report["acked"] >= 1_000_000, report
        gateway.kill()
        began = time.monotonic()
        gateway.start()
        seconds = time.monotonic() - began
        count = gateway.instant('count({__name__=~"loadtest_.+"})', time.time() + 5)
        print(f"{report['acked']} points, ready {seconds:.2f} s after kill -9")
        assert count[0]["value"][1] == "20000"
        assert seconds < report["acked"] / 1_000_000, "replay takes under a second for a million points"
    finally:
        gateway.kill()


def test_an_orderly_stop_exits_0_and_keeps_everything(tmp_path):
    gateway = Tidegate(tmp_path)
    gateway.start()
    try:
        report = loadtest("--signal", "logs", "--endpoint", f"http://127.0.0.1:{gateway.grpc}", "--rate", 5000,
                          "--duration", "2s")
        assert gateway.stop() == 0
        gateway.start()
        rows = gateway.lines('{service_name="loadtest"}', limit=5000)
        assert len(rows) == min(5000, report["acked"])
    finally:
        gateway.kill()


def test_a_damaged_scratch_file_is_made_again_while_the_server_runs(tmp_path, start):
    gateway = start(Gateway(tmp_path))
    end_ms = int(time.time()) * 1000 - 60_000
    times = [end_ms - 15_000 * (250 - step) for step in range(250)]
    chance = random.Random(9)
    for window in (times[first : first + 50] for first in range(0, 250, 50)):
        body = b"".join(float_series({"__name__": "noise", "n": str(n)}, window, [chance.random() for _ in window])
                        for n in range(1500))
        answer = requests.post(gateway.url("/api/v1/write"), data=snappy(body), headers=HEADERS, timeout=30)
        assert answer.status_code == 204, answer.text
    folder = tmp_path / "tidegate-data/metrics/default/scratch"
    wait_until(lambda: any(path.stat().st_size > 1 << 20 for path in folder.glob("*")), "closed chunks are in a file", 20)

    def sums():
        query = {"query": "sum(sum_over_time(noise[2h]))", "time": end_ms / 1000}
        answer = requests.get(gateway.url("/api/v1/query"), params=query, timeout=30)
        return answer.status_code, answer.json()

    before = sums()
    assert before[0] == 200
    for path in folder.glob("*"):
        damaged = bytearray(path.read_bytes())
        damaged[100::1000] = bytes(byte ^ 0xFF for byte in damaged[100::1000])
        with open(path, "r+b") as file:
            file.write(damaged)
    status, told = sums()
    assert status == 422 and "made again from the log soon" in told["error"], told
    wait_until(lambda: sums() == before, "the answer is what it was", 20)
    assert "were made again from the log" in gateway.log.read_text()
