"""Senders at more than the gateway or its destination can take: memory stays bounded, refusals carry a hint, nothing
acknowledged is lost.

`INTEROP_OVERLOAD_SECONDS` is how long a destination is overloaded, 12 by default, 45 in the whole form; the stores are for 20 s
in that form, else for 8 s: every line of some 250,000 a second is read back.
"""

import http.server
import os
import re
import threading
import time

import psutil
import pytest
import requests
from conftest import Tidegate, free_port, loadtest, wait_until
from forwarding import Cell, ours
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

LIMIT_MIB = 256
RSS_MIB_MAX = 320
# A forwarder holds nothing but what waits.
FORWARDER_LIMIT_MIB, FORWARDER_RSS_MIB_MAX = 100, 150
OVERLOAD_SECONDS = float(os.environ.get("INTEROP_OVERLOAD_SECONDS", "12"))
STORE_SECONDS = 20 if OVERLOAD_SECONDS > 12 else 8
RECORDS, RECORD_BYTES = 400, 1000
# What the destination takes, records a second; senders offer more than twice of it.
DESTINATION_RATE = 8_000


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
                          "--batch", 5000, "--connections", 48, "--streams", 48, "--rate", "max", "--duration", f"{STORE_SECONDS}s", "--verify",
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


class SlowSink:
    """An OTLP/HTTP destination that takes `DESTINATION_RATE` records a second and notes which requests came."""

    def __init__(self):
        self.http = self.grpc = free_port()
        self.arrived, self.is_slow, self.free_at, self.lock = {}, True, 0.0, threading.Lock()
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                numbers = [int(number) for number in re.findall(rb"request-(\d{9})", body)]
                with sink.lock:
                    if sink.is_slow:
                        sink.free_at = max(sink.free_at, time.monotonic()) + len(numbers) * RECORDS / DESTINATION_RATE
                    wait = sink.free_at - time.monotonic() if sink.is_slow else 0
                if wait > 0:
                    time.sleep(wait)
                with sink.lock:
                    for number in numbers:
                        sink.arrived[number] = sink.arrived.get(number, 0) + 1
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.http), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Flood(threading.Thread):
    """Sends requests of numbered resources as fast as they are answered; a refused one is not sent again."""

    body = None

    def __init__(self, port, first):
        super().__init__(daemon=True)
        self.port, self.next = port, first
        self.acked, self.refused, self.unhinted, self.done = [], 0, 0, threading.Event()

    @classmethod
    def request(cls, number):
        mark = b"request-%09d"
        if cls.body is None:
            request = ExportLogsServiceRequest()
            group = request.resource_logs.add()
            group.resource.attributes.add(key="id").value.string_value = (mark % 0).decode()
            scope = group.scope_logs.add()
            for n in range(RECORDS):
                record = scope.log_records.add(time_unix_nano=n + 1)
                record.body.string_value = f"{n:06}".ljust(RECORD_BYTES, "x")
            cls.body = request.SerializeToString()
        return cls.body.replace(mark % 0, mark % number, 1)

    def run(self):
        session, url = requests.Session(), f"http://127.0.0.1:{self.port}/v1/logs"
        while not self.done.is_set():
            number, self.next = self.next, self.next + 1
            answer = session.post(url, self.request(number), headers={"content-type": "application/x-protobuf"}, timeout=60)
            if answer.status_code == 200:
                self.acked.append(number)
                continue
            self.refused += 1
            self.unhinted += answer.status_code != 503 or "retry-after" not in answer.headers
            # An impatient sender: faster than the hint, so that the overload lasts.
            self.done.wait(0.02)


@pytest.mark.parametrize("queue_size", [1000, 20])
def test_a_slow_destination_costs_neither_memory_nor_acknowledged_data(tmp_path, start, queue_size):
    sink = SlowSink()
    processors = {"memory_limiter": {"check_interval": "100ms", "limit_mib": FORWARDER_LIMIT_MIB}, "batch": {}}
    exporter = {"sending_queue": {"queue_size": queue_size}, "timeout": "120s"}
    forwarder = start(ours(tmp_path, Cell("logs", "http", "none", "none"), sink, processors=processors, exporter=exporter))
    process, peak = psutil.Process(forwarder.child.pid), 0
    senders = [Flood(forwarder.port, n * 10_000_000) for n in range(8)]
    begin = time.monotonic()
    for sender in senders:
        sender.start()
    while time.monotonic() < begin + OVERLOAD_SECONDS:
        peak = max(peak, process.memory_info().rss)
        time.sleep(0.02)
    with sink.lock:
        delivered = len(sink.arrived)
    for sender in senders:
        sender.done.set()
    sink.is_slow = False
    for sender in senders:
        sender.join(60)
    acked = {number for sender in senders for number in sender.acked}
    offered, refused = (sum(parts) for parts in zip(*((len(s.acked) + s.refused, s.refused) for s in senders)))
    wait_until(lambda: acked <= sink.arrived.keys(), "every acknowledged request arrives", 60)
    repeated = sum(times - 1 for times in sink.arrived.values())
    print(f"queue_size {queue_size}: peak {peak / 2**20:.0f} MiB, offered={offered} delivered_meanwhile={delivered} "
          f"acked={len(acked)} refused={refused} lost=0 repeated={repeated}")
    assert offered > 2 * delivered, "no overload"
    assert refused > 0 and sum(sender.unhinted for sender in senders) == 0
    assert peak < FORWARDER_RSS_MIB_MAX * 2**20
    assert forwarder.stop(60) == 0
