"""A Prometheus and a gateway that take the same requests, and what each then holds."""

import math

import requests
from conftest import TARGET, Process, free_port, peer


class Prometheus(Process):
    """A real Prometheus that takes remote write and OTLP; `section` is its `otlp:` section."""

    def __init__(self, folder, section="{}", name="prometheus", scrape="", external="", features="exemplar-storage"):
        self.port = free_port()
        config = folder / f"{name}.yml"
        config.write_text(f"global: {{external_labels: {{{external}}}}}\notlp: {section}\nstorage: {{tsdb: {{out_of_order_time_window: 30m}}}}\n{scrape}")
        super().__init__(
            name,
            [peer("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / (name + '-data')}",
             f"--web.listen-address=127.0.0.1:{self.port}", "--web.enable-remote-write-receiver",
             "--web.enable-otlp-receiver", f"--enable-feature={features}", "--log.level=error"],
            folder,
        )

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def start(self):
        super().start()
        return self.wait_ready(self.url("/-/ready"))


class Gateway(Process):
    """The gateway with the remote write receiver on its Prometheus port; `store` is the section of metrics_store."""

    def __init__(self, folder, store="{}", processors="[memory_limiter]", name="tidegate"):
        self.port = free_port()
        config = folder / f"{name}.yaml"
        config.write_text(
            f"""receivers: {{prometheusremotewrite: {{}}}}
processors:
  memory_limiter: {{check_interval: 100ms, limit_mib: 2048}}
  batch: {{timeout: 10ms}}
exporters: {{metrics_store: {store}}}
service: {{pipelines: {{metrics: {{receivers: [prometheusremotewrite], processors: {processors}, exporters: [metrics_store]}}}}}}
server: {{prometheus: {{endpoint: "127.0.0.1:{self.port}"}}, loki: {{endpoint: ""}}}}
storage: {{directory: {folder / (name + "-data")}}}
"""
        )
        super().__init__(name, [TARGET / "tidegate", "--config", config], folder)

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def start(self):
        super().start()
        return self.wait_ready(self.url("/-/ready"))


def number(text):
    return "NaN" if math.isnan(float(text)) else float(text)


def bound(text):
    """A bound of a bucket; powers of fractions, of which the last digit is not the matter here."""
    return float(f"{float(text):.12g}")


def held(server, seconds, at):
    """Everything of the last `seconds` before `at`: labels to a list of (time, value or histogram)."""
    query = {"query": f'{{__name__=~".+"}}[{seconds}s]', "time": at}
    answer = requests.get(server.url("/api/v1/query"), params=query, timeout=60)
    assert answer.status_code == 200, answer.text
    found = {}
    for series in answer.json()["data"]["result"]:
        points = [(t, number(v)) for t, v in series.get("values", [])]
        for t, h in series.get("histograms", []):
            buckets = [(rule, bound(low), bound(high), number(count)) for rule, low, high, count in h.get("buckets", [])]
            points.append((t, (number(h["count"]), number(h["sum"]), buckets)))
        found[tuple(sorted(series["metric"].items()))] = sorted(points, key=lambda point: point[0])
    return found


def exemplars(server, start, end):
    """Exemplars by series."""
    query = {"query": '{__name__=~".+"}', "start": start, "end": end}
    answer = requests.get(server.url("/api/v1/query_exemplars"), params=query, timeout=60)
    assert answer.status_code == 200, answer.text
    return {
        tuple(sorted(row["seriesLabels"].items())): [
            (tuple(sorted(one["labels"].items())), number(one["value"]), one["timestamp"]) for one in row["exemplars"]
        ]
        for row in answer.json()["data"]
    }


def differences(ours, theirs):
    """What differs, as text, at most a few lines."""
    lines = [f"only ours: {dict(key)}" for key in sorted(ours.keys() - theirs.keys())]
    lines += [f"only theirs: {dict(key)}" for key in sorted(theirs.keys() - ours.keys())]
    lines += [
        f"{dict(key)}: ours {ours[key]}, theirs {theirs[key]}"
        for key in sorted(ours.keys() & theirs.keys())
        if ours[key] != theirs[key]
    ]
    return lines[:12]
