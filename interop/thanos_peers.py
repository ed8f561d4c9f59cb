"""Gateways with a StoreAPI, the real thanos beside them, and data and queries to compare what they answer."""

import math
import random
import socket
import struct
import threading

import requests
from conftest import TARGET, Process, free_port, peer, wait_until
from metric_protocols import Prometheus, number
from tcp_proxy import TcpProxy
from test_remote_write import STALE, V1, Request, histogram

STEP_MS = 15_000


class Store(Process):
    """A gateway that takes remote write and serves the StoreAPI."""

    def __init__(self, folder, name="tidegate", labels=None, query="{}", extra="", component="receive"):
        self.port, self.grpc = free_port(), free_port()
        listed = ", ".join(f"{key}: {value}" for key, value in (labels or {}).items())
        config = folder / f"{name}.yaml"
        config.write_text(
            f"""receivers: {{prometheusremotewrite: {{}}}}
exporters: {{metrics_store: {{}}}}
service: {{pipelines: {{metrics: {{receivers: [prometheusremotewrite], exporters: [metrics_store]}}}}}}
server:
  prometheus: {{endpoint: "127.0.0.1:{self.port}", enable_admin_api: true}}
  loki: {{endpoint: ""}}
  store_api: {{endpoint: "127.0.0.1:{self.grpc}", component: {component}}}
storage: {{directory: {folder / (name + "-data")}, external_labels: {{{listed}}}}}
query: {query}
{extra}
"""
        )
        super().__init__(name, [TARGET / "tidegate", "--config", config], folder)

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def start(self):
        super().start()
        return self.wait_ready(self.url("/-/ready"))


class Thanos(Process):
    """A component of the real thanos with its own ports."""

    def __init__(self, folder, component, *arguments, name=None, ready=True):
        self.port, self.grpc, self.ready = free_port(), free_port(), ready
        command = [peer("thanos"), component, f"--http-address=127.0.0.1:{self.port}",
                   f"--grpc-address=127.0.0.1:{self.grpc}", "--log.level=warn", *arguments]
        super().__init__(name or f"thanos-{component}", command, folder)

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def start(self):
        super().start()
        return self.wait_ready(self.url("/-/ready")) if self.ready else self


class Sidecar:
    """A real Prometheus with external labels and a real sidecar beside it."""

    def __init__(self, folder, labels, name="prometheus"):
        listed = ", ".join(f"{key}: {value}" for key, value in labels.items())
        self.prometheus = Prometheus(folder, name=name, external=listed)
        self.sidecar = Thanos(folder, "sidecar", f"--prometheus.url={self.prometheus.url('')}",
                              f"--tsdb.path={folder / (name + '-data')}", name=f"{name}-sidecar")
        self.grpc = self.sidecar.grpc

    def start(self):
        self.prometheus.start()
        self.sidecar.start()
        return self

    def kill(self):
        self.sidecar.kill()
        self.prometheus.kill()

    def url(self, path):
        return self.prometheus.url(path)


class Receive(Thanos):
    """A real receiver that stores what it gets."""

    def __init__(self, folder, labels, *arguments, name="receive"):
        self.write_port = free_port()
        super().__init__(folder, "receive", f"--tsdb.path={folder / (name + '-data')}",
                         f"--remote-write.address=127.0.0.1:{self.write_port}",
                         f"--receive.capnproto-address=127.0.0.1:{free_port()}",
                         *[f'--label={key}="{value}"' for key, value in labels.items()], *arguments, name=name)

    def write_url(self):
        return f"http://127.0.0.1:{self.write_port}/api/v1/receive"


class Cable(TcpProxy):
    """A proxy in front of a store that can be cut in the middle of an answer."""

    def __init__(self, target_port):
        super().__init__(target_port)
        # Bytes of answers that still pass before the cut; None is no cut. What is done at it.
        self.left, self.at_cut = None, None
        self.cuts = 0

    def cut_after(self, count, at_cut=lambda: None):
        """The connection breaks when so many bytes more have come from the store."""
        with self.lock:
            self.left, self.at_cut = count, at_cut

    def serve(self, client):
        try:
            server = socket.create_connection(("127.0.0.1", self.target_port))
        except OSError:
            client.close()
            return
        threading.Thread(target=self.pump, args=(client, server, False), daemon=True).start()
        self.pump(server, client, True)

    def pump(self, source, sink, is_answer):
        try:
            while data := source.recv(4096):
                allowed = self.allowed(len(data)) if is_answer else len(data)
                sink.sendall(data[:allowed])
                if allowed < len(data):
                    # Closed as by a process that died: with a reset.
                    for end in (source, sink):
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def allowed(self, count):
        with self.lock:
            if self.left is None:
                return count
            if count <= self.left:
                self.left -= count
                return count
            allowed, self.left, at_cut = self.left, None, self.at_cut
            self.cuts += 1
        at_cut()
        return allowed


def thanos_query(folder, endpoints, *arguments, name="thanos-query"):
    """A querier over these StoreAPIs that has seen them all."""
    listed = [f"--endpoint=127.0.0.1:{port}" for port in endpoints]
    process = Thanos(folder, "query", *listed, *arguments, name=name)
    start = process.start

    def start_and_wait():
        start()

        def all_seen():
            stores = requests.get(process.url("/api/v1/stores"), timeout=5).json()["data"]
            return sum(len(kind) for kind in stores.values()) == len(endpoints)

        wait_until(all_seen, f"{name} sees {len(endpoints)} stores")
        return process

    process.start = start_and_wait
    return process


def generated_series(seed, start_ms, samples, count=48):
    """Series of many kinds, as (labels, samples, histograms): counters with resets, gauges, gaps, churn, stale markers,
    classic and native histograms."""
    pick = random.Random(seed)
    for index in range(count):
        job, instance = f"job{index % 4}", f"host{index % 10}"
        kind = ["counter", "gauge", "gaps", "churn", "native", "resets"][index % 6]
        labels = [("__name__", f"test_{kind}"), ("instance", instance), ("job", job), ("n", str(index))]
        first, last = (0, samples)
        if kind == "churn":
            first = pick.randrange(samples // 2)
            last = first + pick.randrange(5, samples // 2)
        value, points, histograms = pick.uniform(0, 100), [], []
        for at in range(first, last):
            ms = start_ms + at * STEP_MS + (index * 37) % 1000
            if kind in ("gaps", "gauge") and pick.random() < (0.2 if kind == "gaps" else 0.01):
                continue
            if kind == "native":
                histograms.append(histogram(ms, 5 + at))
                continue
            if kind in ("counter", "churn", "resets"):
                is_reset = kind == "resets" and pick.random() < 0.02
                value = pick.uniform(0, 5) if is_reset else value + pick.uniform(0, 10)
            else:
                value = pick.gauss(0, 50)
            points.append((ms, float(round(value, 3))))
        if kind == "churn":
            points.append((start_ms + last * STEP_MS, STALE))
        yield labels, points, histograms
    for bucket, bound in enumerate(["0.1", "1", "10", "+Inf"]):
        for job in ("job0", "job1"):
            labels = [("__name__", "test_seconds_bucket"), ("job", job), ("le", bound)]
            yield labels, [(start_ms + at * STEP_MS, float((bucket + 1) * at)) for at in range(samples)], []


def write(url, series, keep=lambda labels, ms: True, headers=None):
    """Sends series by remote write 1.0."""
    for labels, samples, histograms in series:
        request = Request(1)
        request.add(sorted(labels), [point for point in samples if keep(labels, point[0])], histograms)
        answer = requests.post(url, data=request.bytes(), timeout=60,
                               headers={"Content-Type": V1, "Content-Encoding": "snappy", **(headers or {})})
        assert answer.status_code in (200, 204), answer.text


RANGE_FUNCTIONS = ["rate", "increase", "irate", "delta", "idelta", "avg_over_time", "max_over_time", "min_over_time",
                   "sum_over_time", "count_over_time", "last_over_time", "changes", "stddev_over_time",
                   "present_over_time", "deriv"]
AGGREGATIONS = ["sum", "avg", "min", "max", "count", "stddev", "group"]


def generated_queries(seed, count):
    """Queries over the generated series."""
    pick = random.Random(seed)

    def selector():
        name = pick.choice(["test_counter", "test_gauge", "test_gaps", "test_churn", "test_resets"])
        matcher = pick.choice(["", "", '{job="job1"}', '{job=~"job[01]"}', '{instance!="host3"}', '{n!~"1.*"}',
                               '{job="nothing"}', '{instance=~".+",job!=""}'])
        return name + matcher

    def vector():
        roll = pick.random()
        offset = pick.choice(["", "", "", " offset 1m", " offset 5m"])
        if roll < 0.35:
            return selector() + offset
        return f"{pick.choice(RANGE_FUNCTIONS)}({selector()}[{pick.choice(['1m', '2m', '5m', '10m'])}]{offset})"

    def expression():
        roll = pick.random()
        if roll < 0.3:
            return vector()
        if roll < 0.7:
            grouping = pick.choice(["", " by (job)", " by (instance, job)", " without (n)"])
            return f"{pick.choice(AGGREGATIONS)}{grouping} ({vector()})"
        if roll < 0.78:
            # Over averages: which of equals comes first is not said.
            return f"topk({pick.randrange(1, 5)}, avg_over_time({selector()}[{pick.choice(['2m', '5m'])}]))"
        if roll < 0.84:
            return f"quantile by (job) (0.{pick.randrange(1, 9)}, {vector()})"
        if roll < 0.9:
            left, right = vector(), vector()
            return f"sum by (job) ({left}) {pick.choice(['+', '-', '*', '/'])} sum by (job) ({right})"
        if roll < 0.93:
            return "histogram_quantile(0.9, sum by (job, le) (rate(test_seconds_bucket[5m])))"
        if roll < 0.96:
            return f"max_over_time(sum by (job) (rate({selector()}[2m]))[10m:1m])"
        return pick.choice(["test_native", "histogram_count(rate(test_native[5m]))", "sum by (job) (test_native)",
                            "histogram_quantile(0.5, sum(rate(test_native[5m])))"])

    return [expression() for _ in range(count)]


def answer(server, path, parameters):
    """Status and result of a query; labels in `without` are taken off."""
    reply = requests.get(server.url(path), params=parameters, timeout=60)
    body = reply.json()
    if body["status"] != "success":
        return body["status"], body.get("errorType"), body.get("error")
    return body["data"]["resultType"], body["data"]["result"]


def comparable(result, without=()):
    """A result as a mapping from labels to points; the labels in `without` are taken off."""
    if result[0] == "error":
        return result
    kind, rows = result
    if kind in ("scalar", "string"):
        return rows[1]
    found = {}
    for row in rows:
        key = tuple(sorted((name, value) for name, value in row["metric"].items() if name not in without))
        values = row.get("values") or ([row["value"]] if "value" in row else [])
        histograms = row.get("histograms") or ([row["histogram"]] if "histogram" in row else [])
        points = {t: number(v) for t, v in values}
        points |= {t: (number(h["count"]), number(h["sum"]),
                       tuple(tuple(map(float, bucket)) for bucket in h.get("buckets", []))) for t, h in histograms}
        assert key not in found, f"{key} is there twice"
        found[key] = points
    return found


def is_close(a, b):
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(is_close(x, y) for x, y in zip(a, b))
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    return a == b or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)


def difference(ours, theirs):
    """The first difference of two comparable results as text; None when they are equal."""
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return None if ours == theirs else f"{ours} and {theirs}"
    if ours.keys() != theirs.keys():
        return f"only ours {sorted(ours.keys() - theirs.keys())[:2]}, only theirs {sorted(theirs.keys() - ours.keys())[:2]}"
    for key, points in ours.items():
        other = theirs[key]
        if points.keys() != other.keys():
            return f"{key}: times only ours {sorted(points.keys() - other.keys())[:3]}, only theirs {sorted(other.keys() - points.keys())[:3]}"
        for t, value in points.items():
            if not is_close(value, other[t]):
                return f"{key} at {t}: {value} and {other[t]}"
    return None


def compare(ours, theirs, queries, start_s, end_s, step_s=30, without=(), parameters=None):
    """Differences between two servers over range and instant queries."""
    different = []
    for index, query in enumerate(queries):
        common = {"query": query} | (parameters or {})
        if index % 4 == 0:
            path, times = "/api/v1/query", {"time": end_s - index % 60}
        else:
            path, times = "/api/v1/query_range", {"start": start_s, "end": end_s, "step": step_s}
        both = [comparable(answer(server, path, common | times), without) for server in (ours, theirs)]
        found = difference(*both)
        if found:
            different.append(f"{path} {query}: {found}")
    return different
