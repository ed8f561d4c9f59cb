"""A real OpenTelemetry Collector in front of the gateway, and behind it."""

import json

import pytest
import requests
from conftest import Process, Tidegate, free_port, loadtest, peer, wait_until


class Collector(Process):
    """otelcol with the given exporters, its OTLP receiver on free ports."""

    def __init__(self, folder, exporters, names):
        self.grpc, self.health = free_port(), free_port()
        config = folder / "otelcol.yaml"
        pipeline = f"{{receivers: [otlp], exporters: [{', '.join(names)}]}}"
        config.write_text(
            f"""receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{self.grpc}", max_recv_msg_size_mib: 32}}}}}}
exporters:
{exporters}
extensions:
  health_check: {{endpoint: "127.0.0.1:{self.health}"}}
service:
  extensions: [health_check]
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    metrics: {pipeline}
    logs: {pipeline}
    traces: {pipeline}
"""
        )
        super().__init__("otelcol", [peer("otelcol"), "--config", config], folder)

    def start(self):
        super().start()
        return self.wait_ready(f"http://127.0.0.1:{self.health}/")


@pytest.mark.parametrize("exporter", ["otlp", "otlphttp"])
def test_a_collector_sends_to_us(tmp_path, start, exporter):
    gateway = start(Tidegate(tmp_path))
    exporters = {
        "otlp": f"  otlp: {{endpoint: \"127.0.0.1:{gateway.grpc}\", compression: gzip, tls: {{insecure: true}}}}",
        "otlphttp": f"  otlphttp: {{endpoint: \"http://127.0.0.1:{gateway.http}\", compression: zstd}}",
    }
    collector = start(Collector(tmp_path, exporters[exporter], [exporter]))
    endpoint = ["--endpoint", f"http://127.0.0.1:{collector.grpc}", "--batch", 200, "--duration", "2s"]
    stores = ["--prometheus", gateway.prometheus_url(), "--loki", gateway.loki_url()]
    metrics = loadtest(*endpoint, "--series", 1000, "--rate", 5000, "--histogram-every", 10, "--connections", 1)
    logs = loadtest("--signal", "logs", *endpoint, *stores, "--rate", 5000, "--connections", 1, "--streams", 2)
    assert metrics["acked"] > 0 and logs["acked"] > 0
    # The collector acknowledges before it forwards, so wait until all has come through.
    wait_until(lambda: len(gateway.lines('{service_name="loadtest"}', limit=1)) == 1, "the first line")
    count = 'sum(count_over_time({service_name="loadtest"}[1h]))'

    def lines():
        answer = requests.get(gateway.loki_url("/loki/api/v1/query"), params={"query": count}, timeout=10).json()
        return float(answer["data"]["result"][0]["value"][1])

    wait_until(lambda: lines() == logs["acked"], "every log line")
    assert len(gateway.instant('count by (series_id) ({__name__=~"loadtest_.+"})')) == 1000


def test_a_collector_receives_from_us(tmp_path, start):
    out = tmp_path / "out.json"
    collector = start(Collector(tmp_path, f"  file: {{path: {out}}}", ["file"]))
    exporters = f"""  otlp: {{endpoint: "127.0.0.1:{collector.grpc}", tls: {{insecure: true}}}}
"""
    gateway = start(
        Tidegate(
            tmp_path, exporters, metrics=["metrics_store", "otlp"], logs=["log_store", "otlp"], traces=["otlp"]
        )
    )
    sent = {}
    for signal in ("metrics", "logs", "traces"):
        sent[signal] = loadtest("--signal", signal, "--endpoint", f"http://127.0.0.1:{gateway.grpc}", "--batch", 100,
                                "--series", 200, "--rate", 2000, "--duration", "2s", "--connections", 2)["acked"]
    assert gateway.stop() == 0, "the queue drains at shutdown"
    collector.stop()

    got = {"metrics": 0, "logs": 0, "traces": 0}
    for row in out.read_text().splitlines():
        data = json.loads(row)
        for resource in data.get("resourceMetrics", []):
            assert {a["key"] for a in resource["resource"]["attributes"]} >= {"service.name", "host.name"}
            for scope in resource["scopeMetrics"]:
                for metric in scope["metrics"]:
                    body = metric.get("sum") or metric.get("gauge") or metric.get("histogram")
                    got["metrics"] += len(body["dataPoints"])
        for resource in data.get("resourceLogs", []):
            got["logs"] += sum(len(scope["logRecords"]) for scope in resource["scopeLogs"])
        for resource in data.get("resourceSpans", []):
            got["traces"] += sum(len(scope["spans"]) for scope in resource["scopeSpans"])
    assert got == sent
