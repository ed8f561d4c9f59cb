"""The parts of the HTTP API that are no queries, beside a real Prometheus: same statuses, envelopes and texts."""

import subprocess

import pytest
import requests
from conftest import Process, TARGET, free_port, peer

# Answers that do not depend on data, build or host.
SAME = [
    "/api/v1/rules",
    "/api/v1/rules?type=alert",
    "/api/v1/rules?type=x",
    "/api/v1/alerts",
    "/api/v1/alertmanagers",
    "/api/v1/notifications",
    "/api/v1/status/walreplay",
    "/api/v1/status/tsdb?limit=0",
    "/api/v1/status/tsdb?limit=x",
    "/api/v1/format_query?query=sum(up)by(x)",
    "/api/v1/format_query?query=up{",
    "/api/v1/parse_query",
    "/api/v1/query_exemplars?query=up",
    "/api/v1/query_exemplars?query=1",
    "/api/v1/query_exemplars?query=up{",
    "/api/v1/query_exemplars?query=up&start=5&end=1",
    "/api/v1/query?query=1%2B1&time=4",
    "/api/v1/series",
    "/api/v1/nothing",
    "/nothing",
    "/federate?match[]={",
    "/-/reload",
    "/-/quit",
    "POST /api/v1/admin/tsdb/delete_series?match[]=up{",
    "POST /api/v1/admin/tsdb/delete_series",
    "POST /api/v1/admin/tsdb/snapshot?skip_head=x",
    "/api/v1/admin/tsdb/snapshot",
]
# Answers whose keys are the same.
SHAPES = [
    "/api/v1/status/buildinfo",
    "/api/v1/status/runtimeinfo",
    "/api/v1/status/tsdb",
    "/api/v1/status/tsdb/blocks",
    "/api/v1/status/config",
    "/api/v1/targets",
    "/api/v1/scrape_pools",
]
QUERIES = [
    'sum by (a) (rate(up{job="x",b=~"y.*"}[5m] offset 1m))',
    "a + on(b) group_left(c) d",
    "a * ignoring(x) group_right() b",
    "a and ignoring(x) b",
    "a or b unless c",
    "-a",
    "(a)",
    "1",
    "1e100",
    "NaN",
    '"s"',
    "up @ 10",
    "up @ start()",
    "up[5m] @ end()",
    "up offset -5m",
    "up[5m:1m]",
    "max_over_time(up[5m:])",
    "up[5m:30s] @ 3 offset 1h",
    "topk(3, up)",
    'count_values("v", up)',
    "quantile without(a,b) (0.5, x)",
    "a > bool 1",
    "1 > bool 2",
    "a == on() c",
    "time()",
    "round(a)",
    "round(a, 5)",
    "histogram_quantile(0.9, sum by (le) (rate(b[1m])))",
    'label_replace(up, "a", "$1", "b", "(.*)")',
    'label_join(up, "a", "-", "b", "c")',
    '{"foo.bar"}',
    '{"foo.bar", job!~"x|y"}',
    "up[5m*2]",
    "up offset (1m+step())",
    "absent(up)",
    "vector(1) ^ 2 % 3",
    "sum(a) without (b) / 2",
    "day_of_month()",
    "up{",
    "sum(",
    "a + on(b) 1",
]


class Api(Process):
    def get(self, path):
        method, _, path = path.rpartition(" ")
        return requests.request(method or "GET", self.base + path, timeout=30)


@pytest.fixture
def both(tmp_path, start):
    """Our API and a real one, both with all that can be switched on."""
    port = free_port()
    config = tmp_path / "tidegate.yaml"
    config.write_text(
        f"""receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{free_port()}"}}}}}}}}
exporters: {{metrics_store: {{}}}}
service:
  pipelines: {{metrics: {{receivers: [otlp], exporters: [metrics_store]}}}}
  telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {free_port()}}}}}}}}}]}}}}
server:
  prometheus: {{endpoint: "127.0.0.1:{port}", enable_admin_api: true, enable_lifecycle: true}}
  loki: {{endpoint: ""}}
storage: {{directory: {tmp_path / "data"}}}
"""
    )
    ours = Api("tidegate", [TARGET / "tidegate", "--config", config], tmp_path)
    ours.base = f"http://127.0.0.1:{port}"
    start(ours)
    ours.wait_ready(ours.base + "/-/ready")
    port = free_port()
    (tmp_path / "prometheus.yml").write_text("global: {}\n")
    command = [peer("prometheus"), "--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}",
               "--storage.tsdb.path=prometheus-data", "--web.enable-admin-api", "--web.enable-lifecycle",
               "--enable-feature=exemplar-storage"]
    theirs = Api("prometheus", command, tmp_path)
    theirs.base = f"http://127.0.0.1:{port}"
    start(theirs)
    theirs.wait_ready(theirs.base + "/-/ready")
    return ours, theirs


def content(answer):
    """Status and body; JSON as what it says, whatever the order of its keys."""
    try:
        return answer.status_code, answer.json()
    except requests.JSONDecodeError:
        return answer.status_code, answer.text.strip()


def shape(value):
    """The keys of an answer, without its values."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return type(value).__name__


def test_answers_are_those_of_prometheus(both):
    ours, theirs = both
    different = []
    for path in SAME:
        mine, real = content(ours.get(path)), content(theirs.get(path))
        if mine != real:
            different.append(f"{path}\n  ours   {mine}\n  theirs {real}")
    for path in SHAPES:
        mine, real = ours.get(path).json(), theirs.get(path).json()
        if shape(mine) != shape(real):
            different.append(f"{path}\n  ours   {shape(mine)}\n  theirs {shape(real)}")
    print(f"{len(SAME) + len(SHAPES)} requests, {len(different)} different")
    assert not different, "\n".join(different)


def test_syntax_trees_are_those_of_prometheus(both):
    ours, theirs = both
    different = []
    for query in QUERIES:
        answers = [requests.post(api.base + "/api/v1/parse_query", data={"query": query}, timeout=30) for api in both]
        mine, real = [(answer.status_code, answer.json()) for answer in answers]
        if mine != real:
            different.append(f"{query}\n  ours   {mine}\n  theirs {real}")
    print(f"{len(QUERIES)} queries, {len(different)} different")
    assert not different, "\n".join(different)


def test_promtool_finds_nothing_to_complain_about(both, tmp_path):
    ours, _ = both
    reader = ours.log.read_text().split("Metrics")[1].split()[0]
    page = requests.get(f"http://{reader}/metrics", timeout=30).text
    checked = subprocess.run([peer("promtool"), "check", "metrics"], input=page, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for command in [
        ["check", "healthy", f"--url={ours.base}"],
        ["check", "ready", f"--url={ours.base}"],
        ["query", "instant", ours.base, "1+1"],
        ["query", "labels", ours.base, "job"],
        ["query", "series", ours.base, "--match=up"],
        ["debug", "metrics", ours.base],
    ]:
        done = subprocess.run([peer("promtool"), *command], capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
