"""kill -9 under load: nothing acknowledged is lost, doubled or wrong."""

import os
import random
import threading
import time

import pytest
from conftest import Tidegate, loadtest

ROUNDS = int(os.environ.get("INTEROP_KILL_ROUNDS", "6"))


# Blocks so short that flush, checkpoint and compaction run all the time.
SHORT_BLOCKS = "  metrics: {block_duration: 1s, out_of_order_window: 30m}"


@pytest.mark.parametrize(("signal", "storage"), [("metrics", ""), ("metrics", SHORT_BLOCKS), ("logs", "")])
def test_acked_data_survives_kill_9(tmp_path, signal, storage):
    seed = int(os.environ.get("INTEROP_SEED", time.time()))
    print(f"seed {seed}")
    rng = random.Random(seed)
    gateway = Tidegate(tmp_path, storage=storage)
    gateway.start()
    try:
        for number in range(ROUNDS):
            reports = []
            sender = threading.Thread(
                target=lambda: reports.append(
                    loadtest("--signal", signal, "--transport", ["grpc", "http"][number % 2], "--endpoint",
                             f"http://127.0.0.1:{[gateway.grpc, gateway.http][number % 2]}", "--prometheus",
                             gateway.prometheus_url(), "--loki", gateway.loki_url(), "--series", 2000,
                             "--histogram-every", 10, "--streams", 4, "--batch", 200, "--rate", 20000, "--duration", "5s",
                             "--verify", check=False)
                )
            )
            sender.start()
            time.sleep(rng.uniform(0.3, 2.5))
            gateway.kill()
            gateway.start()
            sender.join()
            [report] = reports
            assert report["acked"] > 0, report
            verdict = report["verify"]
            faults = {key: verdict[key] for key in ("lost", "duplicated", "wrong")}
            assert faults == {"lost": 0, "duplicated": 0, "wrong": 0}, (number, report)
        if storage:
            folder = tmp_path / "tidegate-data" / "metrics" / "default"
            blocks = [entry for entry in folder.iterdir() if len(entry.name) == 26]
            assert blocks, list(folder.iterdir())
    finally:
        gateway.kill()


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
