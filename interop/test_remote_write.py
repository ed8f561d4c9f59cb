"""Remote write beside a real Prometheus: generated requests of both versions, good and bad; and a Prometheus as sender."""

import random
import struct
import subprocess
import time

import requests
from conftest import peer, wait_until
from metric_protocols import Gateway, Prometheus, differences, held

V1, V2 = "application/x-protobuf", "application/x-protobuf;proto=io.prometheus.write.v2.Request"
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    """One protobuf field: bytes and str by length, float as fixed64, int as varint."""
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def zigzag(value):
    return (value << 1) ^ (value >> 63)


def snappy(body):
    """A snappy block of literals."""
    out = bytearray(varint(len(body)))
    for start in range(0, len(body), 60):
        piece = body[start : start + 60]
        out.append((len(piece) - 1) << 2)
        out += piece
    return bytes(out)


def histogram(ms, count=5, custom=False, faulty=False):
    total = count + (1 if faulty else 0)
    spans = [field(11, field(1, zigzag(0)) + field(2, 2))]
    deltas = field(12, varint(zigzag(2)) + varint(zigzag(count - 4)))
    body = field(1, total) + field(3, 2.5) + b"".join(spans) + deltas + field(15, ms)
    if custom:
        return body + field(4, zigzag(-53)) + field(16, struct.pack("<2d", 1.0, 2.0))
    return body + field(4, zigzag(3)) + field(5, 0.001) + field(6, 0)


class Request:
    """Series by series, for either version."""

    def __init__(self, version):
        self.version, self.symbols, self.series = version, {"": 0}, b""

    def labels(self, pairs):
        if self.version == 1:
            return b"".join(field(1, field(1, name) + field(2, value)) for name, value in pairs)
        refs = b"".join(varint(self.symbols.setdefault(text, len(self.symbols))) for pair in pairs for text in pair)
        return field(1, refs)

    def add(self, pairs, samples=(), histograms=(), exemplars=()):
        body = self.labels(pairs)
        body += b"".join(field(2, field(1, value) + field(2, ms)) for ms, value in samples)
        body += b"".join(field(4 if self.version == 1 else 3, one) for one in histograms)
        for ms, value, labels in exemplars:
            body += field(3 if self.version == 1 else 4, self.labels(labels) + field(2, value) + field(3, ms))
        self.series += field(1 if self.version == 1 else 5, body)

    def bytes(self):
        symbols = b"".join(field(4, text) for text in self.symbols) if self.version == 2 else b""
        return snappy(symbols + self.series)


def generated(version, number, base_ms):
    """A sound request; every name is new, so that requests do not meet."""
    pick = random.Random(number * 2 + version)
    request = Request(version)
    for index in range(pick.randrange(1, 8)):
        name = pick.choice(["up", "näme.with dots", "a:b", "http_total"]) + f"_{version}_{number}_{index}"
        pairs = [("__name__", name), ("instance", "i:1"), ("job", pick.choice(["j", "ü", "x;y"]))]
        times = [base_ms + step * 1000 for step in range(pick.randrange(1, 5))]
        if pick.random() < 0.3:
            request.add(pairs, histograms=[histogram(ms, 5 + step, pick.random() < 0.3 and len(times) == 1)
                                           for step, ms in enumerate(times)])
        else:
            values = [pick.choice([0.0, -1.5, 1e300, float("inf"), STALE, float(ms)]) for ms in times]
            exemplars = [(times[0], 0.5, [("trace_id", "ab" * 16)])] if pick.random() < 0.3 else []
            request.add(pairs, list(zip(times, values)), exemplars=exemplars)
    return request.bytes()


def post(server, body, content_type=V1, **headers):
    headers = {"content-type": content_type, "content-encoding": "snappy", **headers}
    answer = requests.post(server.url("/api/v1/write"), data=body, headers=headers, timeout=30)
    written = {name.lower(): value for name, value in answer.headers.items() if name.lower().endswith("-written")}
    return answer.status_code, written, answer.text


def bad_requests(base_ms):
    """What is wrong, body, content type and more headers."""
    def of(version, *series):
        request = Request(version)
        for pairs, samples, histograms in series:
            request.add(pairs, samples, histograms)
        return request.bytes()

    now, later = [(base_ms, 1.0)], [(base_ms + 3_600_000 * 24, 1.0)]
    for version, kind in ((1, V1), (2, V2)):
        name = [("__name__", f"bad{version}")]
        good = ([("__name__", f"good{version}")], now, [])
        yield "no name", of(version, ([("job", "j")], now, []), good), kind, {}
        yield "empty name of a label", of(version, (name + [("", "x")], now, [])), kind, {}
        yield "twice the same label", of(version, (name + [("a", "1"), ("a", "2")], now, [])), kind, {}
        yield "too far ahead", of(version, (name, later, [])), kind, {}
        yield "too old", of(version, (name, now, []), (name, [(base_ms - 86_400_000, 1.0)], [])), kind, {}
        yield "a value", of(version, (name, [(base_ms + 1, 7.0)], [])), kind, {}
        yield "another value", of(version, (name, [(base_ms + 1, 8.0)], [])), kind, {}
        yield "miscounted", of(version, ([("__name__", f"h{version}")], [], [histogram(base_ms, faulty=True)])), kind, {}
        yield "no samples", of(version, ([("__name__", f"none{version}")], [], [])), kind, {}
        yield "nothing", of(version), kind, {}
        yield "no snappy", b"\xff\xff", kind, {}
        yield "no protobuf", snappy(b"\xff" * 20), kind, {}
        yield "gzip", b"", kind, {"content-encoding": "gzip"}
    yield "other type", of(1), "text/plain", {}
    yield "other message", of(1), "application/x-protobuf;proto=x", {}
    yield "no type", of(1), "", {}
    yield "symbols out of range", snappy(field(4, "") + field(5, field(1, b"\x07\x08") + field(2, field(1, 1.0) + field(2, base_ms)))), V2, {}


def test_both_versions_are_taken_and_refused_as_prometheus_does(tmp_path, start):
    theirs, ours = start(Prometheus(tmp_path)), start(Gateway(tmp_path))
    base = int(time.time()) * 1000 - 60_000
    for version, kind in ((1, V1), (2, V2)):
        for number in range(40):
            body = generated(version, number, base)
            told = [post(server, body, kind) for server in (ours, theirs)]
            assert told[0][:2] == told[1][:2] and told[0][0] == 204, (version, number, told)
    found = [held(server, 600, base / 1000 + 300) for server in (ours, theirs)]
    assert len(found[1]) > 200
    assert not differences(*found), "\n".join(differences(*found))
    for what, body, kind, headers in bad_requests(base):
        told = [post(server, body, kind, **headers) for server in (ours, theirs)]
        assert told[0][0] == told[1][0], (what, kind, told)
        if told[0][0] < 500:
            assert told[0][1] == told[1][1], (what, kind, told)


def test_what_goes_through_processors_arrives_the_same(tmp_path, start):
    straight = start(Gateway(tmp_path, name="straight"))
    batched = start(Gateway(tmp_path, processors="[memory_limiter, batch]", name="batched"))
    base = int(time.time()) * 1000 - 60_000
    for number in range(20):
        for server in (straight, batched):
            assert post(server, generated(2, number, base), V2)[0] == 204
    found = [held(server, 600, base / 1000 + 300) for server in (straight, batched)]
    assert len(found[0]) > 40 and not differences(*found), "\n".join(differences(*found))


def test_a_real_prometheus_writes_to_us_in_both_versions(tmp_path, start):
    for message in ("prometheus.WriteRequest", "io.prometheus.write.v2.Request"):
        name = message.split(".")[0]
        ours = start(Gateway(tmp_path, name=f"to-{name}"))
        # It scrapes itself: counters, gauges, summaries, classic and native histograms.
        scrape = f"""remote_write: [{{url: "{ours.url('/api/v1/write')}", protobuf_message: {message}, send_exemplars: true, send_native_histograms: true}}]
scrape_configs: [{{job_name: self, scrape_interval: 1s, scrape_native_histograms: true, static_configs: [{{targets: ["127.0.0.1:PORT"]}}]}}]
"""
        sender = Prometheus(tmp_path, name=f"from-{name}")
        config = tmp_path / f"from-{name}.yml"
        config.write_text("global: {}\n" + scrape.replace("PORT", str(sender.port)))
        sender.start()
        try:
            wait_until(lambda: len(held(sender, 5, time.time())) > 300, "Prometheus scrapes itself", 60)
            at = int(time.time()) + 4

            def arrived():
                # It sends from several shards, each at its own pace, and scrapes late when the machine is busy.
                found = [held(server, 3, at) for server in (ours, sender)]
                assert not differences(*found), "\n".join(differences(*found))
                return time.time() > at + 2 and len(found[1]) > 300

            wait_until(arrived, f"{message} arrived", 60)
        finally:
            sender.kill()


def test_promtool_pushes_metrics(tmp_path, start):
    ours = start(Gateway(tmp_path))
    text = tmp_path / "metrics.txt"
    text.write_text("# TYPE pushed_total counter\npushed_total{a=\"b\"} 42\n# TYPE level gauge\nlevel 1.5\n")
    done = subprocess.run([peer("promtool"), "push", "metrics", ours.url(""), text], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = held(ours, 60, time.time() + 5)
    assert sorted(dict(labels)["__name__"] for labels in found) == ["level", "pushed_total"]
