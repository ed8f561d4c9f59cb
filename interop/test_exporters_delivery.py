"""Queues on disk in front of real destinations: whatever is killed under load, every acknowledged item arrives.

Each item has a number of its own. A sender notes the numbers that were acknowledged; in the end each of them must be at
the destination. Numbers that are there twice are counted and printed: a delivery whose answer was lost is repeated.
"""

import http.server
import json
import socket
import threading
import time

import pytest
import requests
from conftest import TARGET, Process, free_port, peer, wait_until
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

BATCH = 20
SECONDS_BETWEEN_KILLS = 2


def is_listening(port):
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


class Gateway(Process):
    """A gateway without stores, one exporter behind a queue on disk."""

    def __init__(self, folder, exporter, settings, name="gateway", processors=()):
        self.http, self.prometheus, self.loki, self.health = (free_port() for _ in range(4))
        config = folder / f"{name}.yaml"
        receivers = {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{self.http}"}}}}
        pipeline = {"receivers": list(receivers), "processors": list(processors), "exporters": [exporter]}
        config.write_text(
            json.dumps(
                {
                    "receivers": receivers,
                    "extensions": {
                        "file_storage": {"directory": str(folder / f"{name}-queue"), "create_directory": True},
                        "health_check": {"endpoint": f"127.0.0.1:{self.health}"},
                    },
                    "processors": {"memory_limiter": {"check_interval": "100ms", "limit_mib": 512}, "batch": {}},
                    "exporters": {exporter: settings},
                    "service": {
                        "extensions": ["file_storage", "health_check"],
                        "pipelines": {signal: pipeline for signal in SIGNALS.get(exporter, ("metrics", "logs"))},
                    },
                    "server": {
                        "prometheus": {"endpoint": f"127.0.0.1:{self.prometheus}"},
                        "loki": {"endpoint": f"127.0.0.1:{self.loki}"},
                    },
                    "storage": {"directory": str(folder / f"{name}-data")},
                }
            )
        )
        super().__init__(name, [TARGET / "tidegate", "--config", config], folder)

    def start(self):
        super().start()
        return self.wait_ready(f"http://127.0.0.1:{self.health}/")


SIGNALS = {"loki": ("logs",), "parquet": ("logs", "metrics", "traces"), "prometheusremotewrite": ("metrics",)}
QUEUE = {
    "sending_queue": {"storage": "file_storage", "queue_size": 100_000, "num_consumers": 4},
    "retry_on_failure": {"initial_interval": "100ms", "max_interval": "500ms", "max_elapsed_time": 0},
}


class Sender(threading.Thread):
    """Sends batches of numbered items until it is told to end."""

    def __init__(self, gateway, signal, first):
        super().__init__(daemon=True)
        self.gateway, self.signal, self.next = gateway, signal, first
        self.acked, self.failed, self.ending = [], 0, threading.Event()

    def request(self, numbers):
        if self.signal == "logs":
            request = ExportLogsServiceRequest()
            group = request.resource_logs.add()
            group.resource.attributes.add(key="service.name").value.string_value = "delivery"
            scope = group.scope_logs.add()
            for number in numbers:
                record = scope.log_records.add(time_unix_nano=time.time_ns())
                record.body.string_value = f"item {number}"
            return request
        request = ExportMetricsServiceRequest()
        metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="delivery_item")
        for number in numbers:
            point = metric.gauge.data_points.add(time_unix_nano=time.time_ns(), as_double=1)
            point.attributes.add(key="number").value.string_value = str(number)
        return request

    def run(self):
        url = f"http://127.0.0.1:{self.gateway.http}/v1/{self.signal}"
        session = requests.Session()
        while not self.ending.is_set():
            numbers = range(self.next, self.next + BATCH)
            self.next += BATCH
            body = self.request(numbers).SerializeToString()
            headers = {"content-type": "application/x-protobuf"}
            try:
                if session.post(url, body, headers=headers, timeout=10).status_code == 200:
                    self.acked.extend(numbers)
                    # A steady load: what arrived is read back through the destination's own queries.
                    self.ending.wait(0.02)
                    continue
            except requests.RequestException:
                session = requests.Session()
            self.failed += 1
            time.sleep(0.02)

    def end(self):
        self.ending.set()
        self.join(30)


def count(numbers):
    """Each number and how often it is there."""
    seen = {}
    for number in numbers:
        seen[number] = seen.get(number, 0) + 1
    return seen


class Loki(Process):
    def __init__(self, folder):
        self.port, grpc = free_port(), free_port()
        data = folder / "loki-data"
        config = folder / "loki.yaml"
        config.write_text(
            json.dumps(
                {
                    "auth_enabled": False,
                    "server": {"http_listen_port": self.port, "grpc_listen_port": grpc, "log_level": "warn",
                               "http_listen_address": "127.0.0.1", "grpc_listen_address": "127.0.0.1"},
                    "common": {
                        "path_prefix": str(data),
                        "replication_factor": 1,
                        "ring": {"kvstore": {"store": "inmemory"}, "instance_addr": "127.0.0.1"},
                        "storage": {"filesystem": {"chunks_directory": str(data / "chunks"),
                                                   "rules_directory": str(data / "rules")}},
                    },
                    "ingester": {"wal": {"enabled": True, "dir": str(data / "wal"), "flush_on_shutdown": True}},
                    "schema_config": {"configs": [{"from": "2024-01-01", "store": "tsdb", "object_store": "filesystem",
                                                   "schema": "v13", "index": {"prefix": "index_", "period": "24h"}}]},
                    "limits_config": {"ingestion_rate_mb": 100, "ingestion_burst_size_mb": 200,
                                      "per_stream_rate_limit": "100MB", "per_stream_rate_limit_burst": "200MB",
                                      "max_entries_limit_per_query": 200_000},
                    "frontend": {"address": "127.0.0.1"},
                    "analytics": {"reporting_enabled": False},
                }
            )
        )
        super().__init__("loki", [peer("loki"), "-config.file", config], folder)
        self.signal, self.kind = "logs", "loki"
        # One sender: Loki numbers the pushes of a stream, and its replay drops a push that two concurrent ones put into
        # its log behind a higher number (ErrEntriesExist in pkg/ingester/stream.go), acknowledged as it was.
        self.settings = {"endpoint": f"http://127.0.0.1:{self.port}/loki/api/v1/push",
                         "sending_queue": QUEUE["sending_queue"] | {"num_consumers": 1}}

    def start(self):
        super().start()
        return self.wait_ready(f"http://127.0.0.1:{self.port}/ready", 90)

    def arrived(self):
        return count(lines(f"http://127.0.0.1:{self.port}", 50_000))


def lines(url, page_size=5000):
    """Numbers of all lines, read page by page."""
    numbers, start = [], time.time_ns() - 3_600_000_000_000
    while True:
        parameters = {"query": '{service_name="delivery"}', "start": start, "end": time.time_ns() + 10**9,
                      "limit": page_size, "direction": "forward"}
        answer = requests.get(f"{url}/loki/api/v1/query_range", params=parameters, timeout=240)
        assert answer.status_code == 200, answer.text
        streams = answer.json()["data"]["result"]
        page = sorted((int(at), line) for stream in streams for at, line in stream["values"])
        numbers.extend(int(line.split()[1]) for _, line in page)
        if len(page) < page_size:
            return numbers
        start = page[-1][0] + 1


class Prometheus(Process):
    def __init__(self, folder):
        self.port = free_port()
        config = folder / "prometheus.yaml"
        config.write_text("global: {scrape_interval: 1h}\n")
        command = [peer("prometheus"), "--config.file", config, "--storage.tsdb.path", folder / "prometheus-data",
                   "--web.listen-address", f"127.0.0.1:{self.port}", "--web.enable-otlp-receiver",
                   "--log.level", "warn"]
        super().__init__("prometheus", command, folder)
        self.signal, self.kind = "metrics", "otlphttp"
        self.settings = {"metrics_endpoint": f"http://127.0.0.1:{self.port}/api/v1/otlp/v1/metrics",
                         "logs_endpoint": "http://127.0.0.1:9/"}

    def start(self):
        super().start()
        return self.wait_ready(f"http://127.0.0.1:{self.port}/-/ready")

    def arrived(self):
        parameters = {"match[]": "delivery_item"}
        answer = requests.get(f"http://127.0.0.1:{self.port}/api/v1/series", params=parameters, timeout=60)
        return count(int(series["number"]) for series in answer.json()["data"])


class RemoteWrite(Prometheus):
    """The same, by remote write."""

    queue = {
        "remote_write_queue": {"storage": "file_storage", "queue_size": 100_000},
        "retry_on_failure": QUEUE["retry_on_failure"],
    }

    def __init__(self, folder):
        super().__init__(folder)
        self.command.append("--web.enable-remote-write-receiver")
        self.kind = "prometheusremotewrite"
        self.settings = {"endpoint": f"http://127.0.0.1:{self.port}/api/v1/write"}


class Collector(Process):
    def __init__(self, folder):
        self.port, self.health = free_port(), free_port()
        self.out = folder / "otelcol.json"
        config = folder / "otelcol.yaml"
        config.write_text(
            f"""receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{self.port}"}}}}}}
exporters:
  file: {{path: {self.out}, rotation: {{max_megabytes: 10000}}}}
extensions:
  health_check: {{endpoint: "127.0.0.1:{self.health}"}}
service:
  extensions: [health_check]
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    logs: {{receivers: [otlp], exporters: [file]}}
"""
        )
        super().__init__("otelcol", [peer("otelcol"), "--config", config], folder)
        self.signal, self.kind = "logs", "otlp"
        self.settings = {"endpoint": f"127.0.0.1:{self.port}", "tls": {"insecure": True}}

    def start(self):
        super().start()
        return self.wait_ready(f"http://127.0.0.1:{self.health}/")

    def arrived(self):
        numbers = []
        for line in self.out.read_text().splitlines():
            try:
                request = json.loads(line)
            except ValueError:
                continue  # A line that the kill cut short; its batch was not acknowledged.
            for group in request["resourceLogs"]:
                for scope in group["scopeLogs"]:
                    numbers.extend(int(record["body"]["stringValue"].split()[1]) for record in scope["logRecords"])
        return count(numbers)


class Kafka(Process):
    def __init__(self, folder):
        self.port = free_port()
        self.folder_of_log = folder / "kafka-data"
        super().__init__("kafka", [peer("kafka"), "serve", self.port, self.folder_of_log], folder)
        self.signal, self.kind = "logs", "kafka"
        self.settings = {"brokers": [f"127.0.0.1:{self.port}"], "timeout": "2s"}

    def start(self):
        super().start()
        wait_until(lambda: is_listening(self.port), "kafka listens", 90)
        return self


class KafkaReader(Kafka):
    """Kafka, read in the end by a collector that writes what it reads to a file."""

    def arrived(self):
        if not hasattr(self, "reader"):
            self.reader = Collector(self.folder)
            config = self.folder / "otelcol.yaml"
            config.write_text(
                config.read_text()
                .replace("exporters:\n", f"""  kafka:
    brokers: ["127.0.0.1:{self.port}"]
    logs: {{topics: [otlp_logs], encoding: otlp_proto}}
    initial_offset: earliest
exporters:
""", 1)
                .replace("{receivers: [otlp], exporters: [file]}", "{receivers: [kafka], exporters: [file]}")
            )
            self.reader.start()
        return self.reader.arrived() if self.reader.out.exists() else {}

    def kill(self):
        super().kill()
        if hasattr(self, "reader"):
            self.reader.kill()


def check(what, sender, arrived, seconds=300):
    """Waits until all that was acknowledged is there, and tells what is there twice."""
    acked = set(sender.acked)
    assert len(acked) > 10 * BATCH, f"only {len(acked)} items acknowledged, {sender.failed} batches failed"
    missing = lambda: acked - arrived().keys()
    try:
        wait_until(lambda: not missing(), "every acknowledged item arrives", seconds)
    except AssertionError:
        lost = sorted(missing())
        raise AssertionError(f"{what}: {len(lost)} of {len(acked)} acknowledged items are missing: {lost[:10]}") from None
    there = arrived()
    twice = sum(times - 1 for number, times in there.items() if number in acked)
    print(f"{what}: acked={len(acked)} missing=0 repeated={twice} "
          f"unacked_but_there={len(there.keys() - acked)} failed_batches={sender.failed}")


@pytest.mark.parametrize("destination", [Collector, KafkaReader, Loki, Prometheus, RemoteWrite])
def test_a_destination_killed_under_load_gets_every_acknowledged_item(tmp_path, start, destination):
    target = start(destination(tmp_path))
    gateway = start(Gateway(tmp_path, target.kind, getattr(target, "queue", QUEUE) | target.settings))
    sender = Sender(gateway, target.signal, 0)
    sender.start()
    for _ in range(2):
        time.sleep(SECONDS_BETWEEN_KILLS)
        target.kill()
        time.sleep(SECONDS_BETWEEN_KILLS)
        target.start()
    time.sleep(SECONDS_BETWEEN_KILLS)
    sender.end()
    assert sender.failed == 0, "a destination that is away is no business of the sender's"
    check(f"{target.name} killed", sender, target.arrived)


@pytest.mark.parametrize("destination, processors",
                         [(Collector, ()), (Collector, ("memory_limiter", "batch")), (RemoteWrite, ())],
                         ids=["otlp", "otlp behind batch", "remote write"])
def test_a_gateway_killed_under_load_delivers_every_acknowledged_item(tmp_path, start, destination, processors):
    target = start(destination(tmp_path))
    queue = getattr(target, "queue", QUEUE)
    gateway = start(Gateway(tmp_path, target.kind, queue | target.settings, processors=processors))
    sender = Sender(gateway, target.signal, 0)
    sender.start()
    for is_away in (False, True, False, True):
        if is_away:
            target.kill()
        time.sleep(SECONDS_BETWEEN_KILLS)
        gateway.kill()
        if is_away:
            target.start()
        gateway.start()
    sender.end()
    check(f"gateway to {target.kind} with {' and '.join(processors) or 'no processors'} killed", sender, target.arrived)


def test_a_destination_that_is_away_is_told_once_and_so_is_its_return(tmp_path, start):
    port = free_port()
    settings = {"endpoint": f"http://127.0.0.1:{port}", **QUEUE}
    gateway = start(Gateway(tmp_path, "otlphttp", settings))
    record = {"body": {"stringValue": "through"}}
    body = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
    logs = f"http://127.0.0.1:{gateway.http}/v1/logs"
    for _ in range(5):
        assert requests.post(logs, json=body, timeout=30).status_code == 200
    said = lambda what: gateway.log.read_text().count(what)
    wait_until(lambda: said("exporting failed, trying again"), "the outage is told", 30)
    # Every delivery fails some times a second meanwhile; another line comes after a minute, if this takes so long.
    time.sleep(3)
    assert said("exporting failed, trying again") <= 2, gateway.tail()
    assert said("works again") == 0, gateway.tail()
    came = []

    class Destination(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            came.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    destination = http.server.ThreadingHTTPServer(("127.0.0.1", port), Destination)
    threading.Thread(target=destination.serve_forever, daemon=True).start()
    wait_until(lambda: len(came) >= 5, "everything arrives", 30)
    wait_until(lambda: said("exporting works again"), "the return is told", 30)
    assert gateway.stop() == 0
    destination.shutdown()
    destination.server_close()
