"""The load tester against real targets, and against a proxy that spoils one request in a hundred: each fault is found."""

import contextlib
import http.client
import http.server
import json
import math
import re
import subprocess
import threading
import time

import cramjam
import pytest
from conftest import TARGET, Process, Tidegate, free_port, peer
from test_prometheus import Prometheus

# The proxy sees neither the way of an answer nor why a request came late: some ms of a busy machine.
SLACK_MS = 10
SHORT = ["--duration", "2s", "--connections", 2, "--output", "json", "-q"]


def run(*arguments):
    """Exit code and JSON report."""
    command = [str(TARGET / "tidegate-loadtest"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout, f"{' '.join(command)} exited {done.returncode}: {done.stderr}"
    return done.returncode, json.loads(done.stdout)


def faults(report):
    return {name: report["verify"][name] for name in ("lost", "duplicated", "wrong", "late")}


class Proxy:
    """Hands requests on to `port`; every hundredth is dropped, doubled, delayed or corrupted, and acknowledged all the
    same. Keeps when each request came and how long it took."""

    def __init__(self, port, fault=None, spoil=lambda body: body, stall=None):
        self.port, self.fault, self.spoil, self.stall = port, fault, spoil, stall
        self.times, self.count, self.lock, self.later = {}, 0, threading.Lock(), []
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                came = time.monotonic()
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with proxy.lock:
                    number = proxy.count
                    proxy.count += 1
                if proxy.stall and number == proxy.stall:
                    time.sleep(1)
                status, answer = proxy.handle(number, self.path, body, dict(self.headers))
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                with proxy.lock:
                    proxy.times.setdefault(self.client_address, []).append((came, time.monotonic() - came))

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def handle(self, number, path, body, headers):
        if self.fault and number % 100 == 25:
            if self.fault == "drop":
                return 200, b""
            if self.fault == "double":
                self.forward(path, body, headers)
            elif self.fault == "delay":
                timer = threading.Timer(4, self.forward, (path, body, headers))
                self.later.append(timer)
                timer.start()
                return 200, b""
            elif self.fault == "corrupt":
                body = self.spoil(body)
        return self.forward(path, body, headers)

    def forward(self, path, body, headers):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(link):
            link.request("POST", path, body, {k: v for k, v in headers.items() if k.lower() not in ("host", "content-length")})
            answer = link.getresponse()
            return answer.status, answer.read()

    def close(self):
        for timer in self.later:
            timer.join()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def proxy():
    """Starts proxies that end with the test."""
    running = []

    def begin(*arguments, **named):
        running.append(Proxy(*arguments, **named))
        return running[-1]

    yield begin
    for each in running:
        each.close()


def spoil_line(body):
    """Another letter in the first line."""
    return body.replace(b"Mozilla", b"Mozzlla", 1).replace(b"request", b"rehuest", 1)


def spoil_value(body):
    """Another value in the first sample: field 1 of a sample, 64 bits, then the time."""
    plain = bytearray(bytes(cramjam.snappy.decompress_raw(body)))
    at = plain.index(b"\x12\x10\x09") + 3
    plain[at + 6] ^= 1
    return bytes(cramjam.snappy.compress_raw(bytes(plain)))


def spoil_point(body):
    """Another value in the first data point: a time (field 3) is followed by the value (field 4), 64 bits each."""
    at = re.search(rb"\x19.{8}\x21", body, re.DOTALL).end()
    return body[: at + 5] + bytes([body[at + 5] ^ 1]) + body[at + 6 :]


FOUND = {"drop": "lost", "corrupt": "wrong", "delay": "late", "double": "duplicated"}


@pytest.mark.parametrize("fault", [None, "drop", "corrupt", "delay"])
def test_a_proxy_that_spoils_one_request_in_a_hundred_is_caught(tmp_path, start, proxy, fault):
    gateway = start(Tidegate(tmp_path))
    between = proxy(gateway.http, fault, spoil_line)
    code, report = run("otlp", "--signal", "logs", "--transport", "http", "--endpoint", between.url, "--rate", 1000,
                       "--batch", 20, "--streams", 2, "--verify", "--loki", gateway.loki_url(), *SHORT)
    found = faults(report)
    assert report["acked"] == report["sent"] == report["verify"]["checked"] > 0, report
    assert {name for name, count in found.items() if count} == ({FOUND[fault]} if fault else set()), report
    assert code == (1 if fault in ("drop", "corrupt") else 0)


@pytest.mark.parametrize("fault", [None, "drop", "corrupt", "delay", "double"])
@pytest.mark.parametrize("signal", ["logs", "metrics"])
def test_a_pipeline_without_a_store_is_verified_by_what_comes_out(proxy, signal, fault):
    sink = free_port()

    between = proxy(sink, fault, spoil_line if signal == "logs" else spoil_point)
    code, report = run("otlp", "--signal", signal, "--transport", "http", "--endpoint", between.url, "--rate", 1000,
                       "--batch", 20, "--streams", 2, "--series", 200, "--verify-sink", f"127.0.0.1:{sink}",
                       "--late-after", "2s", *SHORT)
    found = faults(report)
    assert report["acked"] == report["sent"] == report["verify"]["checked"] > 0, report
    assert {name for name, count in found.items() if count} == ({FOUND[fault]} if fault else set()), report
    assert code == (1 if fault in ("drop", "corrupt", "double") else 0)


def test_it_drives_a_real_prometheus(tmp_path, start, proxy):
    prometheus = start(Prometheus(tmp_path))
    for version in (1, 2):
        code, report = run("remote-write", "--protocol", version, "--endpoint", prometheus.url("/api/v1/write"), "--rate",
                           4000, "--series", 500, "--histogram-every", 10, "--reset-every", 5, "--churn-every", 7,
                           "--verify", "--prometheus", prometheus.url(""), *SHORT)
        assert code == 0 and report["verify"]["checked"] == report["acked"] > 0, report
    for fault in ("drop", "corrupt"):
        between = proxy(prometheus.port, fault, spoil_value)
        code, report = run("remote-write", "--endpoint", between.url + "/api/v1/write", "--rate", 1000, "--batch", 20,
                           "--series", 200, "--verify", "--prometheus", prometheus.url(""), *SHORT, "--grace", "1s")
        assert code == 1 and report["verify"][FOUND[fault]] > 0, report
    code, report = run("promql", "--endpoint", prometheus.url(""), "--rate", 20, *SHORT)
    assert code == 0 and report["acked"] == report["sent"] > 0, report


def test_it_drives_a_real_victoria_metrics(tmp_path, start):
    port = free_port()
    server = start(Process("victoria-metrics", [
        peer("victoria-metrics"), f"-storageDataPath={tmp_path / 'data'}", f"-httpListenAddr=127.0.0.1:{port}",
        "-loggerLevel=ERROR"], tmp_path))
    server.wait_ready(f"http://127.0.0.1:{port}/health")
    url = f"http://127.0.0.1:{port}"
    code, report = run("remote-write", "--endpoint", f"{url}/api/v1/write", "--rate", 4000, "--series", 500, "--verify",
                       "--prometheus", url, *SHORT)
    assert code == 0 and report["verify"]["checked"] == report["acked"] > 0, report
    code, report = run("promql", "--endpoint", url, "--rate", 20, *SHORT)
    assert code == 0 and report["acked"] == report["sent"] > 0, report


def test_it_drives_a_real_loki(tmp_path, start):
    from compare_logs import Loki

    loki = start(Loki(tmp_path))
    for form in ("protobuf", "json"):
        code, report = run("loki-push", "--form", form, "--endpoint", loki.loki_url("/loki/api/v1/push"), "--rate", 2000,
                           "--streams", 4, "--needle", "zebrafish", "--needle-every", 50, "--verify", "--loki",
                           loki.loki_url(), *SHORT)
        assert code == 0 and report["verify"]["checked"] > report["acked"] > 0, report
    code, report = run("logql", "--endpoint", loki.loki_url(), "--rate", 10, *SHORT)
    assert code == 0 and report["acked"] == report["sent"] > 0, report


@pytest.mark.parametrize("signal", ["logs", "metrics"])
def test_it_drives_a_real_collector(tmp_path, start, signal):
    from test_otelcol import Collector

    sink = free_port()
    collector = start(Collector(tmp_path, f"  otlphttp: {{endpoint: \"http://127.0.0.1:{sink}\"}}", ["otlphttp"]))
    code, report = run("otlp", "--signal", signal, "--endpoint", f"http://127.0.0.1:{collector.grpc}", "--rate", 4000,
                       "--histogram-every", 10, "--series", 400, "--verify-sink", f"127.0.0.1:{sink}", *SHORT)
    assert code == 0 and report["verify"]["checked"] == report["acked"] > 0, report


def test_it_drives_us_over_every_protocol(tmp_path, start):
    gateway = start(Tidegate(tmp_path))
    stores = ["--prometheus", gateway.prometheus_url(), "--loki", gateway.loki_url(), "--verify"]
    for transport, port in (("grpc", gateway.grpc), ("http", gateway.http), ("http-json", gateway.http)):
        for signal in ("metrics", "logs"):
            for compression in ("none", "gzip", "zstd"):
                code, report = run("otlp", "--signal", signal, "--transport", transport, "--compression", compression,
                                   "--endpoint", f"http://127.0.0.1:{port}", "--rate", 2000, "--series", 200,
                                   "--histogram-every", 10, *stores, "--duration", "500ms", "--output", "json", "-q")
                assert code == 0 and report["verify"]["checked"] > 0, (transport, signal, compression, report)
    code, report = run("loki-push", "--endpoint", gateway.loki_url("/loki/api/v1/push"), "--rate", 2000, "--loki",
                       gateway.loki_url(), "--verify", *SHORT)
    assert code == 0 and report["verify"]["checked"] == report["acked"] > 0, report


@pytest.mark.parametrize("stall", [None, 20])
def test_rates_and_percentiles_agree_with_the_proxy(proxy, stall):
    between = Proxy(0, stall=stall)
    between.handle = lambda number, path, body, headers: (time.sleep(0.4), (200, b""))[1]
    try:
        _, report = run("otlp", "--transport", "http", "--endpoint", between.url, "--rate", 80, "--batch", 10, "--duration",
                        "10s", "--connections", 4, "--output", "json", "-q")
    finally:
        between.close()
    connections = sorted(between.times.values())
    assert report["requests"] == sum(map(len, connections)) == 80
    if stall is None:
        came = sorted(came for times in connections for came, _ in times)
        assert abs(79 / (came[-1] - came[0]) / 8 - 1) < 0.02, came
    # Each connection takes its turn every 0.5 s. The run began when the request that was least late was due.
    due = lambda number, turn: (turn * 4 + number) / 8
    numbered = [(due(number, turn), *seen) for number, times in enumerate(connections) for turn, seen in enumerate(times)]
    began = min(came - due for due, came, _ in numbered)
    latencies = [(came + took - began - due) * 1000 for due, came, took in numbered]
    latencies.sort()
    for name, share in (("p50", 0.5), ("p75", 0.75), ("p90", 0.9)):
        expected, got = latencies[math.ceil(80 * share) - 1], report["latency_ms"][name]
        assert abs(got - expected) <= expected * 0.02 + SLACK_MS, (name, got, expected)
    if stall:
        assert report["latency_ms"]["p90"] > 600 > report["service_ms"]["p90"], report
