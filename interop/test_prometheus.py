"""A real Prometheus behind our remote write: afterwards both answer alike."""

import math
import time

import requests
from conftest import Process, Tidegate, free_port, loadtest, peer, wait_until

QUERIES = [
    "count by (__name__) ({__name__=~'loadtest_.+'})",
    "sum by (http_request_method) (loadtest_requests_total)",
    "sum by (http_route) (rate(loadtest_requests_total[30s]))",
    "topk(5, loadtest_queue_depth)",
    "avg without (series_id, slice) (loadtest_queue_depth)",
    "histogram_quantile(0.9, sum by (le) (rate(loadtest_duration_seconds_bucket[30s])))",
    "max_over_time(loadtest_queue_depth[30s]) - min_over_time(loadtest_queue_depth[30s])",
    "loadtest_requests_total * on (job, instance) group_left (host_name) target_info",
    "sum(loadtest_duration_seconds_sum) / sum(loadtest_duration_seconds_count)",
    "count(loadtest_requests_total > 100) or vector(0)",
    "stddev by (http_response_status_code) (loadtest_queue_depth offset 1s)",
    "increase(loadtest_duration_seconds_count[20s]) and on (series_id) loadtest_duration_seconds_bucket{le='+Inf'}",
]


class Prometheus(Process):
    def __init__(self, folder):
        self.port = free_port()
        config = folder / "prometheus.yml"
        config.write_text("global: {}\n")
        data = folder / "prometheus-data"
        super().__init__(
            "prometheus",
            [peer("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={data}",
             f"--web.listen-address=127.0.0.1:{self.port}", "--web.enable-remote-write-receiver"],
            folder,
        )

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def start(self):
        super().start()
        return self.wait_ready(self.url("/-/ready"))


def sample_map(result):
    """{labels: [values]} of a vector or matrix."""
    rows = {}
    for series in result:
        values = series.get("values") or [series["value"]]
        rows[tuple(sorted(series["metric"].items()))] = [(float(t), float(v)) for t, v in values]
    return rows


def assert_equal(query, ours, theirs):
    assert ours.keys() == theirs.keys(), query
    for labels, values in ours.items():
        assert len(values) == len(theirs[labels]), (query, labels)
        for (t1, v1), (t2, v2) in zip(values, theirs[labels]):
            same = (math.isnan(v1) and math.isnan(v2)) or math.isclose(v1, v2, rel_tol=1e-9, abs_tol=1e-12)
            assert t1 == t2 and same, (query, labels, t1, v1, v2)


def test_prometheus_answers_as_we_do(tmp_path, start):
    prometheus = start(Prometheus(tmp_path))
    exporters = f"""  prometheusremotewrite: {{endpoint: "{prometheus.url('/api/v1/write')}"}}
"""
    gateway = start(Tidegate(tmp_path, exporters, metrics=["metrics_store", "prometheusremotewrite"]))
    report = loadtest("--endpoint", f"http://127.0.0.1:{gateway.grpc}", "--prometheus", gateway.prometheus_url(),
                      "--series", 300, "--batch", 100, "--histogram-every", 5, "--connections", 3,
                      "--rate", 600, "--duration", "8s", "--verify")
    assert report["verify"]["checked"] > 0 and report["refused_requests"] == 0

    def ask(base, path, parameters):
        answer = requests.get(base + path, params=parameters, timeout=30)
        assert answer.status_code == 200, answer.text
        return sample_map(answer.json()["data"]["result"])

    names = ["loadtest_requests_total", "loadtest_queue_depth", "loadtest_duration_seconds_bucket",
             "loadtest_duration_seconds_sum", "loadtest_duration_seconds_count", "target_info"]
    total = " or ".join(f'label_replace(sum(count_over_time({name}[5m])), "name", "{name}", "", "")' for name in names)
    at = time.time() + 1
    both = [gateway.prometheus_url(), prometheus.url("")]

    def caught_up():
        counts = [ask(base, "/api/v1/query", {"query": total, "time": at}) for base in both]
        return counts[0] == counts[1] and len(counts[0]) == len(names)

    wait_until(caught_up, "Prometheus has every sample")
    end = time.time()
    for query in QUERIES:
        instant = {"query": query, "time": round(end - 2, 3)}
        ranged = {"query": query, "start": round(end - 20, 3), "end": round(end, 3), "step": "0.5"}
        for path, parameters in (("/api/v1/query", instant), ("/api/v1/query_range", ranged)):
            ours, theirs = (ask(base, path, parameters) for base in both)
            assert_equal(query, ours, theirs)
