"""Ingest, disk and queries of logs beside a real Loki, in one run: `interop/run compare_logs` prints Markdown tables.

One seeded corpus in time order: access logs, JSON, logfmt, stack traces, random ids, 500 streams over 6 h, pushed to
both as Loki's protobuf with snappy in requests of about 1 MiB. Loki has its defaults (write-ahead log on, chunks of
gzip, TSDB index) with its limits out of the way; Tidegate has its own, so each push waits for an fsync. CPU is user and
system time of the whole process; after the pushes both are told to write everything to files, which is a figure of its
own. Queries run over all 6 h, each a few times; answers are compared before the figures count.

LOGS_MB sets the bytes of lines (200; 1000 for the published table), LOGS_KEEP a folder that keeps Loki's and our data.
`section` is the same for other programs.
"""

import json
import math
import os
import pathlib
import random
import statistics
import sys
import tempfile
import time

import cramjam
import psutil
import requests
from conftest import Process, Tidegate, free_port, peer, wait_until

SEED = 7
STREAMS = 500
HOURS = 6
SECOND = 10**9
REQUEST_BYTES = 1 << 20
EVERYTHING = '{namespace=~".+"}'

LEVELS = ["info", "info", "info", "warn", "error", "debug"]
KINDS = ["access", "json", "logfmt", "trace", "ids"]
METHODS = ["GET", "GET", "GET", "POST", "PUT", "DELETE"]
STATUSES = [200, 200, 200, 200, 201, 204, 301, 304, 400, 401, 404, 404, 500, 502, 503]
PATHS = ["/", "/api/v1/users", "/api/v1/orders", "/api/v2/search", "/static/app.js", "/healthz", "/login", "/cart/checkout"]
AGENTS = ["Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "curl/8.14.1", "okhttp/4.12.0", "kube-probe/1.33"]
WORDS = ["connection", "timeout", "accepted", "closed", "request", "retry", "cache", "miss", "hit", "shard", "leader", "elected", "flush",
         "segment", "compaction", "finished", "started", "slow", "query", "payment", "declined", "session", "expired", "renewed"]


def access(rng, at, level):
    return (f'{rng.randrange(1, 255)}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)} - - '
            f'[{time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(at // SECOND))}] "{rng.choice(METHODS)} {rng.choice(PATHS)}?id={rng.getrandbits(32)} '
            f'HTTP/1.1" {rng.choice(STATUSES)} {rng.randrange(100, 99999)} "-" "{rng.choice(AGENTS)}" {rng.randrange(1, 3000) / 1000}')


def json_line(rng, at, level):
    return (f'{{"ts":"{at}","level":"{level}","msg":"{rng.choice(WORDS)} {rng.choice(WORDS)} {rng.choice(WORDS)}","method":"{rng.choice(METHODS)}",'
            f'"path":"{rng.choice(PATHS)}","status":{rng.choice(STATUSES)},"duration_ms":{rng.randrange(1, 5000)},"bytes":{rng.randrange(100000)},'
            f'"trace_id":"{rng.getrandbits(128):032x}","user":{{"id":{rng.randrange(100000)},"plan":"{rng.choice(["free", "pro"])}"}}}}')


def logfmt(rng, at, level):
    return (f'ts={at // 1000000} level={level} caller=server.go:{rng.randrange(900)} msg="{rng.choice(WORDS)} {rng.choice(WORDS)}" component={rng.choice(WORDS)} '
            f'took={rng.randrange(1, 9000) / 10}ms rows={rng.randrange(10000)} request_id={rng.getrandbits(64):016x}')


def trace(rng, at, level):
    frames = "".join(f"\n\tat com.example.{rng.choice(WORDS)}.{rng.choice(WORDS).title()}Service.{rng.choice(WORDS)}({rng.choice(WORDS).title()}.java:{rng.randrange(900)})"
                     for _ in range(rng.randrange(2, 9)))
    return f"{level.upper()} java.lang.IllegalStateException: {rng.choice(WORDS)} {rng.choice(WORDS)} {rng.randrange(10**6)}{frames}"


def ids(rng, at, level):
    return f"{level} span={rng.getrandbits(64):016x} trace={rng.getrandbits(128):032x} {rng.choice(WORDS)} {rng.choice(WORDS)} worker-{rng.randrange(64)}"


MAKERS = {"access": access, "json": json_line, "logfmt": logfmt, "trace": trace, "ids": ids}


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, payload):
    return bytes([number << 3 | 2]) + varint(len(payload)) + payload


def make(folder, end_ns, megabytes):
    """Writes the requests to `folder`; gives their number, the lines, their bytes, and texts to look for."""
    rng = random.Random(SEED)
    streams = []
    for number in range(STREAMS):
        kind, level = KINDS[number % 5], LEVELS[number // 5 % 6]
        labels = (f'{{app="app-{number % 50}", kind="{kind}", level="{level}", namespace="ns-{number % 20}", pod="pod-{number:03d}", '
                  f'service_name="app-{number % 50}"}}')
        streams.append((kind, level, field(1, labels.encode())))
    weights = [1 / (1 + number % 37) for number in range(STREAMS)]
    start_ns = end_ns - HOURS * 3600 * SECOND
    total, lines, count = megabytes * 10**6, 0, 0
    made, texts = 0, {}
    span, at = HOURS * 3600 * SECOND, start_ns
    while made < total:
        batch, size = {}, 0
        for stream in rng.choices(range(STREAMS), weights, k=4000):
            at = start_ns + span * made // total
            kind, level, _ = streams[stream]
            line = MAKERS[kind](rng, at, level)
            if lines == total // 700:
                line += " ZebraFish sighted"
            if lines % 40009 == 17:
                line += " quetzalcoatl"
            if kind == "ids" and lines > total // 600 and "id" not in texts:
                texts["id"] = line.split("trace=")[1].split(" ")[0]
            line = line.encode()
            stamp = bytes([8]) + varint(at // SECOND) + bytes([16]) + varint(at % SECOND)
            batch.setdefault(stream, []).append(field(2, field(1, stamp) + field(2, line)))
            lines += 1
            made += len(line)
            size += len(line)
            if size >= REQUEST_BYTES or made >= total:
                break
        request = b"".join(field(1, streams[stream][2] + b"".join(entries)) for stream, entries in batch.items())
        (folder / f"{count:06d}").write_bytes(bytes(cramjam.snappy.compress_raw(request)))
        count += 1
    return {"requests": count, "lines": lines, "bytes": made, "start": start_ns, "end": at + 1, **texts}


class Ours(Tidegate):
    """Tidegate with the parts that the comparison asks for."""

    def __init__(self, folder):
        super().__init__(folder)
        self.data, self.folders = folder / "tidegate-data" / "logs", ["data"]

    def flush(self):
        """Has everything written to files."""
        requests.post(self.loki_url("/flush"), timeout=300)


class Loki(Process):
    """A real Loki with its defaults, its limits out of the way."""

    def __init__(self, folder):
        self.http, grpc = free_port(), free_port()
        self.data, self.folders = folder / "loki-data", ["chunks", "tsdb-shipper-active", "tsdb-shipper-cache", "index", "index_cache"]
        config = folder / "loki.yaml"
        config.write_text(
            f"""auth_enabled: false
server: {{http_listen_port: {self.http}, http_listen_address: 127.0.0.1, grpc_listen_port: {grpc}, grpc_listen_address: 127.0.0.1, log_level: error,
  grpc_server_max_recv_msg_size: 104857600, grpc_server_max_send_msg_size: 104857600}}
common:
  instance_addr: 127.0.0.1
  path_prefix: {self.data}
  storage: {{filesystem: {{chunks_directory: {self.data}/chunks, rules_directory: {self.data}/rules}}}}
  replication_factor: 1
  ring: {{kvstore: {{store: inmemory}}}}
schema_config:
  configs: [{{from: 2020-01-01, store: tsdb, object_store: filesystem, schema: v13, index: {{prefix: index_, period: 24h}}}}]
limits_config: {{reject_old_samples: false, ingestion_rate_mb: 1000, ingestion_burst_size_mb: 1000, per_stream_rate_limit: 1GB,
  per_stream_rate_limit_burst: 1GB, max_query_series: 100000, shard_streams: {{enabled: false}}}}
analytics: {{reporting_enabled: false}}
pattern_ingester: {{enabled: false}}
ingester: {{lifecycler: {{min_ready_duration: 0s}}}}
"""
        )
        super().__init__("loki", [peer("loki"), f"-config.file={config}"], folder)

    def loki_url(self, path=""):
        return f"http://127.0.0.1:{self.http}{path}"

    def start(self):
        super().start()
        return self.wait_ready(self.loki_url("/ready"), 90)

    def flush(self):
        """Has everything written to chunks: its own queries ask ingesters only for the last three hours."""
        requests.post(self.loki_url("/flush"), timeout=300)
        waits = "loki_ingester_flush_queue_length 0\n"
        wait_until(lambda: waits in requests.get(self.loki_url("/metrics"), timeout=60).text, "an empty flush queue", 300)


def cpu(process):
    times = psutil.Process(process.child.pid).cpu_times()
    return times.user + times.system


def disk(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def settle(process):
    """Waits until the process rests; gives the CPU time until then."""
    begin, quiet, last = cpu(process), 0, cpu(process)
    while quiet < 4:
        time.sleep(1)
        now = cpu(process)
        quiet = quiet + 1 if now - last < 0.05 else 0
        last = now
    return last - begin


def ingest(process, folder, corpus):
    """CPU-s of pushing, of writing to files after it, and the highest resident size."""
    session, watched = requests.Session(), psutil.Process(process.child.pid)
    headers = {"Content-Type": "application/x-protobuf"}
    before, began, peak = cpu(process), time.monotonic(), 0
    for number in range(corpus["requests"]):
        body = (folder / f"{number:06d}").read_bytes()
        while True:
            answer = session.post(process.loki_url("/loki/api/v1/push"), data=body, headers=headers, timeout=120)
            if answer.status_code not in (429, 503):
                break
            time.sleep(0.1)
        assert answer.status_code == 204, answer.text[:500]
        peak = max(peak, watched.memory_info().rss)
    pushed, wall = cpu(process) - before, time.monotonic() - began
    process.flush()
    settled = settle(process)
    return pushed, settled, max(peak, watched.memory_info().rss), wall


def query_list(corpus):
    """Name, share of Loki's CPU that is aimed at, query, and step in seconds (None for lines)."""
    everything, id = EVERYTHING, corpus["id"]
    return [
        ("unique id, whole word", 1 / 50, f'{everything} |= "{id}"', None),
        ("part of a word", 1 / 50, f'{everything} |= "{id[5:21]}"', None),
        ("case-insensitive rare word", 1 / 50, f'{everything} |~ "(?i)zebrafish"', None),
        ("text that is not there", 1 / 50, f'{everything} |= "xylophonequartz"', None),
        ("rare word inside two labels", 1 / 50, '{namespace="ns-17", kind="logfmt"} |= "quetzalcoatl"', None),
        ("count of all lines by minute", 1 / 100, f"sum(count_over_time({everything}[1m]))", 60),
        ("rate by level label", 1 / 100, f"sum by (level) (rate({everything}[5m]))", 300),
        ("bytes by namespace", 1 / 100, f"sum by (namespace) (bytes_over_time({everything}[5m]))", 300),
        ("count of a rare word by app", 1 / 3, f'sum by (app) (count_over_time({everything} |= "quetzalcoatl" [5m]))', 300),
        ("count of a common word by app", 1 / 3, f'sum by (app) (count_over_time({everything} |= "timeout" [5m]))', 300),
        ("json filter", 1 / 3, '{kind="json"} | json | status=503 | user_plan="pro" | duration_ms>4900', None),
        ("json, count by status", 1 / 3, 'sum by (status) (count_over_time({kind="json"} | json [5m]))', 300),
        ("logfmt, count by component", 1 / 3, 'sum by (component) (count_over_time({kind="logfmt"} | logfmt [5m]))', 300),
        ("pattern, count by status", 1 / 3,
         'sum by (status) (count_over_time({kind="access"} | pattern `<_> - - [<_>] "<method> <_> <_>" <status> <_>` [5m]))', 300),
        ("unwrap, topk", 1 / 3, 'topk(5, sum by (pod) (sum_over_time({kind="json"} | json | unwrap bytes [5m])))', 300),
        ("unwrap, quantile", 1 / 3, 'quantile_over_time(0.99, {kind="logfmt"} | logfmt | unwrap duration(took) [5m]) by (app)', 300),
    ]


def ask(process, query, step, corpus):
    minute = 60 * SECOND
    parameters = {"query": query, "start": corpus["start"] // minute * minute, "end": corpus["end"] // minute * minute + minute, "limit": 1000}
    if step:
        parameters["step"] = step
    answer = requests.get(process.loki_url("/loki/api/v1/query_range"), params=parameters, timeout=300)
    assert answer.status_code == 200, f"{process.name}: {query}: {answer.text[:500]}"
    return answer.json()["data"]


def comparable(data):
    """The answer in a form in which two equal ones are equal."""
    if data["resultType"] == "streams":
        return sorted((value[0], value[1]) for stream in data["result"] for value in stream["values"])
    rows = {json.dumps(one["metric"], sort_keys=True): one["values"] for one in data["result"]}
    return sorted((labels, at, float(f"{float(value):.9g}")) for labels, values in rows.items() for at, value in values)


def measure(process, query, step, corpus):
    """CPU-ms and wall ms of a query, and its answer."""
    data = ask(process, query, step, corpus)
    walls, begin, runs = [], cpu(process), 0
    while runs < 3 or (runs < 30 and cpu(process) - begin < 0.4):
        at = time.monotonic()
        ask(process, query, step, corpus)
        walls.append((time.monotonic() - at) * 1000)
        runs += 1
        if sum(walls) > 12_000:
            break
    return (cpu(process) - begin) * 1000 / runs, statistics.median(walls), comparable(data)


def settled_bytes(process):
    """Bytes of what queries read: write-ahead logs aside."""
    return sum(disk(process.data / folder) for folder in process.folders)


def section(megabytes, keep=None, only_ours=False, say=lambda row: print(row, flush=True)):
    """Runs the whole; gives the tables as Markdown, of which `say` gets each row when it is known."""
    rows = []

    def add(row):
        rows.append(row)
        say(row)

    with tempfile.TemporaryDirectory(prefix="compare-logs-") as name:
        folder = pathlib.Path(keep or name)
        requests_folder = pathlib.Path(name) / "requests"
        requests_folder.mkdir()
        # Older than what Loki asks its ingesters for: where that begins, it leaves lines out now and then, other ones each time.
        corpus = make(requests_folder, (time.time_ns() // (3600 * SECOND) - 4) * 3600 * SECOND, megabytes)
        ours = Ours(folder).start()
        both = [ours] if only_ours else [ours, Loki(folder).start()]
        try:
            differing = report(both, requests_folder, corpus, add)
        finally:
            for process in both:
                process.kill()
    return "\n".join(rows) + "\n", differing


def report(both, requests_folder, corpus, add):
    """Adds the tables; names of the queries whose answers differ."""
    differing = []
    gigabytes = corpus["bytes"] / 1e9
    machine = next((row.split(":")[1].strip() for row in open("/proc/cpuinfo") if row.startswith("model name")), "?")
    add(f"{time.strftime('%Y-%m-%d')}, {psutil.cpu_count()} cores ({machine}); {corpus['lines']:,} lines, {gigabytes:.2f} GB, "
        f"{STREAMS} streams, {HOURS} h, {corpus['requests']} requests\n")
    add("| | push, CPU-s/GB | to files, CPU-s/GB | wall, s | peak RSS, MiB | on disk per raw byte |\n|---|---|---|---|---|---|")
    for process in both:
        pushed, settled, peak, wall = ingest(process, requests_folder, corpus)
        add(f"| {process.name} | {pushed / gigabytes:.1f} | {settled / gigabytes:.1f} | {wall:.0f} | {peak / 2**20:.0f} "
            f"| {settled_bytes(process) / corpus['bytes']:.3f} |")
    add("\n| query over all 6 h | " + " | ".join(f"{process.name}, ms (CPU-ms)" for process in both) + " | share | aim | |\n|---|" + "---|" * (len(both) + 3))
    for name, aim, query, step in query_list(corpus):
        figures = [measure(process, query, step, corpus) for process in both]
        row = " | ".join(f"{wall:.1f} ({used:.1f})" for used, wall, _ in figures)
        answers = [answer for _, _, answer in figures]
        share = figures[0][0] / figures[-1][0]
        verdict = "ok" if share <= aim else "MISSED"
        if answers[0] != answers[-1]:
            differing.append(name)
            different = sorted(set(answers[0]) ^ set(answers[-1]), key=str)
            verdict += f", answers differ: {len(answers[0])} and {len(answers[-1])}, {len(different)} in one only, first {different[:2]}"
        add(f"| {name} | {row} | 1/{1 / share if share else math.inf:.0f} | 1/{1 / aim:.0f} | {verdict} |")
    return differing


if __name__ == "__main__":
    _, wrong = section(int(os.environ.get("LOGS_MB", "200")), os.environ.get("LOGS_KEEP"), os.environ.get("LOGS_ONLY_OURS") == "1")
    sys.exit(f"answers differ: {', '.join(wrong)}" if wrong else 0)
