"""A running gateway gets another config by SIGHUP, many times under load: no request fails, a bad config changes nothing."""

import itertools
import signal
import threading
import time

import grpc
import requests
from conftest import Process, TARGET, free_port, wait_until

RELOADS = 50
LINE = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "x"}}]}]}]}
# An ExportLogsServiceRequest with one empty record.
EMPTY_RECORD = bytes([0x0A, 4, 0x12, 2, 0x12, 0])


class Reloading(Process):
    """A gateway whose config file a test rewrites."""

    def __init__(self, folder):
        self.grpc_port, self.http_port, self.api_port, self.extra_port = (free_port() for _ in range(4))
        self.config = folder / "config.yaml"
        super().__init__("tidegate", [TARGET / "tidegate", "--config", self.config], folder)
        self.write(0)

    def write(self, round, broken=False):
        # Every round changes a processor; every third one an exporter; every fifth one opens or closes a listener.
        extra = f'otlp/extra: {{protocols: {{http: {{endpoint: "127.0.0.1:{self.extra_port}"}}}}}}' if round % 5 == 0 else ""
        receivers = "[otlp, otlp/extra]" if extra else "[otlp]"
        self.config.write_text(
            f"""receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{self.grpc_port}"}}, http: {{endpoint: "127.0.0.1:{self.http_port}"}}}}}}
  {extra}
processors:
  batch: {{timeout: 1ms, send_batch_size: {100 + round}}}
exporters:
  debug: {{sampling_initial: {2 + round % 3}}}
  nop:
service:
  pipelines:
    logs: {{receivers: {receivers}, processors: [{"nothing" if broken else "batch"}], exporters: [debug, nop]}}
server:
  prometheus: {{endpoint: "127.0.0.1:{self.api_port}"}}
  loki: {{endpoint: ""}}
storage: {{directory: {self.folder / "data"}}}
"""
        )

    def runtime(self):
        return requests.get(f"http://127.0.0.1:{self.api_port}/api/v1/status/runtimeinfo", timeout=10).json()["data"]

    def hangup(self):
        self.child.send_signal(signal.SIGHUP)

    def running_config(self):
        answer = requests.get(f"http://127.0.0.1:{self.api_port}/api/v1/status/config", timeout=10)
        return answer.json()["data"]["yaml"]


def test_reloads_under_load_fail_no_request(tmp_path, start):
    gateway = Reloading(tmp_path)
    start(gateway)
    gateway.wait_ready(f"http://127.0.0.1:{gateway.api_port}/-/ready")
    done, failures, counts = threading.Event(), [], itertools.count()

    def over_http():
        session = requests.Session()
        while not done.is_set():
            try:
                answer = session.post(f"http://127.0.0.1:{gateway.http_port}/v1/logs", json=LINE, timeout=30)
                if answer.status_code != 200:
                    failures.append(answer.text)
            except requests.RequestException as error:
                failures.append(error)
            next(counts)

    def over_grpc():
        with grpc.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
            export = channel.unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")
            while not done.is_set():
                try:
                    export(EMPTY_RECORD, timeout=30)
                except grpc.RpcError as error:
                    failures.append(error)
                next(counts)

    senders = [threading.Thread(target=run) for run in [over_http, over_http, over_grpc, over_grpc]]
    for sender in senders:
        sender.start()
    try:
        for round in range(1, RELOADS + 1):
            gateway.write(round)
            gateway.hangup()
            marker = f"send_batch_size: {100 + round}"
            wait_until(lambda: marker in gateway.running_config(), f"reload {round}")
            time.sleep(0.02)
    finally:
        done.set()
        for sender in senders:
            sender.join()
    sent = next(counts)
    print(f"{RELOADS} reloads, {sent} requests, {len(failures)} failed")
    assert sent > RELOADS
    assert not failures, failures[:3]

    gateway.write(RELOADS + 1, broken=True)
    gateway.hangup()
    wait_until(lambda: gateway.runtime()["reloadConfigSuccess"] is False, "the bad config is refused")
    assert f"send_batch_size: {100 + RELOADS}" in gateway.running_config()
    answer = requests.post(f"http://127.0.0.1:{gateway.http_port}/v1/logs", json=LINE, timeout=30)
    assert answer.status_code == 200
    assert "references processor" in gateway.tail()
    began = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - began < 5


def test_limits_of_a_limiter_that_a_reload_removes_end_and_those_of_a_refused_reload_do_not_come(tmp_path, start):
    gateway = Reloading(tmp_path)
    plain = gateway.config.read_text()
    limited = plain.replace("processors:\n", "processors:\n  memory_limiter: {check_interval: 20ms, limit_mib: 1}\n")
    status = lambda: requests.post(f"http://127.0.0.1:{gateway.http_port}/v1/logs", json=LINE, timeout=30).status_code
    # A section that no pipeline names limits nothing.
    gateway.config.write_text(limited)
    start(gateway).wait_ready(f"http://127.0.0.1:{gateway.api_port}/-/ready")
    assert status() == 200
    # No process fits into 0.8 MiB.
    gateway.config.write_text(limited.replace("processors: [batch]", "processors: [memory_limiter, batch]"))
    gateway.hangup()
    wait_until(lambda: status() == 503, "the limit")
    # Fails when its exporter starts, after its limiter could have asked for more.
    failing = limited.replace("[batch]", "[memory_limiter, batch]").replace("limit_mib: 1}", "limit_mib: 4096}")
    failing = failing.replace("  nop:\n", '  nop:\n  file: {path: "/nowhere/at/all"}\n').replace("[debug, nop]", "[debug, nop, file]")
    gateway.config.write_text(failing)
    gateway.hangup()
    wait_until(lambda: gateway.runtime()["reloadConfigSuccess"] is False, "the refusal")
    wait_until(lambda: status() == 503, "the limit of the config that still runs")
    gateway.config.write_text(plain)
    gateway.hangup()
    wait_until(lambda: status() == 200, "the end of the limit")
