"""The metrics store beside Prometheus, VictoriaMetrics and Thanos' receiver, in one run: `interop/run bench_tsdb` prints a
Markdown table.

Each program takes the same bytes, made once and read from a file: BENCH_SERIES series of 10 labels (some 208 bytes), a
sample every 15 s for BENCH_ROUNDS rounds, over remote write 1, remote write 2 and OTLP over HTTP with gzip, as fast as it
takes them over four connections. CPU is user and system time of the whole process while it takes the samples; memory is
what the process grew by. Then what lies on disk, and the time from a start after kill -9 until every series answers.
"""

import argparse
import http.client
import os
import pathlib
import shutil
import struct
import sys
import tempfile
import threading
import time

import cramjam
import numpy
import psutil
import requests
from conftest import Process, TARGET, free_port, peer, wait_until

SERIES = int(os.environ.get("BENCH_SERIES", "109440"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "240"))
INTERVAL_MS = 15_000
PER_REQUEST = 2000
CONNECTIONS = 4
METRICS = 20


def labels(series):
    """As a cluster's metrics have them: 20 series to a pod."""
    pod = series // METRICS
    return [
        ("__name__", f"container_network_receive_bytes_{series % METRICS}_total"),
        ("cluster", "production-eu-1"),
        ("container", "application"),
        ("endpoint", "https-metrics"),
        ("instance", f"10.12.{pod // 250}.{pod % 250}:10250"),
        ("job", "kubelet"),
        ("namespace", f"team-{pod % 40}"),
        ("node", f"ip-10-12-{pod // 30}.internal"),
        ("pod", f"application-{pod * 2654435761 % 0xffffffff:x}-{pod}"),
        ("service", "kubelet-service"),
    ]


def values(first, count, step):
    """Counters, gauges and constants, mixed."""
    series = numpy.arange(first, first + count, dtype=numpy.int64)
    noise = (series * 31 + step * 17) % 97
    kinds = [step * 1000 + noise * 7, step * 1000 + noise * 7, 0.37 * noise, step * 60 + noise, numpy.ones(count)]
    return numpy.choose(series % 5, [kind.astype(numpy.float64) for kind in kinds])


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, body):
    return varint(number << 3 | 2) + varint(len(body)) + body


class Template:
    """A request whose samples have their times and values at known places, so that a round only fills those in."""

    def __init__(self, first, count):
        self.first, self.count = first, count
        self.value_at, self.time_at = [], []

    def finish(self, body):
        self.body = numpy.frombuffer(body, dtype=numpy.uint8).copy()
        self.value_at = numpy.array(self.value_at)[:, None] + numpy.arange(8)
        self.time_at = numpy.array(self.time_at)

    def fill(self, start_ms, step):
        raw = values(self.first, self.count, step)[self.order].astype("<f8").view(numpy.uint8).reshape(-1, 8)
        self.body[self.value_at] = raw
        stamp = numpy.frombuffer(self.stamp(start_ms + step * INTERVAL_MS), dtype=numpy.uint8)
        self.body[self.time_at[:, None] + numpy.arange(len(stamp))] = stamp
        return self.compress(self.body.tobytes())


class RemoteWrite(Template):
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf",
               "X-Prometheus-Remote-Write-Version": "0.1.0"}

    def __init__(self, first, count):
        super().__init__(first, count)
        self.order = numpy.arange(count)
        body = bytearray()
        for series in range(first, first + count):
            self.add(body, 1, b"".join(field(1, field(1, n.encode()) + field(2, v.encode())) for n, v in labels(series)), 2)
        self.finish(body)

    def add(self, body, number, head, sample_number):
        # A sample: value (1, fixed64), time (2, varint of six bytes at this age of the world).
        sample = b"\x09" + bytes(8) + b"\x10" + varint(1_763_000_000_000)
        inner = head + field(sample_number, sample)
        body += varint(number << 3 | 2) + varint(len(inner))
        at = len(body) + len(inner) - len(sample)
        self.value_at.append(at + 1)
        self.time_at.append(at + 10)
        body += inner

    def stamp(self, time_ms):
        return varint(time_ms)

    def compress(self, body):
        return bytes(cramjam.snappy.compress_raw(body))


class RemoteWrite2(RemoteWrite):
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
               "X-Prometheus-Remote-Write-Version": "2.0.0"}

    def __init__(self, first, count):
        Template.__init__(self, first, count)
        self.order = numpy.arange(count)
        symbols = {"": 0}
        heads = []
        for series in range(first, first + count):
            refs = [symbols.setdefault(text, len(symbols)) for pair in labels(series) for text in pair]
            heads.append(field(1, b"".join(map(varint, refs))))
        body = bytearray(b"".join(field(4, text.encode()) for text in symbols))
        for head in heads:
            self.add(body, 5, head, 2)
        self.finish(body)


class Otlp(Template):
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-protobuf"}

    def __init__(self, first, count):
        super().__init__(first, count)
        text = lambda value: field(2, field(1, value.encode()))
        attribute = lambda name, value: field(1, name.encode()) + text(value)
        by_metric = {}
        for series in range(first, first + count):
            by_metric.setdefault(series % METRICS, []).append(series)
        order, metrics = [], bytearray()
        for metric, members in by_metric.items():
            points, places = bytearray(), []
            for series in members:
                known = dict(labels(series))
                head = b"".join(field(7, attribute(name, known[name])) for name in
                                ("cluster", "container", "endpoint", "namespace", "node", "pod", "service"))
                # Start time (2), time (3), value (4): all fixed64.
                point = head + b"\x11" + struct.pack("<Q", 1_600_000_000 * 10**9) + b"\x19" + bytes(8) + b"\x21" + bytes(8)
                tag = b"\x0a" + varint(len(point))
                end = len(points) + len(tag) + len(point)
                places.append((end - 17, end - 8))
                points += tag + point
            name = f"container_network_receive_bytes_{metric}"
            # A monotonic, cumulative sum.
            front = field(1, name.encode())
            sum_head = varint(7 << 3 | 2) + varint(len(points) + 4)
            inner = front + sum_head + points + b"\x10\x02\x18\x01"
            tag = varint(2 << 3 | 2) + varint(len(inner))
            base = len(metrics) + len(tag) + len(front) + len(sum_head)
            for time_place, value_place in places:
                self.time_at.append(base + time_place)
                self.value_at.append(base + value_place)
            metrics += tag + inner
            order += [series - first for series in members]
        self.order = numpy.array(order)
        pod = first // METRICS
        resource = field(1, b"".join(field(1, attribute(name, value)) for name, value in
                                     (("service.name", "kubelet"), ("service.instance.id", f"10.12.{pod}:10250"))))
        scope_tag = varint(2 << 3 | 2) + varint(len(metrics))
        scope = resource + scope_tag
        group_tag = varint(1 << 3 | 2) + varint(len(scope) + len(metrics))
        shift = len(group_tag) + len(scope)
        self.time_at = [at + shift for at in self.time_at]
        self.value_at = [at + shift for at in self.value_at]
        self.finish(group_tag + scope + metrics)

    def stamp(self, time_ms):
        return struct.pack("<Q", time_ms * 10**6)

    def compress(self, body):
        return bytes(cramjam.gzip.compress(body, level=1))


PROTOCOLS = {"remote write 1": RemoteWrite, "remote write 2": RemoteWrite2, "OTLP HTTP gzip": Otlp}


class Load:
    """All requests of a protocol in a file, by round and part."""

    def __init__(self, folder, protocol, start_ms):
        self.headers = PROTOCOLS[protocol].headers
        templates = [PROTOCOLS[protocol](first, min(PER_REQUEST, SERIES - first)) for first in range(0, SERIES, PER_REQUEST)]
        self.path, self.places, self.parts = folder / f"{protocol}.requests", [], len(templates)
        with open(self.path, "wb") as out:
            for step in range(ROUNDS):
                for template in templates:
                    body = template.fill(start_ms, step)
                    self.places.append((out.tell(), len(body)))
                    out.write(body)

    def send(self, port, path):
        """Sends everything; a series always goes over the same connection, so that its samples stay in order."""
        failures = []

        def connection(number):
            link = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            with open(self.path, "rb") as requests_file:
                for step in range(ROUNDS):
                    for part in range(number, self.parts, CONNECTIONS):
                        place, size = self.places[step * self.parts + part]
                        requests_file.seek(place)
                        link.request("POST", path, requests_file.read(size), self.headers)
                        answer = link.getresponse()
                        text = answer.read()
                        if answer.status // 100 != 2:
                            failures.append((answer.status, text[:200]))
                            return

        threads = [threading.Thread(target=connection, args=(number,)) for number in range(CONNECTIONS)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures[:3]
        return time.monotonic() - began


def folder_bytes(folder, keep=lambda path: True):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and keep(path))


class Tidegate(Process):
    label = "Tidegate"
    paths = {"remote write 1": "/api/v1/write", "remote write 2": "/api/v1/write", "OTLP HTTP gzip": "/v1/metrics"}

    def __init__(self, folder):
        self.port, self.otlp = free_port(), free_port()
        self.data = folder / "data"
        (folder / "tidegate.yaml").write_text(f"""receivers:
  otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{self.otlp}"}}}}}}
  prometheusremotewrite: {{}}
processors: {{memory_limiter: {{check_interval: 1s, limit_mib: 4096}}}}
exporters: {{metrics_store: {{}}}}
service: {{pipelines: {{metrics: {{receivers: [otlp, prometheusremotewrite], processors: [memory_limiter], exporters: [metrics_store]}}}}}}
server: {{prometheus: {{endpoint: "127.0.0.1:{self.port}", enable_admin_api: true}}, loki: {{endpoint: ""}}}}
storage: {{directory: {self.data}}}
""")
        super().__init__("tidegate", [TARGET / "tidegate", "--config", folder / "tidegate.yaml"], folder)

    def write_port(self, protocol):
        return self.otlp if protocol.startswith("OTLP") else self.port

    def log_bytes(self):
        return folder_bytes(self.data / "metrics" / "default" / "wal")

    def snapshots(self):
        return self.data / "metrics" / "default" / "snapshots"


class Prometheus(Process):
    label = "Prometheus"
    paths = {"remote write 1": "/api/v1/write", "remote write 2": "/api/v1/write", "OTLP HTTP gzip": "/api/v1/otlp/v1/metrics"}

    def __init__(self, folder):
        self.port, self.data = free_port(), folder / "data"
        (folder / "prometheus.yml").write_text("global: {}\n")
        super().__init__("prometheus", [
            peer("prometheus"), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={self.data}",
            f"--web.listen-address=127.0.0.1:{self.port}", "--web.enable-remote-write-receiver", "--web.enable-otlp-receiver",
            "--web.enable-admin-api", "--log.level=error"], folder)

    def write_port(self, _):
        return self.port

    def log_bytes(self):
        return folder_bytes(self.data / "wal")

    def snapshots(self):
        return self.data / "snapshots"


class VictoriaMetrics(Process):
    """Debian's, which knows neither remote write 2 nor OTLP."""

    label = "VictoriaMetrics"
    paths = {"remote write 1": "/api/v1/write"}

    def __init__(self, folder):
        self.port, self.data = free_port(), folder / "data"
        super().__init__("victoria-metrics", [
            peer("victoria-metrics"), f"-storageDataPath={self.data}", f"-httpListenAddr=127.0.0.1:{self.port}",
            "-retentionPeriod=100y", "-loggerLevel=ERROR", "-search.maxUniqueTimeseries=1000000"], folder)

    def write_port(self, _):
        return self.port

    def log_bytes(self):
        return 0

    def snapshots(self):
        return None


class Thanos(Process):
    """`thanos receive` by itself, which answers no queries: readiness is all that is known of its start."""

    label = "Thanos receive"
    paths = {"remote write 1": "/api/v1/receive"}

    def __init__(self, folder):
        self.port, self.write, self.data = free_port(), free_port(), folder / "data"
        super().__init__("thanos", [
            peer("thanos"), "receive", f"--tsdb.path={self.data}", '--label=replica="a"', "--log.level=error",
            f"--http-address=127.0.0.1:{self.port}", f"--grpc-address=127.0.0.1:{free_port()}",
            f"--remote-write.address=127.0.0.1:{self.write}"], folder)

    def write_port(self, _):
        return self.write

    def log_bytes(self):
        return folder_bytes(self.data / "default-tenant" / "wal")

    def snapshots(self):
        return None


def ready(server):
    path = "/health" if isinstance(server, VictoriaMetrics) else "/-/ready"
    return server.wait_ready(f"http://127.0.0.1:{server.port}{path}", 120)


def answering(server, end_s):
    """Every series has a sample at the end, as far as the program can be asked."""
    def all_there():
        query = {"query": 'count({__name__=~"container_network_receive_bytes_.+"})', "time": end_s}
        result = requests.get(f"http://127.0.0.1:{server.port}/api/v1/query", params=query, timeout=60).json()["data"]["result"]
        return int(result[0]["value"][1]) == SERIES

    if isinstance(server, Thanos):
        return
    wait_until(all_there, f"{server.label}: all series answer", 120)


def measure(kind, protocol, load, end_s):
    """One run: a dictionary of figures."""
    with tempfile.TemporaryDirectory() as name:
        server = kind(pathlib.Path(name))
        server.start()
        try:
            ready(server)
            process = psutil.Process(server.child.pid)
            cpu = lambda: sum(process.cpu_times()[:2])
            before_cpu, before_rss = cpu(), process.memory_info().rss
            seconds = load.send(server.write_port(protocol), server.paths[protocol])
            figures = {"cpu": (cpu() - before_cpu) * 1e6 / (SERIES * ROUNDS), "wall": seconds}
            figures["rss"] = (process.memory_info().rss - before_rss) / SERIES
            peak = next(line for line in open(f"/proc/{process.pid}/status") if line.startswith("VmHWM"))
            figures["peak"] = int(peak.split()[1]) / 1024
            figures["log"] = server.log_bytes() / (SERIES * ROUNDS)
            answering(server, end_s)
            if server.snapshots():
                answer = requests.post(f"http://127.0.0.1:{server.port}/api/v1/admin/tsdb/snapshot", timeout=300)
                assert answer.status_code == 200, answer.text
                figures["block"] = folder_bytes(server.snapshots()) / (SERIES * ROUNDS)
                shutil.rmtree(server.snapshots())
            server.kill()
            began = time.monotonic()
            server.start()
            ready(server)
            figures["ready"] = time.monotonic() - began
            figures["ready_cpu"] = sum(psutil.Process(server.child.pid).cpu_times()[:2])
            if not isinstance(server, VictoriaMetrics):
                answering(server, end_s)
            else:
                # It has no snapshots; what it wrote in the end counts.
                server.stop(60)
                figures["block"] = folder_bytes(server.data) / (SERIES * ROUNDS)
            return figures
        finally:
            server.kill()


def run(programs, protocols):
    """Rows of (protocol, program, figures), all of a protocol at once."""
    # A whole number of rounds before now, and inside one block of two hours.
    block = 7200
    end_s = int(time.time()) // block * block - 60
    start_ms = (end_s - (ROUNDS - 1) * INTERVAL_MS // 1000) * 1000
    with tempfile.TemporaryDirectory() as name:
        for protocol in protocols:
            rows = []
            load = Load(pathlib.Path(name), protocol, start_ms)
            for kind in programs:
                if protocol in kind.paths:
                    rows.append((protocol, kind.label, measure(kind, protocol, load, end_s)))
                    print(protocol, kind.label, rows[-1][2], file=sys.stderr, flush=True)
            load.path.unlink()
            yield rows


def table(protocols):
    """Lines as soon as they are known."""
    yield "| protocol | program | CPU-µs a sample | ratio | RSS a series, B | peak RSS, MiB | log, B a sample | block, B a sample | ready after kill -9, s (CPU-s) |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for rows in protocols:
        reference = {protocol: figures["cpu"] for protocol, label, figures in rows if label == "Prometheus"}
        for protocol, label, figures in rows:
            ratio = f"{figures['cpu'] / reference[protocol]:.2f}" if protocol in reference else ""
            block = f"{figures['block']:.2f}" if "block" in figures else ""
            yield (f"| {protocol} | {label} | {figures['cpu']:.2f} | {ratio} | {figures['rss']:,.0f} | {figures['peak']:.0f} | "
                   f"{figures['log']:.2f} | {block} | {figures['ready']:.2f} ({figures['ready_cpu']:.2f}) |")


def main():
    parser = argparse.ArgumentParser()
    programs = {kind.label.lower(): kind for kind in (Tidegate, Prometheus, VictoriaMetrics, Thanos)}
    parser.add_argument("--program", action="append", choices=sorted(programs))
    parser.add_argument("--protocol", action="append", choices=list(PROTOCOLS))
    arguments = parser.parse_args()
    chosen = [programs[name] for name in arguments.program or programs]
    print(f"{time.strftime('%Y-%m-%d')}, {psutil.cpu_count()} cores, {SERIES:,} series, {ROUNDS} rounds of 15 s\n")
    for line in table(run(chosen, arguments.protocol or list(PROTOCOLS))):
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
