"""Apps that use the OpenTelemetry SDK for Python: what they record comes back exactly."""

import json
import logging
import math

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

RESOURCE = {
    "service.name": "checkout",
    "service.namespace": "shop",
    "service.instance.id": "pod-1",
    "deployment.environment": "test",
    "host.name": "node-7",
}


def exporters(transport, gateway):
    """The SDK's own exporters for one transport."""
    if transport == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

        endpoint = f"http://127.0.0.1:{gateway.grpc}"
        return OTLPMetricExporter(endpoint=endpoint, insecure=True), OTLPLogExporter(endpoint=endpoint, insecure=True)
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    base = f"http://127.0.0.1:{gateway.http}/v1"
    return OTLPMetricExporter(endpoint=f"{base}/metrics"), OTLPLogExporter(endpoint=f"{base}/logs")


def values(gateway, query):
    """{label value of `attr`: sample} of an instant query."""
    return {series["metric"].get("attr", ""): float(series["value"][1]) for series in gateway.instant(query)}


@pytest.mark.parametrize("transport", ["grpc", "http/protobuf"])
def test_metrics_come_back_exactly(gateway, transport):
    metric_exporter, _ = exporters(transport, gateway)
    reader = PeriodicExportingMetricReader(metric_exporter, export_interval_millis=3_600_000)
    provider = MeterProvider(resource=Resource.create(RESOURCE), metric_readers=[reader])
    meter = provider.get_meter("interop", "1.2.3")

    counter = meter.create_counter("app.requests", unit="1", description="requests served")
    counter.add(3, {"attr": "a"})
    counter.add(4.25, {"attr": "b"})
    counter.add(2, {"attr": "a"})
    meter.create_up_down_counter("app.in_flight").add(7, {"attr": "x"})
    meter.create_up_down_counter("app.balance", unit="{coins}").add(-2.5, {"attr": "y"})
    meter.create_gauge("app.temperature", unit="Cel").set(-12.125, {"attr": "z"})
    meter.create_gauge("app.huge").set(9007199254740993, {"attr": "odd ünïcode \"quoted\" \\ value\n2"})
    histogram = meter.create_histogram("app.duration", unit="s", explicit_bucket_boundaries_advisory=[0.1, 1, 10])
    for seconds in (0.05, 0.5, 0.5, 5, 50):
        histogram.record(seconds, {"attr": "h"})
    provider.shutdown()

    assert values(gateway, "app_requests_total") == {"a": 5, "b": 4.25}
    assert values(gateway, "app_in_flight") == {"x": 7}
    assert values(gateway, "app_balance") == {"y": -2.5}
    assert values(gateway, "app_temperature_celsius") == {"z": -12.125}
    # Prometheus stores doubles: 2^53 + 1 rounds to 2^53.
    assert values(gateway, "app_huge") == {"odd ünïcode \"quoted\" \\ value\n2": 9007199254740992}
    assert values(gateway, "app_duration_seconds_count") == {"h": 5}
    assert math.isclose(values(gateway, "app_duration_seconds_sum")["h"], 56.05)
    buckets = gateway.instant('app_duration_seconds_bucket{attr="h"}')
    assert {b["metric"]["le"]: float(b["value"][1]) for b in buckets} == {"0.1": 1, "1": 3, "10": 4, "+Inf": 5}

    [series] = gateway.instant('app_requests_total{attr="a"}')
    assert series["metric"]["job"] == "shop/checkout" and series["metric"]["instance"] == "pod-1"
    [info] = gateway.instant("target_info")
    assert info["metric"]["host_name"] == "node-7" and info["metric"]["deployment_environment"] == "test"


@pytest.mark.parametrize("transport", ["grpc", "http/protobuf"])
def test_logs_come_back_exactly(gateway, transport):
    _, log_exporter = exporters(transport, gateway)
    provider = LoggerProvider(resource=Resource.create(RESOURCE))
    provider.add_log_record_processor(SimpleLogRecordProcessor(log_exporter))
    logger = provider.get_logger("interop", "1.2.3")
    nested = {"user": {"id": 17, "tags": ["a", 2, True]}, "ratio": 0.5, "empty": ""}
    logger.emit(body="plain line", severity_number=SeverityNumber.INFO, attributes={"k": "v", "n": 3, "f": 1.5, "b": True})
    logger.emit(body="zeile mit ümlaut, tab\t, quote \" and\nnew line", severity_number=SeverityNumber.ERROR)
    logger.emit(body=nested, severity_text="weird", attributes={"deep.map": {"x": {"y": "z"}}, "list": ["p", "q"]})
    handler = LoggingHandler(logger_provider=provider)
    handler.emit(logging.LogRecord("lib", logging.WARNING, "f.py", 12, "from %s", ("stdlib",), None))
    provider.shutdown()

    found = {line: labels for labels, _, line in gateway.lines('{service_name="checkout"}')}
    assert len(found) == 4, found
    plain = found["plain line"]
    assert plain["k"] == "v" and plain["n"] == "3" and plain["f"] == "1.5" and plain["b"] == "true"
    assert plain["service_namespace"] == "shop" and plain["service_instance_id"] == "pod-1"
    assert plain["deployment_environment"] == "test" and plain["host_name"] == "node-7"
    assert plain["severity_number"] == "9" and plain["detected_level"] == "info"
    assert plain["scope_name"] == "interop" and plain["scope_version"] == "1.2.3"
    assert found["zeile mit ümlaut, tab\t, quote \" and\nnew line"]["detected_level"] == "error"
    [body] = [line for line in found if line.startswith("{")]
    assert json.loads(body) == nested
    assert found[body]["deep_map_x_y"] == "z" and found[body]["list"] == '["p","q"]'
    assert found["from stdlib"]["detected_level"] == "warn"

    streams = {labels["service_name"] for labels, _, _ in gateway.lines('{service_namespace="shop"} |= "ümlaut"')}
    assert streams == {"checkout"}
