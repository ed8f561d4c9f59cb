"""promtool, as an operator uses it against a Prometheus."""

import subprocess
import time

import pytest
from conftest import loadtest, peer


@pytest.fixture
def filled(gateway):
    loadtest("--endpoint", f"http://127.0.0.1:{gateway.grpc}", "--series", 100, "--batch", 50, "--connections", 2,
             "--rate", 1000, "--duration", "3s")
    return gateway


def promtool(*arguments):
    done = subprocess.run([peer("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_query_instant(filled):
    out = promtool("query", "instant", filled.prometheus_url(), "count by (__name__) ({__name__=~'loadtest_.+'})")
    assert "loadtest_requests_total" in out and "=> 66 @" in out
    assert "loadtest_queue_depth" in out and "=> 34 @" in out


def test_query_range(filled):
    now = int(time.time())
    out = promtool("query", "range", f"--start={now - 60}", f"--end={now}", "--step=5s", filled.prometheus_url(),
                   "sum(increase(loadtest_requests_total[1m]))")
    assert "@[" in out


def test_query_series_and_labels(filled):
    now = int(time.time())
    times = [f"--start={now - 600}", f"--end={now + 60}"]
    out = promtool("query", "series", "--match=loadtest_queue_depth", *times, filled.prometheus_url())
    assert len(out.splitlines()) == 34 and 'job="loadtest"' in out
    out = promtool("query", "labels", *times, filled.prometheus_url(), "http_request_method")
    assert set(out.split()) <= {"GET", "POST", "PUT", "DELETE"} and "GET" in out


def test_check_healthy_and_ready(filled):
    promtool("check", "healthy", f"--url={filled.prometheus_url()}")
    promtool("check", "ready", f"--url={filled.prometheus_url()}")
