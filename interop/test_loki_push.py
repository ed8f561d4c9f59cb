"""Clients that push to Loki's paths: JSON with gzip, protobuf in snappy, a Collector's otlphttp exporter."""

import gzip
import json
import time

import requests
from conftest import Process, Tidegate, free_port, peer, wait_until


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def snappy(data):
    """A snappy block of literals only, which every reader must take."""
    out = bytearray(varint(len(data)))
    for start in range(0, len(data), 60):
        piece = data[start:start + 60]
        out.append((len(piece) - 1) << 2)
        out += piece
    return bytes(out)


def test_json_with_gzip_keeps_text_and_metadata(gateway):
    now = time.time_ns()
    text = 'é "quoted" <b> \\ tab\t日本'
    body = {"streams": [{"stream": {"app": "json", "env": "test"}, "values": [[str(now), text, {"trace_id": "ab"}]]}]}
    answer = requests.post(gateway.loki_url("/loki/api/v1/push"), data=gzip.compress(json.dumps(body).encode()),
                           headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}, timeout=30)
    assert (answer.status_code, answer.text) == (204, "")
    [(labels, at, line)] = gateway.lines('{app="json"}')
    assert (at, line) == (now, text)
    assert labels["env"] == "test" and labels["trace_id"] == "ab" and labels["service_name"] == "json"


def test_protobuf_in_snappy(gateway):
    now = time.time_ns()
    stamp = varint(1 << 3) + varint(now // 10**9) + varint(2 << 3) + varint(now % 10**9)
    entry = field(1, stamp) + field(2, b"a line") + field(3, field(1, b"k") + field(2, b"v"))
    body = field(1, field(1, b'{app="proto"}') + field(2, entry))
    answer = requests.post(gateway.loki_url("/loki/api/v1/push"), data=snappy(body),
                           headers={"Content-Type": "application/x-protobuf"}, timeout=30)
    assert answer.status_code == 204, answer.text
    [(labels, at, line)] = gateway.lines('{app="proto"}')
    assert (at, line, labels["k"]) == (now, "a line", "v")


def test_a_collector_sends_by_otlphttp_to_lokis_path(gateway, start, tmp_path):
    http = free_port()
    config = tmp_path / "otelcol.yaml"
    config.write_text(
        f"""receivers:
  otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{http}"}}}}}}
exporters:
  otlphttp: {{logs_endpoint: "{gateway.loki_url('/otlp/v1/logs')}"}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{logs: {{receivers: [otlp], exporters: [otlphttp]}}}}
"""
    )
    start(Process("otelcol", [peer("otelcol"), "--config", config], tmp_path))
    record = {"timeUnixNano": str(time.time_ns()), "severityText": "WARN", "body": {"stringValue": "over otlp"},
              "attributes": [{"key": "user.id", "value": {"intValue": "7"}}]}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    body = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]}

    def sent():
        return requests.post(f"http://127.0.0.1:{http}/v1/logs", json=body, timeout=5).status_code == 200

    wait_until(sent, "the collector")
    wait_until(lambda: len(gateway.lines('{service_name="shop"}')) == 1, "the line")
    [(labels, _, line)] = gateway.lines('{service_name="shop"}')
    assert line == "over otlp" and labels["user_id"] == "7" and labels["detected_level"] == "warn"


LIMITS = """  logs:
    tenants_max: 3
    limits: {max_line_size: 20, max_global_streams_per_user: 2}
    overrides: {slow: {limits: {ingestion_rate_mb: 0.00001, ingestion_burst_size_mb: 0.001}}}
"""


def test_limits_have_the_statuses_and_texts_of_loki(start, tmp_path):
    gateway = start(Tidegate(tmp_path, storage=LIMITS))

    def push(app, lines, tenant=None):
        now = time.time_ns()
        body = {"streams": [{"stream": {"app": app}, "values": [[str(now + n), line] for n, line in enumerate(lines)]}]}
        headers = {"X-Scope-OrgID": tenant} if tenant else {}
        answer = requests.post(gateway.loki_url("/loki/api/v1/push"), json=body, headers=headers, timeout=30)
        return answer.status_code, answer.text.strip(), answer.headers.get("retry-after")

    assert push("one", ["fine"]) == (204, "", None)
    status, text, _ = push("one", ["also fine", "x" * 21])
    assert (status, text) == (400, "max entry size '20' bytes exceeded for stream '{app=\"one\", service_name=\"one\"}' "
                              "while adding an entry with length '21' bytes")
    assert sorted(line for _, _, line in gateway.lines('{app="one"}')) == ["also fine", "fine"]
    assert push("two", ["fine"])[0] == 204
    status, text, _ = push("three", ["one stream too many"])
    assert status == 429 and text.startswith(
        'maximum active stream limit exceeded when trying to create stream {app="three", service_name="three"}, reduce the')
    assert push("one", ["0123456789"] * 90, tenant="slow")[0] == 204
    status, text, retry = push("one", ["0123456789"] * 90, tenant="slow")
    assert status == 429 and int(retry) >= 1
    assert text.startswith("ingestion rate limit exceeded for user slow (limit: 10 bytes/sec) while attempting to ingest '90' lines")
    assert push("one", ["fine"], tenant="third")[0] == 204
    status, text, _ = push("one", ["fine"], tenant="fourth")
    assert status == 429 and "there are 3 tenants, the limit (tenants_max); tenant fourth is not taken" in text
