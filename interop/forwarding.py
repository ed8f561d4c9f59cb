"""CPU of forwarding beside a real Collector, in one run: `interop/run forwarding` prints a Markdown table.

Equal work from the same config: OTLP in, memory_limiter and batch, OTLP out by the same protocol to a sink that throws
everything away. Cells are signal × protocol × compression in and out. Each program takes the same seeded load from the
same load tester; CPU is user and system time of the process from when it is ready until it has ended in order, so that
everything it took is delivered. The two take turns. Other scripts call `cell`.
"""

import dataclasses
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import psutil
import yaml
from conftest import TARGET, Process, Tidegate, free_port, loadtest, peer

REPEAT = int(os.environ.get("FORWARDING_REPEAT", "2"))
SECONDS = float(os.environ.get("FORWARDING_SECONDS", "6"))
# Only cells whose name contains this, such as "logs grpc".
ONLY = os.environ.get("FORWARDING_ONLY", "")
RATE = {"logs": 100_000, "metrics": 200_000, "traces": 60_000}
COMPRESSIONS = (("none", "none"), ("gzip", "none"), ("gzip", "gzip"))
# CPU of ours by that of the Collector, at most.
RATIO_MAX = {("none", "none"): 1 / 3, ("gzip", "none"): 1 / 3, ("gzip", "gzip"): 1 / 2}


@dataclasses.dataclass(frozen=True)
class Cell:
    """What is sent how."""

    signal: str
    protocol: str
    taken: str
    sent: str

    @property
    def name(self):
        return f"{self.signal} {self.protocol} {self.taken}→{self.sent}"


# Each program waits for full batches: enough requests in flight to fill several.
CONNECTIONS = 32
CELLS = [Cell(signal, protocol, *pair) for signal in RATE for protocol in ("grpc", "http") for pair in COMPRESSIONS]


class Forwarder(Process):
    """One of the two programs, with memory_limiter and batch, in front of a sink."""

    def __init__(self, folder, name, program, cell, sink, own=None, processors=None, exporter=None):
        self.port, self.health = free_port(), free_port()
        protocol = {"endpoint": f"127.0.0.1:{self.port}"}
        if cell.protocol == "grpc":
            kind, to = "otlp", {"endpoint": f"127.0.0.1:{sink.grpc}", "tls": {"insecure": True}}
            protocol["max_recv_msg_size_mib"] = 64
        else:
            kind, to = "otlphttp", {"endpoint": f"http://127.0.0.1:{sink.http}"}
        processors = processors or {"memory_limiter": {"check_interval": "1s", "limit_mib": 2048}, "batch": {}}
        pipeline = {"receivers": ["otlp"], "processors": list(processors), "exporters": [kind]}
        config = {
            "receivers": {"otlp": {"protocols": {cell.protocol: protocol}}},
            "processors": processors,
            "exporters": {kind: to | {"compression": cell.sent} | (exporter or {})},
            "extensions": {"health_check": {"endpoint": f"127.0.0.1:{self.health}"}},
            "service": {
                "extensions": ["health_check"],
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {cell.signal: pipeline},
            },
        } | (own or {})
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config))
        super().__init__(name, [program, "--config", path], folder)

    def start(self):
        super().start()
        return self.wait_ready(f"http://127.0.0.1:{self.health}/")


def ours(folder, cell, sink, **more):
    """Tidegate as a forwarder."""
    own = {
        "server": {"prometheus": {"endpoint": ""}, "loki": {"endpoint": ""}},
        "storage": {"directory": str(folder / "tidegate-data")},
    }
    return Forwarder(folder, "tidegate", TARGET / "tidegate", cell, sink, own=own, **more)


def theirs(folder, cell, sink, **more):
    """The Collector as a forwarder."""
    return Forwarder(folder, "otelcol", peer("otelcol"), cell, sink, **more)


class Usage:
    """CPU and peak memory of a process from now on, also of one that ends meanwhile."""

    def __init__(self, pid):
        self.watched, self.done = psutil.Process(pid), threading.Event()
        self.before = self.cpu = self.seconds()
        self.peak = 0
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()

    def seconds(self):
        times = self.watched.cpu_times()
        return times.user + times.system

    def watch(self):
        while not self.done.wait(0.02):
            try:
                self.cpu, memory = self.seconds(), self.watched.memory_info()
            except psutil.Error:
                return
            self.peak = max(self.peak, memory.rss)

    def end(self):
        """CPU seconds, and peak resident MiB."""
        self.done.set()
        self.watcher.join()
        return self.cpu - self.before, self.peak / 2**20


def cell(make, of):
    """CPU-µs for each acknowledged item, peak resident MiB and items of one run of `make` (`ours` or `theirs`)."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        sink = Tidegate(folder, name="sink", metrics=["nop"], logs=["nop"], traces=["nop"]).start()
        forwarder = make(folder, of, sink).start()
        try:
            usage = Usage(forwarder.child.pid)
            report = loadtest("--signal", of.signal, "--transport", of.protocol, "--compression", of.taken,
                              "--endpoint", f"http://127.0.0.1:{forwarder.port}", "--rate", RATE[of.signal],
                              "--duration", f"{SECONDS}s", "--connections", CONNECTIONS, "--series", 20_000)
            forwarder.stop(60)
            cpu, peak = usage.end()
        finally:
            forwarder.kill()
            sink.kill()
        assert report["refused_requests"] == 0 and report["rejected"] == 0, report
        return cpu * 1e6 / report["acked"], peak, report["acked"]


def main():
    version = subprocess.run([peer("otelcol"), "--version"], capture_output=True, text=True, check=True).stdout.strip()
    cpu = next((row.split(":")[1].strip() for row in open("/proc/cpuinfo") if row.startswith("model name")), "?")
    load = os.getloadavg()[0]
    print(f"{time.strftime('%Y-%m-%d')}, {psutil.cpu_count()} cores ({cpu}), {version}, {REPEAT} runs of {SECONDS:g} s, "
          f"median; load of the machine before the run {load:.1f}\n")
    print("| signal, protocol, compression in→out | Tidegate CPU-µs an item | otelcol | ratio | at most | peak RSS MiB |")
    print("|---|---|---|---|---|---|")
    missed = []
    for of in (of for of in CELLS if ONLY in of.name):
        runs = {make: [] for make in (ours, theirs)}
        for _ in range(REPEAT):
            for make in runs:
                runs[make].append(cell(make, of))
        mine, other = (statistics.median(run[0] for run in runs[make]) for make in (ours, theirs))
        rss = [statistics.median(run[1] for run in runs[make]) for make in (ours, theirs)]
        most = RATIO_MAX[of.taken, of.sent]
        if mine / other > most:
            missed.append(of.name)
        print(f"| {of.name} | {mine:.2f} | {other:.2f} | {mine / other:.2f} | {most:.2f} | {rss[0]:.0f}, {rss[1]:.0f} |", flush=True)
    if missed:
        print(f"\nabove their bound: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
