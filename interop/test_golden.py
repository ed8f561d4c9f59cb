"""Telemetry of every form through us and through a real Collector: what comes out is equal.

Requests of all signals with every type of attribute, every kind of metric and odd values (nothing, empty, the ends of the
numbers, no time, no id) go in over gRPC, over HTTP and as JSON, and out over the same three, straight and behind `batch`.
Each item is compared with all that surrounds it, as a row; the order of rows and of attributes means nothing.
"""

import base64
import collections
import concurrent.futures
import http.server
import itertools
import json
import math
import random
import threading

import grpc
import requests
import zlib
from conftest import TARGET, Process, free_port, peer, wait_until
from google.protobuf.json_format import MessageToDict, ParseDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

MESSAGES = {"logs": ExportLogsServiceRequest, "metrics": ExportMetricsServiceRequest, "traces": ExportTraceServiceRequest}
SERVICES = {signal: f"/opentelemetry.proto.collector.{name}.v1.{name.capitalize()}Service/Export"
            for signal, name in (("logs", "logs"), ("metrics", "metrics"), ("traces", "trace"))}
ROWS = {"logs": ("resourceLogs", "scopeLogs", "logRecords"), "metrics": ("resourceMetrics", "scopeMetrics", "metrics"),
        "traces": ("resourceSpans", "scopeSpans", "spans")}
REQUESTS = 12
INT64, UINT64, UINT32 = (-2**63, -1, 0, 1, 2**53 + 1, 2**63 - 1), (0, 1, 2**64 - 1), (0, 1, 2**32 - 1)
# Without -0.0, whose sign the Collector loses.
DOUBLES = (0.0, 1.5, -1e-300, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan, 0.1, 123456789.125)
TEXTS = ("", "text", "größe ✓ 🦀", "two\nlines\t\"quoted\"", "nul\0inside", "x" * 130)
TIMES = (0, 1, 1_700_000_000_123_456_789, 2**63 - 1, 2**64 - 1)


class Golden:
    """Fills messages with values picked by a seeded generator, in which every odd one comes up."""

    def __init__(self, seed):
        self.pick = random.Random(seed)

    def value(self, target, depth=0):
        kinds = ["string", "bool", "int", "double", "bytes", "none"] + ["array", "kvlist"] * (depth < 3)
        kind = self.pick.choice(kinds)
        if kind == "string":
            target.string_value = self.pick.choice(TEXTS)
        elif kind == "bool":
            target.bool_value = self.pick.random() < 0.5
        elif kind == "int":
            target.int_value = self.pick.choice(INT64)
        elif kind == "double":
            target.double_value = self.pick.choice(DOUBLES)
        elif kind == "bytes":
            target.bytes_value = self.pick.choice([b"", b"\x00\xff", bytes(range(0, 256, 5))])
        elif kind == "array":
            target.array_value.SetInParent()
            for _ in range(self.pick.randrange(4)):
                self.value(target.array_value.values.add(), depth + 1)
        elif kind == "kvlist":
            target.kvlist_value.SetInParent()
            self.attributes(target.kvlist_value.values, depth + 1)

    def attributes(self, target, depth=0):
        keys = ["service.name", "k", "", "ключ", "a.b.c", "with space", "0"]
        for key in self.pick.sample(keys, self.pick.randrange(len(keys))):
            self.value(target.add(key=key).value, depth)

    def resource(self, group, marker):
        group.resource.attributes.add(key="marker").value.string_value = marker
        self.attributes(group.resource.attributes)
        group.resource.dropped_attributes_count = self.pick.choice(UINT32)
        group.schema_url = self.pick.choice(TEXTS)

    def scope(self, scoped):
        if self.pick.random() < 0.7:
            scoped.scope.name, scoped.scope.version = self.pick.choice(TEXTS), self.pick.choice(TEXTS)
            self.attributes(scoped.scope.attributes)
            scoped.scope.dropped_attributes_count = self.pick.choice(UINT32)
        scoped.schema_url = self.pick.choice(TEXTS)

    def id(self, length):
        return self.pick.choice([b"", bytes(range(1, length + 1)), self.pick.randbytes(length), bytes(length)])

    def request(self, signal, marker):
        request = MESSAGES[signal]()
        groups = {"logs": "resource_logs", "metrics": "resource_metrics", "traces": "resource_spans"}[signal]
        scopes = {"logs": "scope_logs", "metrics": "scope_metrics", "traces": "scope_spans"}[signal]
        for _ in range(self.pick.randrange(1, 4)):
            group = getattr(request, groups).add()
            self.resource(group, marker)
            for _ in range(self.pick.randrange(1, 4)):
                scoped = getattr(group, scopes).add()
                self.scope(scoped)
                for _ in range(self.pick.randrange(1, 6)):
                    getattr(self, signal)(scoped)
        return request

    def logs(self, scoped):
        record = scoped.log_records.add()
        record.time_unix_nano, record.observed_time_unix_nano = self.pick.choice(TIMES), self.pick.choice(TIMES)
        record.severity_number, record.severity_text = self.pick.randrange(25), self.pick.choice(TEXTS)
        if self.pick.random() < 0.9:
            self.value(record.body)
        self.attributes(record.attributes)
        record.dropped_attributes_count, record.flags = self.pick.choice(UINT32), self.pick.choice(UINT32)
        record.trace_id, record.span_id, record.event_name = self.id(16), self.id(8), self.pick.choice(TEXTS)

    def traces(self, scoped):
        span = scoped.spans.add()
        span.trace_id, span.span_id, span.parent_span_id = self.id(16), self.id(8), self.id(8)
        span.trace_state, span.flags = self.pick.choice(["", "a=b,c=d"]), self.pick.choice(UINT32)
        span.name, span.kind = self.pick.choice(TEXTS), self.pick.randrange(6)
        span.start_time_unix_nano, span.end_time_unix_nano = self.pick.choice(TIMES), self.pick.choice(TIMES)
        self.attributes(span.attributes)
        for _ in range(self.pick.randrange(3)):
            event = span.events.add(time_unix_nano=self.pick.choice(TIMES), name=self.pick.choice(TEXTS))
            self.attributes(event.attributes)
            link = span.links.add(trace_id=self.id(16), span_id=self.id(8), trace_state="x=y", flags=self.pick.choice(UINT32))
            self.attributes(link.attributes)
            event.dropped_attributes_count = link.dropped_attributes_count = self.pick.choice(UINT32)
        for count in ("attributes", "events", "links"):
            setattr(span, f"dropped_{count}_count", self.pick.choice(UINT32))
        if self.pick.random() < 0.7:
            span.status.code, span.status.message = self.pick.randrange(3), self.pick.choice(TEXTS)

    def metrics(self, scoped):
        metric = scoped.metrics.add(name=self.pick.choice(TEXTS), description=self.pick.choice(TEXTS), unit=self.pick.choice(TEXTS))
        self.attributes(metric.metadata)
        kind = self.pick.choice(["gauge", "sum", "histogram", "exponential_histogram", "summary"])
        data = getattr(metric, kind)
        data.SetInParent()
        if kind not in ("gauge", "summary"):
            data.aggregation_temporality = self.pick.randrange(3)
        if kind == "sum":
            data.is_monotonic = self.pick.random() < 0.5
        for _ in range(self.pick.randrange(1, 4)):
            point = data.data_points.add(start_time_unix_nano=self.pick.choice(TIMES), time_unix_nano=self.pick.choice(TIMES),
                                         flags=self.pick.randrange(2))
            self.attributes(point.attributes)
            getattr(self, kind)(point)

    def gauge(self, point):
        self.number(point)
        self.exemplars(point)

    sum = gauge

    def number(self, point):
        kind = self.pick.randrange(3)
        if kind == 0:
            point.as_int = self.pick.choice(INT64)
        elif kind == 1:
            point.as_double = self.pick.choice(DOUBLES)

    def exemplars(self, point):
        for _ in range(self.pick.randrange(3)):
            exemplar = point.exemplars.add(time_unix_nano=self.pick.choice(TIMES), trace_id=self.id(16), span_id=self.id(8))
            self.attributes(exemplar.filtered_attributes)
            self.number(exemplar)

    def moments(self, point):
        point.count = self.pick.choice(UINT64)
        for part in ("sum", "min", "max"):
            if self.pick.random() < 0.6:
                setattr(point, part, self.pick.choice(DOUBLES))

    def histogram(self, point):
        self.moments(point)
        self.exemplars(point)
        bounds = self.pick.choice([[], [0.0], [-1.5, 0.0, 1e300], [math.inf]])
        point.explicit_bounds.extend(bounds)
        if bounds or self.pick.random() < 0.5:
            point.bucket_counts.extend(self.pick.choice(UINT64) for _ in range(len(bounds) + 1))

    def exponential_histogram(self, point):
        self.moments(point)
        self.exemplars(point)
        point.scale, point.zero_count = self.pick.choice([-10, 0, 3, 20]), self.pick.choice(UINT64)
        point.zero_threshold = self.pick.choice(DOUBLES)
        for side in (point.positive, point.negative):
            if self.pick.random() < 0.7:
                side.offset = self.pick.choice([-2**31, -1, 0, 7, 2**31 - 1])
                side.bucket_counts.extend(self.pick.choice(UINT64) for _ in range(self.pick.randrange(4)))

    def summary(self, point):
        point.count, point.sum = self.pick.choice(UINT64), self.pick.choice(DOUBLES)
        for _ in range(self.pick.randrange(3)):
            point.quantile_values.add(quantile=self.pick.choice([0.0, 0.5, 1.0]), value=self.pick.choice(DOUBLES))


IDS = ("traceId", "spanId", "parentSpanId")


def recode(node, change):
    """The same JSON with `change` applied to ids: OTLP writes them in hex, protobuf's own mapping in base64."""
    if isinstance(node, dict):
        return {key: change(part) if key in IDS else recode(part, change) for key, part in node.items()}
    return [recode(part, change) for part in node] if isinstance(node, list) else node


def to_json(message):
    told = MessageToDict(message, use_integers_for_enums=True)
    return json.dumps(recode(told, lambda text: base64.b64decode(text).hex()))


def from_json(signal, body):
    told = recode(json.loads(body), lambda text: base64.b64encode(bytes.fromhex(text)).decode())
    return ParseDict(told, MESSAGES[signal](), ignore_unknown_fields=True)


# What is left out says the same as what is there and empty, and the Collector takes an id of zeros for no id.
EMPTY = ({}, "AAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAA=")


def normal(node):
    """Attributes in the order of their keys, wherever they are, and nothing that says nothing."""
    if isinstance(node, dict):
        parts = {key: normal(part) for key, part in node.items()}
        return {key: part for key, part in parts.items()
                if not (part == {} and key in ("value", "body", "scope", "status", "positive", "negative"))
                and not (part in EMPTY and key in IDS)}
    if isinstance(node, list):
        parts = [normal(part) for part in node]
        is_attributes = parts and all(isinstance(part, dict) and part.keys() <= {"key", "value"} for part in parts)
        # A key that is the empty text is left out by the mapping to JSON.
        return sorted(parts, key=lambda part: part.get("key", "")) if is_attributes else parts
    return node


def rows(signal, message):
    """Each item with its resource, scope and metric, as text."""
    groups, scopes, items = ROWS[signal]
    for group in MessageToDict(message).get(groups, []):
        for scoped in group.get(scopes, []):
            for item in scoped.get(items, []):
                kind = next((key for key in item if isinstance(item[key], dict) and "dataPoints" in item[key]), None)
                points = item[kind].pop("dataPoints") if signal == "metrics" and kind else [None]
                around = {"resource": group.get("resource", {}), "schema": group.get("schemaUrl", ""),
                          "scope": scoped.get("scope", {}), "scopeSchema": scoped.get("schemaUrl", ""), "item": item}
                for point in points:
                    yield json.dumps(normal(around | {"point": point}), sort_keys=True, ensure_ascii=False)


def marker_of(row):
    return next(part["value"]["stringValue"] for part in json.loads(row)["resource"]["attributes"] if part.get("key") == "marker")


class Sinks:
    """Takes OTLP over gRPC, over HTTP and as JSON, and keeps the rows of each way in and way out."""

    def __init__(self):
        self.got, self.lock = {}, threading.Lock()
        sinks = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = zlib.decompress(body, 31)
                _, way, _, signal = self.path.split("/")
                is_json = self.headers["Content-Type"].startswith("application/json")
                sinks.take(way, signal, from_json(signal, body) if is_json else MESSAGES[signal].FromString(body))
                self.send_response(200)
                self.send_header("Content-Type", self.headers["Content-Type"])
                self.send_header("Content-Length", "2" if is_json else "0")
                self.end_headers()
                self.wfile.write(b"{}" if is_json else b"")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.calls = grpc.server(concurrent.futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", 1 << 26)])
        self.calls.add_generic_rpc_handlers((self.Calls(self),))
        self.grpc = self.calls.add_insecure_port("127.0.0.1:0")
        self.calls.start()

    class Calls(grpc.GenericRpcHandler):
        def __init__(self, sinks):
            self.sinks = sinks

        def service(self, details):
            signal = next(signal for signal, path in SERVICES.items() if path == details.method)
            take = lambda body, _: self.sinks.take("grpc", signal, MESSAGES[signal].FromString(body)) or b""
            return grpc.unary_unary_rpc_method_handler(take)

    def take(self, way, signal, message):
        with self.lock:
            for row in rows(signal, message):
                self.got.setdefault((signal, marker_of(row).split("-")[0], way), []).append(row)

    def count(self):
        with self.lock:
            return sum(map(len, self.got.values()))

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.calls.stop(None)


WAYS = ("grpc", "http", "json")


def config(ports, sinks):
    plain = {"compression": "none", "sending_queue": {"enabled": False}, "retry_on_failure": {"enabled": False}}
    to = lambda way: {"endpoint": f"http://127.0.0.1:{sinks.http}/{way}"}
    straight = {"receivers": ["otlp"], "exporters": ["otlp", "otlphttp", "otlphttp/json"]}
    batched = {"receivers": ["otlp"], "processors": ["batch"], "exporters": ["otlphttp/batched"]}
    return {
        "receivers": {"otlp": {"protocols": {way: {"endpoint": f"127.0.0.1:{port}"} for way, port in ports.items()}}},
        "processors": {"batch": {"timeout": "50ms", "send_batch_size": 64, "send_batch_max_size": 100}},
        "exporters": {
            "otlp": plain | {"endpoint": f"127.0.0.1:{sinks.grpc}", "tls": {"insecure": True}},
            "otlphttp": plain | to("http") | {"compression": "gzip"},
            "otlphttp/json": plain | to("json") | {"encoding": "json"},
            "otlphttp/batched": plain | to("batched"),
        },
        "service": {"telemetry": {"metrics": {"level": "none"}},
                    "pipelines": {f"{signal}/{name}": pipeline for signal in MESSAGES
                                  for name, pipeline in (("straight", straight), ("batched", batched))}},
    }


def send(ports, signal, way, message):
    if way == "grpc":
        with grpc.insecure_channel(f"127.0.0.1:{ports['grpc']}") as channel:
            channel.unary_unary(SERVICES[signal])(message.SerializeToString(), timeout=30)
        return
    body, kind = (to_json(message), "json") if way == "json" else (message.SerializeToString(), "x-protobuf")
    answer = requests.post(f"http://127.0.0.1:{ports['http']}/v1/{signal}", body, timeout=30,
                           headers={"content-type": f"application/{kind}"})
    assert answer.status_code == 200, f"{signal} {way}: {answer.text}"


def through(name, binary, folder, start, extra):
    """What came out at each end, and how many rows went in."""
    sinks, ports = Sinks(), {"grpc": free_port(), "http": free_port()}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config(ports, sinks) | extra))
    process = start(Process(name, [binary, "--config", path], folder))
    wait_until(lambda: requests.post(f"http://127.0.0.1:{ports['http']}/v1/logs", json={}, timeout=2).status_code == 200,
               f"{name} listens", 60)
    sent = 0
    for signal, way in itertools.product(MESSAGES, WAYS):
        golden = Golden(f"{signal} {way}")
        for number in range(REQUESTS):
            message = golden.request(signal, f"{way}-{number}")
            sent += len(list(rows(signal, message)))
            send(ports, signal, way, message)
    # Each row leaves by four exporters.
    try:
        wait_until(lambda: sinks.count() >= 4 * sent, f"{4 * sent} rows", 30)
    except AssertionError as error:
        raise AssertionError(f"{name}: {sinks.count()} rows: {error}\n{process.tail()}") from None
    process.stop()
    sinks.close()
    return sinks.got, sent


def test_every_form_of_telemetry_leaves_as_it_leaves_a_collector(tmp_path, start):
    theirs, sent = through("otelcol", peer("otelcol"), tmp_path, start, {})
    ours, _ = through("tidegate", TARGET / "tidegate", tmp_path, start, {
        "server": {"prometheus": {"endpoint": ""}, "loki": {"endpoint": ""}}, "storage": {"directory": str(tmp_path / "data")}})
    assert theirs.keys() == ours.keys() and len(theirs) == len(MESSAGES) * len(WAYS) * (len(WAYS) + 1)
    differing = []
    for end in theirs:
        one, other = collections.Counter(theirs[end]), collections.Counter(ours[end])
        pairs = itertools.zip_longest(sorted((one - other).elements()), sorted((other - one).elements()))
        differing += [f"{end}\n  theirs {left}\n  ours   {right}" for left, right in pairs]
    print(f"{sent} items in over 3 ways, {sum(map(len, ours.values()))} out over 4, {len(differing)} differ")
    assert not differing, "\n".join(differing[:10])
