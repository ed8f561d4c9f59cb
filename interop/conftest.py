"""Programs under test and their real peers, each started on free loopback ports and stopped by its own process id."""

import itertools
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = pathlib.Path(os.environ.get("PEERS_BIN", pathlib.Path.home() / ".cache/tidegate-peers/bin"))
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
# Long, as it only says when a test fails: on a machine with other work a peer may take a minute to start.
READY_SECONDS = 90


# Below the ports that systems give to those who ask for none, and apart for each worker of a run.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw7").removeprefix("gw"))
PORTS = itertools.cycle(range(16000 + WORKER % 8 * 2000, 16000 + WORKER % 8 * 2000 + 2000))
for _ in range(os.getpid() * 37 % 2000):
    next(PORTS)


def free_port():
    """A port that was free a moment ago; peers take a number, not a socket."""
    for port in itertools.islice(PORTS, 2000):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


def wait_until(condition, what, seconds=READY_SECONDS):
    """Polls until `condition()` is true; its exceptions count as not yet."""
    deadline = time.monotonic() + seconds
    error = None
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except (requests.RequestException, OSError, AssertionError, KeyError, IndexError) as caught:
            error = caught
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come true in {seconds} s; last error: {error}")


class Process:
    """A program with a log file, ended by its process id."""

    def __init__(self, name, command, folder, environment=None):
        self.name, self.command, self.folder, self.environment = name, command, folder, environment
        self.log = folder / f"{name}.log"
        self.child = None

    def start(self):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                [str(part) for part in self.command],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **(self.environment or {})},
            )
        return self

    def wait_ready(self, url, seconds=READY_SECONDS):
        def ready():
            if self.child.poll() is not None:
                # No use to wait for it.
                pytest.fail(f"{self.name} ended early with exit code {self.child.returncode}:\n{self.tail()}")
            return requests.get(url, timeout=2).status_code == 200

        try:
            wait_until(ready, f"{self.name} at {url}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None
        return self

    def tail(self):
        return self.log.read_text(errors="replace")[-4000:]

    def kill(self):
        """kill -9, as a power cut of the process."""
        if self.child and self.child.poll() is None:
            self.child.kill()
        if self.child:
            self.child.wait()

    def stop(self, seconds=60):
        """Asks the program to end; returns its exit code."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end in {seconds} s:\n{self.tail()}") from None


class Tidegate(Process):
    """The gateway on free ports, its data in a folder of its own."""

    def __init__(self, folder, exporters="", metrics=(), logs=(), traces=(), processors="", use=("memory_limiter",),
                 limit_mib=2048, name="tidegate", storage="", loki=""):
        self.grpc, self.http, self.prometheus, self.loki = (free_port() for _ in range(4))
        metrics, logs, traces = list(metrics) or ["metrics_store"], list(logs) or ["log_store"], list(traces) or ["nop"]
        config = folder / f"{name}.yaml"
        listed = lambda names: "[" + ", ".join(names) + "]"
        config.write_text(
            f"""receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{self.grpc}"}}, http: {{endpoint: "127.0.0.1:{self.http}"}}}}}}
  loki: {{}}
processors:
  memory_limiter: {{check_interval: 100ms, limit_mib: {limit_mib}}}
{processors}
exporters:
  metrics_store: {{}}
  log_store: {{}}
  nop: {{}}
{exporters}
service:
  pipelines:
    metrics: {{receivers: [otlp], processors: {listed(use)}, exporters: {listed(metrics)}}}
    logs: {{receivers: [otlp, loki], processors: {listed(use)}, exporters: {listed(logs)}}}
    traces: {{receivers: [otlp], processors: {listed(use)}, exporters: {listed(traces)}}}
server:
  prometheus: {{endpoint: "127.0.0.1:{self.prometheus}"}}
  loki: {{endpoint: "127.0.0.1:{self.loki}", enable_delete: true{loki}}}
storage:
  directory: {folder / (name + "-data")}
{storage}
"""
        )
        super().__init__(name, [TARGET / "tidegate", "--config", config], folder)

    def start(self):
        super().start()
        return self.wait_ready(self.prometheus_url("/-/ready"))

    def prometheus_url(self, path=""):
        return f"http://127.0.0.1:{self.prometheus}{path}"

    def loki_url(self, path=""):
        return f"http://127.0.0.1:{self.loki}{path}"

    def instant(self, query, time_s=None):
        """Result of an instant query."""
        parameters = {"query": query} | ({"time": time_s} if time_s is not None else {})
        answer = requests.get(self.prometheus_url("/api/v1/query"), params=parameters, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]["result"]

    def lines(self, query, **parameters):
        """Entries of a log query as (labels, timestamp, line), newest first unless told otherwise."""
        now = time.time_ns()
        parameters = {"start": now - 3_600_000_000_000, "end": now + 60_000_000_000, "limit": 5000} | parameters
        answer = requests.get(
            self.loki_url("/loki/api/v1/query_range"), params={"query": query} | parameters, timeout=30
        )
        assert answer.status_code == 200, answer.text
        streams = answer.json()["data"]["result"]
        return [(stream["stream"], int(t), line) for stream in streams for t, line in stream["values"]]


@pytest.fixture
def gateway(tmp_path):
    """A running gateway with both stores."""
    process = Tidegate(tmp_path).start()
    yield process
    process.kill()


@pytest.fixture
def start(tmp_path):
    """Starts processes that end with the test, the newest first."""
    running = []

    def begin(process):
        running.append(process)
        return process.start()

    yield begin
    for process in reversed(running):
        process.kill()


def peer(name):
    """Path of an installed peer program."""
    path = PEERS / name
    assert path.exists(), f"{name} is not installed; run interop/peers/install"
    return path


def loadtest(*arguments, check=True):
    """Runs the load tester and returns its JSON report."""
    import json

    command = [str(TARGET / "tidegate-loadtest"), "otlp", "--output", "json", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.stdout, f"{' '.join(command)} exited {done.returncode}: {done.stderr}"
    report = json.loads(done.stdout)
    if check:
        assert done.returncode == 0, f"{' '.join(command)} exited {done.returncode}: {done.stdout}{done.stderr}"
    return report


