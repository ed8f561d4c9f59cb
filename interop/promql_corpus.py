"""Series for PromQL, the same for the same seed, as remote write requests that any receiver takes: counters with
resets, gauges, gaps, churn with stale markers, classic and native histograms, late and jittered scrapes."""

import math
import random
import struct

from test_remote_write import STALE, field, varint, zigzag

SCRAPE_MS = 15_000
BOUNDS = ["0.005", "0.01", "0.05", "0.1", "0.5", "1", "5", "+Inf"]


def snappy(body):
    """A snappy block of long literals."""
    out = bytearray(varint(len(body)))
    for start in range(0, len(body), 65536):
        piece = body[start : start + 65536]
        out += bytes([61 << 2]) + struct.pack("<H", len(piece) - 1) + piece
    return bytes(out)


def label_fields(labels):
    return b"".join(field(1, field(1, name) + field(2, value)) for name, value in sorted(labels.items()))


def float_series(labels, times, values):
    """One series of a request of version 1.0. Times of these years have varints of six bytes, so that all samples have
    one length and are packed at once."""
    count = len(times)
    parts = [None] * (3 * count)
    parts[0::3] = [b"\x12\x10\x09"] * count
    parts[1::3] = values
    parts[2::3] = [b"\x10" + varint(ms) for ms in times]
    return field(1, label_fields(labels) + struct.pack("<" + "3sd7s" * count, *parts))


def histogram_series(labels, points):
    """One series of native histograms: (time, encoded histogram without its time)."""
    return field(1, label_fields(labels) + b"".join(field(4, body + field(15, ms)) for ms, body in points))


def exponential(schema, zero_threshold, zeros, counts, total, gauge=False, offset=-2):
    """An integer histogram with one positive span from `offset` on; `counts` are absolute."""
    deltas = [count - before for count, before in zip(counts, [0] + counts)]
    body = field(1, zeros + sum(counts)) + field(3, float(total)) + field(4, zigzag(schema))
    body += field(5, float(zero_threshold)) + field(6, zeros)
    body += field(11, field(1, zigzag(offset)) + field(2, len(counts)))
    body += field(12, b"".join(varint(zigzag(delta)) for delta in deltas))
    return body + (field(14, 3) if gauge else b"")


def custom(bounds, counts, total):
    """An integer histogram with custom bounds; `counts` has one more."""
    deltas = [count - before for count, before in zip(counts, [0] + counts)]
    body = field(1, sum(counts)) + field(3, float(total)) + field(4, zigzag(-53))
    body += field(11, field(1, zigzag(0)) + field(2, len(counts)))
    body += field(12, b"".join(varint(zigzag(delta)) for delta in deltas))
    return body + field(16, struct.pack(f"<{len(bounds)}d", *bounds))


def stale_histogram():
    return field(1, 0) + field(3, STALE) + field(4, zigzag(0)) + field(6, 0)


class Corpus:
    """Series over `hours` that end at `end_ms`."""

    def __init__(self, seed, hours, end_ms):
        self.rng = random.Random(seed)
        self.steps = hours * 3600_000 // SCRAPE_MS
        self.start_ms = end_ms - self.steps * SCRAPE_MS
        #: (labels, [(time, float)]) and (labels, [(time, encoded histogram)])
        self.floats, self.histograms = [], []
        targets = [{"job": job, "instance": f"{job}-{n}:9100"} for job in ("api", "db") for n in range(3)]
        for number, target in enumerate(targets):
            self.target(number, target)
        for number in range(12):
            self.churn(number)

    def scrapes(self, number):
        """Times of the scrapes of a target: jittered for some, with gaps."""
        jitter = 40 if number % 3 == 1 else 0
        interval = 2 if number % 3 == 2 else 1
        gaps = [self.rng.randrange(self.steps) for _ in range(4)]
        for step in range(0, self.steps, interval):
            if any(gap <= step < gap + 5 + 17 * index for index, gap in enumerate(gaps)):
                continue
            yield step, self.start_ms + step * SCRAPE_MS + number * 1000 + (self.rng.randrange(jitter) if jitter else 0)

    def target(self, number, target):
        rng = self.rng
        scrapes = list(self.scrapes(number))
        times = [ms for _, ms in scrapes]
        add = lambda name, values, **labels: self.floats.append(
            ({"__name__": name, **target, **labels}, list(zip(times, values)))
        )
        restarts = {rng.randrange(len(scrapes)) for _ in range(3)}
        for code in ("200", "404", "500"):
            for path in ("/", "/users"):
                add("requests_total", self.counter(scrapes, restarts, rng.choice([0.2, 5, 100])), code=code, path=path)
        add("up", [0.0 if rng.random() < 0.02 else 1.0 for _ in scrapes])
        add("start_time_seconds", [1.7e9 + number + (1000.0 if step > self.steps // 2 else 0) for step, _ in scrapes])
        add("build_info", [1.0] * len(scrapes), version=f"1.{number % 2}", revision=f"r{number}")
        add("target_info", [1.0] * len(scrapes), os=rng.choice(["linux", "bsd"]), host_name=f"host-{number % 4}")
        for room in ("a", "b", "é\"\\"):
            level = rng.uniform(-50, 50)
            values = []
            for step, _ in scrapes:
                level += rng.gauss(0, 1)
                odd = rng.random()
                values.append(math.nan if odd < 0.003 else math.inf if odd < 0.004 else round(level + 10 * math.sin(step / 50), 3))
            add("temperature", values, room=room)
        add("queue_length", [float(rng.randrange(5)) for _ in scrapes])
        self.classic(scrapes, restarts, target)
        self.native(number, scrapes, restarts, target)

    def counter(self, scrapes, restarts, rate):
        value = float(self.rng.randrange(1000))
        for index, _ in enumerate(scrapes):
            value = 0.0 if index in restarts else value + self.rng.randrange(int(rate * 15) + 2)
            yield value

    def classic(self, scrapes, restarts, target):
        rng = self.rng
        counts = [0] * len(BOUNDS)
        total, rows = 0.0, []
        for index, (_, ms) in enumerate(scrapes):
            if index in restarts:
                counts, total = [0] * len(BOUNDS), 0.0
            for _ in range(rng.randrange(6)):
                seen = rng.lognormvariate(-2, 1.5)
                total += seen
                for place, bound in enumerate(BOUNDS):
                    counts[place] += seen <= float(bound.replace("+Inf", "inf"))
            rows.append((ms, list(counts), round(total, 6)))
        for place, bound in enumerate(BOUNDS):
            labels = {"__name__": "latency_seconds_bucket", **target, "le": bound}
            self.floats.append((labels, [(ms, float(counts[place])) for ms, counts, _ in rows]))
        self.floats.append(({"__name__": "latency_seconds_count", **target}, [(ms, float(c[-1])) for ms, c, _ in rows]))
        self.floats.append(({"__name__": "latency_seconds_sum", **target}, [(ms, t) for ms, _, t in rows]))

    def native(self, number, scrapes, restarts, target):
        rng = self.rng
        schema = 1 if number % 2 else 2
        counts, zeros, total = [0] * 6, 0, 0.0
        exponentials, gauges, customs = [], [], []
        own = [0] * 4
        for index, (step, ms) in enumerate(scrapes):
            if index in restarts:
                counts, zeros, total, own = [0] * 6, 0, 0.0, [0] * 4
            # In the middle the layout changes: more buckets, and a coarser schema for some.
            if step > self.steps // 2 and len(counts) == 6:
                counts = counts + [0, 0]
            counts = [count + rng.randrange(4) for count in counts]
            zeros += rng.randrange(2)
            total += rng.uniform(0, 20)
            coarse = step > 2 * self.steps // 3 and number == 0
            exponentials.append((ms, exponential(0 if coarse else schema, 0.001, zeros, counts, round(total, 6))))
            gauges.append((ms, exponential(1, 0.001, rng.randrange(3), [rng.randrange(9) for _ in range(4)], rng.uniform(-5, 9), gauge=True)))
            own = [count + rng.randrange(3) for count in own]
            bounds = [0.1, 1.0, 10.0] if number != 5 or step < self.steps // 2 else [0.1, 2.0, 10.0]
            customs.append((ms, custom(bounds, own, round(total, 6))))
        self.histograms.append(({"__name__": "rpc_seconds", **target}, exponentials))
        self.histograms.append(({"__name__": "load_distribution", **target}, gauges))
        self.histograms.append(({"__name__": "nhcb_seconds", **target}, customs))

    def churn(self, number):
        """A pod that lives for a part of the time; its end is marked for every second one."""
        rng = self.rng
        first = rng.randrange(self.steps)
        last = min(self.steps - 1, first + rng.randrange(20, self.steps // 3))
        labels = {"job": "pods", "pod": f"pod-{number}", "instance": f"10.0.0.{number % 5}"}
        time_of = lambda step: self.start_ms + step * SCRAPE_MS + 500
        value, work = 0.0, []
        for step in range(first, last):
            value += rng.random() * 15
            work.append((time_of(step), round(value, 4)))
        memory = [(ms, float(rng.randrange(1 << 20, 1 << 30))) for ms, _ in work]
        if number % 2 == 0:
            work.append((time_of(last), STALE))
            memory.append((time_of(last), STALE))
        self.floats.append(({"__name__": "pod_cpu_seconds_total", **labels}, work))
        self.floats.append(({"__name__": "pod_memory_bytes", **labels}, memory))
        if number % 3 == 0:
            native = [(ms, exponential(2, 0.001, 1, [2 + i, 1, 0, 3 * i], 1.5 * i)) for i, (ms, _) in enumerate(work[:-1])]
            self.histograms.append(({"__name__": "rpc_seconds", **labels}, native + [(work[-1][0], stale_histogram())]))

    def requests(self, window_ms=1_200_000):
        """Bodies, in an order in which no sample is far behind the newest."""
        all_series = [(float_series_of, series) for series in self.floats] + [(histogram_series_of, s) for s in self.histograms]
        places = [0] * len(all_series)
        until = self.start_ms
        while any(place < len(series[1]) for place, (_, series) in zip(places, all_series)):
            until += window_ms
            body = []
            for number, (encode, (labels, points)) in enumerate(all_series):
                first = last = places[number]
                while last < len(points) and points[last][0] < until:
                    last += 1
                if last > first:
                    body.append(encode(labels, points[first:last]))
                places[number] = last
            if body:
                yield snappy(b"".join(body))


def float_series_of(labels, points):
    return float_series(labels, [ms for ms, _ in points], [value for _, value in points])


def histogram_series_of(labels, points):
    return histogram_series(labels, points)
