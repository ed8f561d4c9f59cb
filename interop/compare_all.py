"""Tidegate beside the OpenTelemetry Collector, Prometheus, VictoriaMetrics, Loki and Thanos at equal work, in one run:
`interop/run compare` runs every part and writes docs/performance.md; `interop/run compare PART…` renews only those
sections. Under 40 minutes on two cores.

Each part is a script of its own, run one after the other as a process with sizes that fit its time. What it prints is its
section; one that fails or takes too long says so in its section, and the rest goes on.

  COMPARE_PAGE     the page that is written (docs/performance.md)
  COMPARE_SMALL=1  smallest sizes, to see that every part works; the figures mean nothing
"""

import dataclasses
import os
import pathlib
import platform
import re
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import typing

import psutil
from compare_page import AMISS, Ratio, rebuilt, table, tables
from conftest import PEERS, ROOT, TARGET

HERE = pathlib.Path(__file__).resolve().parent
PAGE = pathlib.Path(os.environ.get("COMPARE_PAGE", ROOT / "docs" / "performance.md"))
IS_SMALL = os.environ.get("COMPARE_SMALL") == "1"
# The whole run ends after this long, whatever the parts do.
MINUTES_MAX = 39
# A part that needs so many times its usual time is ended.
PATIENCE = 1.5


@dataclasses.dataclass(frozen=True)
class Part:
    """A script and what is said about it."""

    name: str
    title: str
    script: str
    # Minutes that it usually takes.
    minutes: float
    peers: tuple[str, ...]
    # Sizes that fit these minutes, and the smallest ones.
    sizes: dict[str, str]
    small: dict[str, str]
    text: str
    # Lines of the summary from what it printed.
    summary: typing.Callable[[str], list[Ratio]]


def gateway_summary(text):
    found = table(text, "CPU-µs an item")
    ratios = []
    for kind, item in (("logs", "log record"), ("metrics", "data point")):
        ours, theirs = found.row(kind, "Tidegate"), found.row(kind, "otelcol")
        for what, column in ((f"CPU-µs of a {item}", "CPU-µs an item"), (f"peak memory in MiB, {kind}", "peak RSS")):
            what = f"{what}, stored durably beside forwarded"
            ratios.append(Ratio(what, "otelcol", found.at(ours, column), found.at(theirs, column)))
    return ratios


def forwarding_summary(text):
    found = table(text, "Tidegate CPU-µs")
    cells = [(found.at(row, "Tidegate CPU-µs"), found.at(row, "otelcol"), found.text(row, "signal")) for row in found.rows]
    middle = sorted(cells, key=lambda cell: cell[0] / cell[1])[len(cells) // 2]
    worst = max(cells, key=lambda cell: cell[0] / cell[1])
    ratios = [Ratio(f"forwarding, CPU of an item, the middle of {len(cells)}: {middle[2]}", "otelcol", *middle[:2]),
              Ratio(f"forwarding, CPU of an item, the worst: {worst[2]}", "otelcol", *worst[:2])]
    memory = [row[found.place("peak RSS")].split(",") for row in found.rows]
    ours, theirs = (statistics.median(float(pair[side]) for pair in memory) for side in (0, 1))
    return [*ratios, Ratio("forwarding, peak memory in MiB, median", "otelcol", ours, theirs)]


def metrics_summary(text):
    found = table(text, "CPU-µs a sample")
    ratios = []
    for row in found.rows:
        protocol, peer_name = row[found.place("protocol")], row[found.place("program")]
        if peer_name == "Tidegate":
            continue
        ours = found.row(protocol, "Tidegate")
        for what, column in (("CPU of a sample", "CPU-µs a sample"), ("peak memory, MiB", "peak RSS"),
                             ("bytes of a sample in a block", "block"), ("s until ready after kill -9", "ready")):
            # Blocks and starts are the same whatever the protocol was; Thanos' receiver shows neither.
            if column in ("block", "ready") and (not protocol.endswith("write 1") or peer_name.startswith("Thanos")):
                continue
            ratios.append(Ratio(f"{protocol}, {what}", peer_name, found.at(ours, column), found.at(row, column)))
    return ratios


def promql_summary(text):
    found = table(text, "tidegate CPU-ms")
    total, = [row for row in found.rows if row[0] == "sum"]
    queries = [row for row in found.rows if row[0] != "sum"]
    ratios = []
    names = {"prometheus": "Prometheus", "victoria-metrics": "VictoriaMetrics"}
    for name, shown in names.items():
        if not any(column.startswith(f"{name} CPU-ms") for column in found.columns):
            continue
        ours, theirs = "tidegate CPU-ms", f"{name} CPU-ms"
        ratios.append(Ratio(f"PromQL, CPU-ms of {len(queries)} queries", shown, found.at(total, ours), found.at(total, theirs)))
        worst = max(queries, key=lambda row: found.at(row, ours) / max(found.at(row, theirs), 1e-9))
        ratios.append(Ratio(f"PromQL, CPU-ms of the worst: {worst[0]}", shown, found.at(worst, ours), found.at(worst, theirs)))
    return ratios


def logs_summary(text):
    stored, asked = table(text, "push, CPU-s/GB"), table(text, "query over")
    ours, loki = stored.row("tidegate"), stored.row("loki")
    # Both write files while they are pushed to, one more than the other, so that only the sum says what a GB costs.
    spent = lambda row: sum(stored.at(row, column) for column in ("push, CPU", "to files"))
    ratios = [Ratio("logs, pushed and in files, CPU-s a GB", "Loki", spent(ours), spent(loki))]
    ratios += [Ratio(f"logs, {what}", "Loki", stored.at(ours, column), stored.at(loki, column)) for what, column in (
        ("peak memory, MiB", "peak RSS"), ("bytes on disk by raw byte", "on disk"))]
    # Wall time, then CPU in brackets.
    cpu = lambda row, name: float(re.search(r"\(([\d.,]+)\)", asked.text(row, name))[1].replace(",", ""))
    # Times of answers that are not the same say nothing beside each other.
    same = [row for row in asked.rows if "answers differ" not in row[-1]]
    pairs = [(cpu(row, "tidegate"), cpu(row, "loki"), row[0]) for row in same]
    worst = max(pairs, key=lambda pair: pair[0] / pair[1])
    ratios.append(Ratio(f"LogQL, CPU-ms of {len(pairs)} queries", "Loki", *(sum(pair[side] for pair in pairs) for side in (0, 1))))
    return [*ratios, Ratio(f"LogQL, CPU-ms of the worst: {worst[2]}", "Loki", *worst[:2])]


def store_summary(text):
    asked, started = table(text, "tidegate CPU-ms"), table(text, "ready after")
    total, = [row for row in asked.rows if row[0] == "sum"]
    queries = [row for row in asked.rows if row[0] != "sum"]
    both = lambda row: (asked.at(row, "tidegate CPU-ms"), asked.at(row, "thanos CPU-ms"))
    worst = max(queries, key=lambda row: both(row)[0] / max(both(row)[1], 1e-9))
    ours, theirs = started.row("tidegate"), started.row("thanos")
    ratios = [Ratio(f"PromQL over a bucket, CPU-ms of {len(queries)} queries", "Thanos", *both(total)),
              Ratio(f"PromQL over a bucket, CPU-ms of the worst: {worst[0]}", "Thanos", *both(worst))]
    return ratios + [Ratio(f"PromQL over a bucket, {what}", "Thanos", started.at(ours, column), started.at(theirs, column))
                     for what, column in (("CPU-s until ready", "CPU until ready"), ("peak memory, MiB", "peak RSS"))]


def compaction_summary(text):
    found = table(text, "CPU s")
    ours, theirs = found.row("tidegate"), found.row("thanos")
    return [Ratio(f"compaction of a bucket, {what}", "Thanos", found.at(ours, column), found.at(theirs, column))
            for what, column in (("CPU-s", "CPU s"), ("wall s", "wall s"), ("peak memory, MiB", "peak MiB"),
                                 ("MiB written", "MiB written"))]


PARTS = [
    Part("gateway", "Taking OTLP, beside the Collector", "compare_gateway.py", 2, ("otelcol",),
         {"COMPARE_REPEAT": "2", "COMPARE_SECONDS": "10"}, {"COMPARE_REPEAT": "1", "COMPARE_SECONDS": "2"},
         "Tidegate stores durably, with fsync, and writes files; the Collector (memory_limiter, batch) forwards the same load "
         "to a sink that throws it away, so that ours is the harder work. OTLP/gRPC without compression, 1000 items a request, "
         "100 k log records/s of about 600 bytes and 200 k points/s over 100 k series. CPU from the start to the orderly end.",
         gateway_summary),
    Part("forwarding", "Forwarding OTLP, beside the Collector", "forwarding.py", 4, ("otelcol",),
         {"FORWARDING_REPEAT": "1", "FORWARDING_SECONDS": "5"},
         {"FORWARDING_REPEAT": "1", "FORWARDING_SECONDS": "1", "FORWARDING_ONLY": "logs grpc"},
         "The same config for both: OTLP in, memory_limiter and batch, OTLP out by the same protocol to a sink that throws "
         "everything away; 1000 items a request, 100 k log records, 200 k points or 60 k spans a second. CPU from ready until "
         "the orderly end.",
         forwarding_summary),
    Part("metrics", "Storing metrics and starting again, beside Prometheus, VictoriaMetrics and Thanos", "bench_tsdb.py", 7,
         ("prometheus", "victoria-metrics", "thanos"), {"BENCH_SERIES": "109440", "BENCH_ROUNDS": "240"},
         {"BENCH_SERIES": "4000", "BENCH_ROUNDS": "20"},
         "Series of 10 labels with a sample every 15 s, the same bytes to each over four connections as fast as it takes them. "
         "CPU while it takes them; memory of a series is what the process grew by. VictoriaMetrics is Debian's, which takes "
         "neither remote write 2 nor OTLP; it has no log: what it had not written is lost by kill -9. `thanos receive` stands alone "
         "and answers no queries, so its start ends when it says that it is ready.",
         metrics_summary),
    Part("promql", "PromQL, beside Prometheus", "compare_promql.py", 5, ("prometheus", "victoria-metrics"),
         {"COMPARE_PODS": "374", "COMPARE_HOURS": "26"}, {"COMPARE_PODS": "4", "COMPARE_HOURS": "3"},
         "Both read the same blocks, a snapshot of ours. CPU of one query over HTTP, JSON and gzip included, wall time in "
         "brackets; every answer is compared, to 1e-9.",
         promql_summary),
    Part("logs", "Logs, beside Loki", "compare_logs.py", 8, ("loki",), {"LOGS_MB": "1000"}, {"LOGS_MB": "10"},
         "One seeded corpus (access logs, JSON, logfmt, stack traces, random ids) pushed to both as protobuf, each with its "
         "defaults, so that Tidegate waits for an fsync a push; then both write everything to files, and queries over all of "
         "it, warm, answers compared.",
         logs_summary),
    Part("compaction", "Compaction of a bucket, beside Thanos", "compact.py", 3, ("thanos",),
         {"INTEROP_COMPACT_DAYS": "7", "INTEROP_COMPACT_SERIES": "700"},
         {"INTEROP_COMPACT_DAYS": "3", "INTEROP_COMPACT_SERIES": "20", "INTEROP_COMPACT_STEP": "60"},
         "Copies of one bucket: blocks of two replicas of the same series, compacted, deduplicated and downsampled to the "
         "end; then all samples and windows of both are compared.",
         compaction_summary),
    Part("store", "PromQL over a bucket, beside Thanos", "compare_store.py", 3, ("thanos",),
         {"STORE_DAYS": "7", "STORE_SERIES": "700"}, {"STORE_DAYS": "3", "STORE_SERIES": "40"},
         "One bucket for both, compacted and downsampled by `thanos compact`: a store gateway of ours, which answers PromQL by "
         "itself, beside `thanos store` with `thanos query`, whose figures are added. Replicas are deduplicated, each has its "
         "defaults, every answer is compared, to 1e-9.",
         store_summary),
]


def version(name):
    """What a peer says it is."""
    kept = PEERS / f"{name}.version"
    if kept.exists():
        return f"{name} {kept.read_text().strip().removeprefix('v')}"
    done = subprocess.run([PEERS / name, "--version"], capture_output=True, text=True, timeout=30, check=False)
    text = (done.stdout + done.stderr).strip().splitlines()
    found = re.search(r"v?(\d+\.\d+[\w.+~-]*)", text[0] if text else "")
    if not found:
        return f"{name} (version unknown)"
    # As a Go module Prometheus 3.15.0 is v0.315.0.
    as_module = re.fullmatch(r"0\.(\d)(\d\d)\.(\d+)", found[1]) if name == "prometheus" else None
    return f"{name} {'.'.join(str(int(part)) for part in as_module.groups()) if as_module else found[1]}"


def machine():
    name = next((row.split(":")[1].strip() for row in open("/proc/cpuinfo") if row.startswith("model name")), platform.machine())
    return f"{psutil.cpu_count()} cores ({name}), {psutil.virtual_memory().total / 2**30:.0f} GiB, Linux {platform.release()}"


def ours():
    done = subprocess.run([TARGET / "tidegate", "--version"], capture_output=True, text=True, timeout=30, check=False)
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return f"{done.stdout.strip()} at commit {commit.stdout.strip() or 'unknown'}"


def end(child):
    """Ends the part and every program that it started: they are one session."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, how)
        except ProcessLookupError:
            return
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            continue


def run(part, seconds):
    """Runs a part; its section, and what went wrong with it if anything did."""
    sizes = part.small if IS_SMALL else part.sizes
    load, at, began = os.getloadavg()[0], time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"tidegate-compare-{part.name}-", ignore_cleanup_errors=True) as folder:
        printed, errors = pathlib.Path(folder) / "printed", pathlib.Path(folder) / "errors"
        with open(printed, "wb") as out, open(errors, "wb") as err:
            child = subprocess.Popen([sys.executable, HERE / part.script], stdout=out, stderr=err, cwd=ROOT, start_new_session=True,
                                     env={**os.environ, **sizes, "TMPDIR": folder, "PYTHONUNBUFFERED": "1"})
            try:
                code = child.wait(seconds)
                fault = None if code == 0 else f"`{part.script}` ended with exit code {code}"
            except subprocess.TimeoutExpired:
                fault = f"`{part.script}` did not end within {seconds:.0f} s"
            finally:
                end(child)
        text, wrong = printed.read_text(errors="replace").strip(), errors.read_text(errors="replace").strip()
    took = time.monotonic() - began
    command = " ".join(f"{name}={shlex.quote(value)}" for name, value in sizes.items()) + f" interop/run {pathlib.Path(part.script).stem}"
    lines = [f"## {part.title}\n", f"{part.text}\n",
             f"`interop/run compare {part.name}` (`{command}`), {at}, {took / 60:.1f} minutes; {ours()}, "
             f"{', '.join(version(name) for name in part.peers)}; {machine()}, load before {load:.1f}.\n"]
    if fault:
        lines.append(f"**{'This part failed' if not tables(text) else AMISS}**: {fault}.\n")
        if wrong:
            lines.append("```text\n" + "\n".join(wrong.splitlines()[-12:]).replace("```", "'''") + "\n```\n")
        print(f"{part.name}: {fault}\n{wrong[-2000:]}", file=sys.stderr, flush=True)
    lines.append(text + "\n")
    return "\n".join(lines), fault


def main():
    known = [part.name for part in PARTS]
    asked = sys.argv[1:]
    if unknown := [name for name in asked if name not in known]:
        print(f"no part is called {', '.join(unknown)}; have {', '.join(known)}", file=sys.stderr)
        return 2
    chosen = [part for part in PARTS if not asked or part.name in asked]
    deadline = time.monotonic() + MINUTES_MAX * 60
    failed = []
    for part in chosen:
        seconds = min(part.minutes * 60 * PATIENCE, deadline - time.monotonic())
        print(f"{part.name}: about {part.minutes:g} minutes", file=sys.stderr, flush=True)
        began = time.monotonic()
        section, fault = run(part, max(seconds, 1))
        print(f"{part.name}: took {(time.monotonic() - began) / 60:.1f} minutes", file=sys.stderr, flush=True)
        page = PAGE.read_text() if PAGE.exists() else ""
        summaries = {one.name: one.summary for one in PARTS}
        # After each part, so that what is measured is kept whatever happens next.
        PAGE.write_text(rebuilt(page, known, {part.name: section}, summaries))
        if fault:
            failed.append(part.name)
    print(f"{PAGE} is written" + (f"; failed: {', '.join(failed)}" if failed else ""), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
