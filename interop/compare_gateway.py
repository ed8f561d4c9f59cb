"""CPU and memory of the gateway beside a real Collector, in one run: `interop/run compare_gateway` prints a
Markdown table.

Equal work, and ours the harder: the Collector forwards OTLP to a sink that throws everything away, Tidegate stores
durably, with fsync, flushes to disk and can answer queries. Each takes the same seeded load from the same load tester
over gRPC without compression; CPU is user and system time of the whole process over the whole run, its start and its
orderly stop included. Rows alternate between the two, and the spread over the repetitions is printed.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import psutil
from conftest import Process, Tidegate, free_port, loadtest, peer

REPEAT = int(os.environ.get("COMPARE_REPEAT", "3"))
SECONDS = int(os.environ.get("COMPARE_SECONDS", "15"))
RATE = {"logs": 100_000, "metrics": 200_000}


class Collector(Process):
    """otelcol with memory_limiter and batch, forwarding to a sink."""

    def __init__(self, folder, sink):
        self.grpc, self.health = free_port(), free_port()
        config = folder / "otelcol.yaml"
        pipeline = "{receivers: [otlp], processors: [memory_limiter, batch], exporters: [otlp]}"
        config.write_text(
            f"""receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{self.grpc}", max_recv_msg_size_mib: 64}}}}}}
processors:
  memory_limiter: {{check_interval: 1s, limit_mib: 2048}}
  batch: {{}}
exporters:
  otlp: {{endpoint: "127.0.0.1:{sink}", compression: none, tls: {{insecure: true}}}}
extensions:
  health_check: {{endpoint: "127.0.0.1:{self.health}"}}
service:
  extensions: [health_check]
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{metrics: {pipeline}, logs: {pipeline}, traces: {pipeline}}}
"""
        )
        super().__init__("otelcol", [peer("otelcol"), "--config", config], folder)

    def start(self):
        super().start()
        return self.wait_ready(f"http://127.0.0.1:{self.health}/")


def measure(process, port, signal):
    """CPU-µs per acknowledged item and peak RSS in MiB of one run."""
    watched = psutil.Process(process.child.pid)
    peak, cpu, done = 0, 0.0, threading.Event()

    def watch():
        nonlocal peak, cpu
        while not done.wait(0.02):
            try:
                times, memory = watched.cpu_times(), watched.memory_info()
            except psutil.Error:
                return
            cpu, peak = times.user + times.system, max(peak, memory.rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    report = loadtest("--signal", signal, "--endpoint", f"http://127.0.0.1:{port}", "--rate", RATE[signal],
                      "--duration", f"{SECONDS}s", "--connections", 4, "--series", 100_000, "--streams", 16)
    process.stop(60)
    done.set()
    watcher.join()
    assert report["refused_requests"] == 0 and report["rejected"] == 0, report
    return cpu * 1e6 / report["acked"], peak / 2**20, report["acked"]


def run(signal, ours):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if ours:
            gateway = Tidegate(folder).start()
            return measure(gateway, gateway.grpc, signal)
        sink = Tidegate(folder, name="sink", metrics=["nop"], logs=["nop"], traces=["nop"]).start()
        collector = Collector(folder, sink.grpc).start()
        try:
            return measure(collector, collector.grpc, signal)
        finally:
            sink.kill()


def main():
    version = subprocess.run([peer("otelcol"), "--version"], capture_output=True, text=True, check=True).stdout.strip()
    cpu = next((row.split(":")[1].strip() for row in open("/proc/cpuinfo") if row.startswith("model name")), "?")
    print(f"{time.strftime('%Y-%m-%d')}, {psutil.cpu_count()} cores ({cpu}), {version}, {REPEAT} runs of {SECONDS} s, median (min–max)\n")
    print("| signal | program | items a run | CPU-µs an item | peak RSS, MiB |\n|---|---|---|---|---|")
    for signal in RATE:
        rows = {True: [], False: []}
        for _ in range(REPEAT):
            for ours in (True, False):
                rows[ours].append(run(signal, ours))
        medians = {}
        for ours, name in ((True, "Tidegate, stored durably"), (False, "otelcol, forwarded to a sink")):
            each = [row[0] for row in rows[ours]]
            medians[ours] = statistics.median(each)
            rss = statistics.median(row[1] for row in rows[ours])
            print(f"| {signal} | {name} | {rows[ours][0][2]:,} | {medians[ours]:.2f} ({min(each):.2f}–{max(each):.2f}) | {rss:.0f} |")
        print(f"| {signal} | ratio | | {medians[True] / medians[False]:.2f} | |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
