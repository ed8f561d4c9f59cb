"""The load tester against real targets, and with a proxy before each that spoils one request in a hundred: whatever can be
seen of that is found."""

import concurrent.futures
import json
import os
import pty
import re
import subprocess
import time

import pytest
from conftest import TARGET, Process, Tidegate, free_port, peer
from metric_protocols import Prometheus
from spoiling_proxy import Proxy, spoil_line, spoil_point, spoil_snappy_line, spoil_span, spoil_value
from test_edge import issue, openssl

SHORT = ["--duration", "2s", "--connections", 2, "--output", "json", "-q"]
FAULTS = (None, "drop", "corrupt", "delay", "double")
# What each fault is called when it is found.
FOUND = {None: set(), "drop": {"lost"}, "corrupt": {"wrong"}, "delay": {"late"}, "double": {"duplicated"}}
# A store that keeps equal items once holds what it should after a double.
FOUND_IN_STORE = FOUND | {"double": set()}


def run(*arguments):
    """Exit code and JSON report."""
    command = [str(TARGET / "tidegate-loadtest"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout, f"{' '.join(command)} exited {done.returncode}: {done.stderr}"
    return done.returncode, json.loads(done.stdout)


def check_faults(port, spoil, arguments, expected, delay_seconds=3):
    """One load for each fault, all at once, each through a proxy of its own to `port`; `arguments` of a run by the address
    it is to send to."""

    def one(fault):
        proxy = Proxy(port, fault, spoil, delay_seconds=delay_seconds)
        try:
            # What is missing is looked for until the delayed has come, with time to spare.
            grace = delay_seconds + 3 if fault == "delay" else 1
            return fault, run(*arguments(proxy.url), "--batch", 20, "--rate", 1000, "--grace", f"{grace}s", *SHORT)
        finally:
            proxy.close()

    with concurrent.futures.ThreadPoolExecutor(len(FAULTS)) as pool:
        results = list(pool.map(one, FAULTS))
    for fault, (code, report) in results:
        check_found(fault, code, report, expected)


def check_found(fault, code, report, expected):
    found = {name for name in ("lost", "duplicated", "wrong", "late") if report["verify"][name]}
    said = (fault, code, report["acked"], report["sent"], report["verify"], report.get("example_failure"))
    assert report["acked"] == report["sent"] == report["verify"]["checked"] > 0, said
    assert found == expected[fault], said
    # Late is no fault by itself, unless a threshold says so.
    assert code == (1 if found - {"late"} else 0), said


def test_each_fault_before_us_is_found(tmp_path, start):
    gateway = start(Tidegate(tmp_path))
    stores = ["--verify", "--loki", gateway.loki_url(), "--prometheus", gateway.prometheus_url()]
    check_faults(gateway.http, spoil_line, lambda url: ["otlp", "--signal", "logs", "--transport", "http", "--endpoint", url,
                                                        "--streams", 2, *stores], FOUND_IN_STORE)
    check_faults(gateway.http, spoil_point, lambda url: ["otlp", "--transport", "http", "--endpoint", url, "--series", 200,
                                                         *stores], FOUND_IN_STORE)


def test_each_fault_before_a_real_prometheus_is_found(tmp_path, start):
    prometheus = start(Prometheus(tmp_path))
    check_faults(prometheus.port, spoil_value, lambda url: ["remote-write", "--endpoint", url, "--series", 200, "--verify",
                                                            "--prometheus", prometheus.url("")], FOUND_IN_STORE)


class VictoriaMetrics(Process):
    def __init__(self, folder):
        self.port = free_port()
        super().__init__("victoria-metrics", [peer("victoria-metrics"), f"-storageDataPath={folder / 'data'}",
                                              f"-httpListenAddr=127.0.0.1:{self.port}", "-loggerLevel=ERROR"], folder)

    def start(self):
        super().start()
        return self.wait_ready(f"http://127.0.0.1:{self.port}/health")


def test_it_drives_a_real_victoria_metrics_and_finds_each_fault_before_it(tmp_path, start):
    server = start(VictoriaMetrics(tmp_path))
    url = f"http://127.0.0.1:{server.port}"
    code, report = run("remote-write", "--endpoint", f"{url}/api/v1/write", "--rate", 4000, "--series", 500, "--verify",
                       "--prometheus", url, *SHORT)
    assert code == 0 and report["verify"]["checked"] == report["acked"] > 0, report
    code, report = run("promql", "--endpoint", url, "--rate", 20, *SHORT)
    assert code == 0 and report["acked"] == report["sent"] > 0, report
    check_faults(server.port, spoil_value, lambda to: ["remote-write", "--endpoint", to, "--series", 200, "--verify",
                                                       "--prometheus", url,
                                                       # It shows what it took a second or two later.
                                                       "--settle", "4s"], FOUND, delay_seconds=8)


def test_it_drives_a_real_loki_and_finds_each_fault_before_it(tmp_path, start):
    from compare_logs import Loki

    loki = start(Loki(tmp_path))
    for form in ("protobuf", "json"):
        code, report = run("loki-push", "--form", form, "--endpoint", loki.loki_url("/loki/api/v1/push"), "--rate", 2000,
                           "--streams", 4, "--needle", "zebrafish", "--needle-every", 50, "--verify", "--loki",
                           loki.loki_url(), *SHORT)
        assert code == 0 and report["verify"]["checked"] > report["acked"] > 0, report
    code, report = run("logql", "--endpoint", loki.loki_url(), "--rate", 10, *SHORT)
    assert code == 0 and report["acked"] == report["sent"] > 0, report
    check_faults(loki.http, spoil_snappy_line, lambda url: ["loki-push", "--endpoint", url, "--streams", 2, "--verify",
                                                            "--loki", loki.loki_url()], FOUND_IN_STORE)


SPOIL = {"logs": spoil_line, "metrics": spoil_point, "traces": spoil_span}


class Collector(Process):
    """otelcol that forwards over OTLP/HTTP to a port; with TLS if `tls` has its certificate and key."""

    def __init__(self, folder, to, tls="", name="otelcol"):
        self.grpc, self.http, self.health = free_port(), free_port(), free_port()
        config = folder / f"{name}.yaml"
        pipeline = "{receivers: [otlp], exporters: [otlphttp]}"
        config.write_text(
            f"""receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{self.grpc}", {tls}}}, http: {{endpoint: "127.0.0.1:{self.http}", {tls}}}}}}}
exporters: {{otlphttp: {{endpoint: "http://127.0.0.1:{to}", compression: none}}}}
extensions: {{health_check: {{endpoint: "127.0.0.1:{self.health}"}}}}
service:
  extensions: [health_check]
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{metrics: {pipeline}, logs: {pipeline}, traces: {pipeline}}}
"""
        )
        super().__init__(name, [peer("otelcol"), "--config", config], folder)

    def start(self):
        super().start()
        return self.wait_ready(f"http://127.0.0.1:{self.health}/")


@pytest.mark.parametrize("signal", ["logs", "metrics", "traces"])
def test_it_drives_a_real_collector_and_finds_each_fault_behind_it(tmp_path, start, signal):
    """The proxy is between the Collector and the sink; a store's query API is not needed."""

    def one(fault):
        sink = free_port()
        proxy = Proxy(sink, fault, SPOIL[signal])
        collector = start(Collector(tmp_path, proxy.server.server_address[1], name=f"otelcol-{fault}"))
        try:
            return fault, run("otlp", "--signal", signal, "--endpoint", f"http://127.0.0.1:{collector.grpc}", "--rate", 1000,
                              "--batch", 20, "--streams", 2, "--series", 200, "--verify-sink", f"127.0.0.1:{sink}",
                              "--late-after", "2s", "--grace", "6s" if fault == "delay" else "3s", *SHORT)
        finally:
            proxy.close()

    with concurrent.futures.ThreadPoolExecutor(len(FAULTS)) as pool:
        results = list(pool.map(one, FAULTS))
    for fault, (code, report) in results:
        check_found(fault, code, report, FOUND)


def test_what_a_collector_sends_again_after_its_back_off_is_found_to_be_doubled(tmp_path, start):
    """Its answer is lost, so that it tries again some five seconds later."""
    sink = free_port()
    proxy = Proxy(sink, "unanswered")
    collector = start(Collector(tmp_path, proxy.server.server_address[1]))
    try:
        code, report = run("otlp", "--signal", "logs", "--endpoint", f"http://127.0.0.1:{collector.grpc}", "--rate", 1000, "--batch",
                           20, "--streams", 2, "--verify-sink", f"127.0.0.1:{sink}", "--grace", "12s", *SHORT)
    finally:
        proxy.close()
    verdict = report["verify"]
    assert code == 1 and verdict["duplicated"] == 20 and verdict["lost"] == verdict["wrong"] == 0, report


def test_it_drives_a_real_prometheus(tmp_path, start):
    prometheus = start(Prometheus(tmp_path))
    for version in (1, 2):
        code, report = run("remote-write", "--protocol", version, "--endpoint", prometheus.url("/api/v1/write"), "--rate",
                           4000, "--series", 500, "--histogram-every", 10, "--reset-every", 5, "--churn-every", 7,
                           "--verify", "--prometheus", prometheus.url(""), *SHORT)
        assert code == 0 and report["verify"]["checked"] == report["acked"] > 0, report
    code, report = run("promql", "--endpoint", prometheus.url(""), "--rate", 20, *SHORT)
    assert code == 0 and report["acked"] == report["sent"] > 0, report


def test_https_to_a_real_collector_is_believed_by_its_authority(tmp_path, start):
    openssl(tmp_path, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ours.key", "-out", "ours.pem", "-days", "2",
            "-subj", "/CN=ours")
    issue(tmp_path, "ours", "server")
    sink = free_port()
    tls = f"tls: {{cert_file: {tmp_path / 'server.pem'}, key_file: {tmp_path / 'server.key'}}}"
    collector = start(Collector(tmp_path, sink, tls))
    believed = ["--ca", tmp_path / "ours.pem"]
    for transport, port, trust, expected in (("grpc", collector.grpc, believed, 0), ("http", collector.http, believed, 0),
                                             ("grpc", collector.grpc, ["--insecure-skip-verify"], 0),
                                             ("grpc", collector.grpc, [], 1)):
        code, report = run("otlp", "--transport", transport, "--endpoint", f"https://127.0.0.1:{port}", *trust, "--rate", 500,
                           "--verify-sink", f"127.0.0.1:{sink}", "--header", "x-team: blue", "--grace", "2s", "--duration",
                           "1s", "--output", "json", "-q")
        assert code == expected, (transport, trust, report)
        assert report["verify"]["checked"] == report["acked"] and (report["acked"] > 0) == (expected == 0), report
    assert "certificate" in report["example_failure"], report


def test_it_drives_us_over_every_protocol(tmp_path, start):
    gateway = start(Tidegate(tmp_path))
    stores = ["--prometheus", gateway.prometheus_url(), "--loki", gateway.loki_url(), "--verify"]
    short = ["--duration", "500ms", "--output", "json", "-q"]
    for transport, port in (("grpc", gateway.grpc), ("http", gateway.http), ("http-json", gateway.http)):
        codecs = ("none", "gzip", "zstd") + (("zlib", "snappy", "lz4") if transport == "http" else ())
        endpoint = ["--transport", transport, "--endpoint", f"http://127.0.0.1:{port}", "--rate", 2000]
        for compression in codecs:
            for signal in ("metrics", "logs"):
                code, report = run("otlp", "--signal", signal, *endpoint, "--compression", compression, "--series", 200,
                                   "--histogram-every", 10, *stores, *short)
                assert code == 0 and report["verify"]["checked"] > 0, (transport, signal, compression, report)
        code, report = run("otlp", "--signal", "traces", *endpoint, "--compression", "gzip", *short)
        assert code == 0 and report["acked"] == report["sent"] > 0, (transport, report)
    code, report = run("loki-push", "--endpoint", gateway.loki_url("/loki/api/v1/push"), "--rate", 2000, "--loki",
                       gateway.loki_url(), "--verify", *SHORT)
    assert code == 0 and report["verify"]["checked"] == report["acked"] > 0, report


def test_a_terminal_shows_how_it_goes_and_a_pipe_gets_plain_lines(tmp_path, start):
    gateway = start(Tidegate(tmp_path))
    command = [TARGET / "tidegate-loadtest", "otlp", "--endpoint", f"http://127.0.0.1:{gateway.grpc}", "--rate", "1000",
               "--pid", gateway.child.pid]
    terminal, theirs = pty.openpty()
    child = subprocess.Popen([str(part) for part in [*command, "--duration", "3s"]], stdout=subprocess.PIPE, stderr=theirs,
                             text=True)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    text, code = child.stdout.read(), child.wait(30)
    assert code == 0 and re.search(r"acked +3000", text) and "\x1b" not in text, text
    assert b"\x1b[" in shown and re.search(rb"acked \d+/s of 1000  p50 [\d.]+ p99 [\d.]+ max [\d.]+ ms", shown), shown
    assert re.search(rb"target [\d.]+ cores \d+ MiB", shown), shown
    began = time.monotonic()
    done = subprocess.run([str(part) for part in [*command, "--duration", "6s"]], capture_output=True, text=True, timeout=60)
    lines = done.stderr.splitlines()
    assert done.returncode == 0 and 1 <= len(lines) <= 2 and all(line.startswith("otlp: ") for line in lines), done.stderr
    assert time.monotonic() - began > 5


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_one_core_drives_two_million_prebuilt_points_a_second(tmp_path, start, transport):
    """By CPU time, so that what else the machine does does not count: the core it is pinned to would not be full."""
    sink = start(Tidegate(tmp_path, metrics=["nop"]))
    port = sink.http if transport == "http" else sink.grpc
    core = sorted(os.sched_getaffinity(0))[0]
    command = ["taskset", "-c", core, TARGET / "tidegate-loadtest", "otlp", "--transport", transport, "--endpoint",
               f"http://127.0.0.1:{port}", "--prebuilt", "--rate", "max", "--batch", 5000, "--duration", "3s", "--output",
               "json", "-q"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60, check=True)
    report = json.loads(done.stdout)
    points_per_cpu_second = report["acked"] / report["generator"]["cpu_seconds"]
    print(f"{transport}: {report['acked_per_second'] / 1e6:.2f} M points/s with {report['generator']['cores']:.2f} of a core: "
          f"{points_per_cpu_second / 1e6:.1f} M points a CPU-second")
    assert points_per_cpu_second > 2e6, report
