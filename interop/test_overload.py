"""Senders at more than the gateway can take: memory stays bounded, refusals carry a hint, nothing acked is lost."""

import threading

import psutil
import pytest
from conftest import Tidegate, loadtest

LIMIT_MIB = 256
RSS_MIB_MAX = 320


@pytest.mark.parametrize("signal", ["metrics", "logs"])
def test_memory_stays_bounded_and_nothing_acked_is_lost(tmp_path, start, signal):
    gateway = start(Tidegate(tmp_path, limit_mib=LIMIT_MIB))
    process = psutil.Process(gateway.child.pid)
    peak, done = 0, threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        report = loadtest("--signal", signal, "--endpoint", f"http://127.0.0.1:{gateway.grpc}", "--series", 100_000,
                          "--batch", 5000, "--connections", 48, "--streams", 48, "--duration", "20s", "--verify",
                          "--prometheus", gateway.prometheus_url(), "--loki", gateway.loki_url(), check=False)
    finally:
        done.set()
        watcher.join()
    print(f"{signal}: peak {peak / 2**20:.0f} MiB, {report}")
    assert peak < RSS_MIB_MAX * 2**20
    assert report["acked"] > 0
    assert report["refused_requests_with_retry_hint"] == report["refused_requests"]
    verdict = report["verify"]
    assert (verdict["lost"], verdict["duplicated"], verdict["wrong"]) == (0, 0, 0), report
