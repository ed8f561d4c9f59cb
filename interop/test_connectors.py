"""Connectors beside a real Collector: the same request through the same connector configs, outputs equal field by field.

Each case is a connector between two pipelines of its own. `count` is asked; `routing` only if the Collector at hand has
it, for its modules are not published for every version.
"""

import json
import subprocess

import pytest
import requests
from conftest import TARGET, Process, free_port, peer, wait_until
from test_processors import DATA, TIME, Sink

DAY_NS = 86_400 * 10**9

CONDITIONS = {
    "logs": ['attributes["str"] == "Hello World"', "severity_number >= SEVERITY_NUMBER_ERROR", 'IsMatch(body, "GET")',
             'attributes["num"] == nil', 'resource.attributes["host.name"] == "node-1"', 'scope.name == "other"'],
    "spans": ['attributes["num"] == 3', "kind == SPAN_KIND_SERVER", 'name != ""', "status.code == STATUS_CODE_ERROR",
              "IsRootSpan()"],
    "spanevents": ['name == "first"', 'attributes["str"] != nil'],
    "metrics": ['name == "requests"', "type == METRIC_DATA_TYPE_HISTOGRAM", 'unit == "ms"'],
    "datapoints": ['attributes["host"] == "b"', 'metric.name == "temperature"', "value_double > 2.0"],
}
SECTIONS = {"logs": ["logs"], "traces": ["spans", "spanevents"], "metrics": ["metrics", "datapoints"]}


def counts(signal):
    """Sections of the count connector."""
    yield {}
    for section in SECTIONS[signal]:
        for number, condition in enumerate(CONDITIONS[section]):
            yield {section: {f"some.{number}": {"conditions": [condition]}}}
        yield {section: {"either": {"description": "any of them", "conditions": CONDITIONS[section][:3]},
                         "all.of.them": {"description": "each"}}}
        yield {section: {"none": {"conditions": ['resource.attributes["missing"] == "x"']}}}
        if section == "metrics":
            continue
        keys = ["str", "num", "flag", "map", "list", "host", "missing"]
        for key in keys:
            yield {section: {"by": {"attributes": [{"key": key}]}}}
            yield {section: {"by": {"attributes": [{"key": key, "default_value": "unknown"}]}}}
        yield {section: {"by.two": {"attributes": [{"key": "str", "default_value": "-"}, {"key": "num", "default_value": 7}]}}}
        yield {section: {"by.some": {"conditions": CONDITIONS[section][:1], "attributes": [{"key": "str"}]}}}
        yield {section: {"by.kind": {"attributes": [{"key": "num", "default_value": 1.5}]},
                         "plain": {"conditions": CONDITIONS[section][1:2]}}}


def routes(signal):
    """Sections of the routing connector; `a`, `b` and `rest` are its pipelines."""
    record = {"logs": "log", "traces": "span", "metrics": "metric"}[signal]
    conditions = CONDITIONS[{"logs": "logs", "traces": "spans", "metrics": "metrics"}[signal]]
    to_a = lambda row: row | {"pipelines": ["a"]}
    resource = 'attributes["service.name"] == "shop"'
    rows = [
        {"condition": resource}, {"statement": f"route() where {resource}"}, {"context": "resource", "condition": resource},
        {"statement": "route()"}, {"condition": 'attributes["missing"] != nil'},
        *({"context": record, "condition": condition} for condition in conditions),
        *({"context": record, "statement": f"route() where {condition}"} for condition in conditions[:2]),
        *({"context": "request", "condition": f'request["{name}"] {comparator} "acme"'}
          for name, comparator in (("X-Tenant", "=="), ("x-tenant", "!="), ("X-Missing", "!="))),
        {"context": record, "condition": conditions[0], "action": "copy"}, {"condition": resource, "action": "copy"},
        {"context": "request", "condition": 'request["X-Tenant"] == "acme"', "action": "copy"},
    ]
    for row in rows:
        yield {"default_pipelines": ["rest"], "table": [to_a(row)]}
        yield {"table": [to_a(row)]}
    for first, second in zip(rows, rows[1:]):
        yield {"default_pipelines": ["rest"], "table": [to_a(first), second | {"pipelines": ["b"]}]}
        yield {"default_pipelines": ["rest"], "table": [second | {"pipelines": ["a", "b"]}, first | {"pipelines": ["b"]}]}


def named(section, index, signal):
    """A section whose pipelines have the case's names."""
    of = lambda names: [f"{signal}/{name}{index}" for name in names]
    table = [row | {"pipelines": of(row["pipelines"])} for row in section["table"]]
    return section | {"table": table} | ({"default_pipelines": of(section["default_pipelines"])}
                                         if "default_pipelines" in section else {})


def config(kind, signal, cases, port, sinks, extra):
    connectors, exporters, pipelines = {}, {}, {}
    for index, section in enumerate(cases):
        connector = f"{kind}/{index}"
        pipelines[f"{signal}/in{index}"] = {"receivers": ["otlp"], "exporters": [connector]}
        ends = [("metrics", "out")] if kind == "count" else [(signal, name) for name in ("a", "b", "rest")]
        connectors[connector] = section if kind == "count" else named(section, index, signal)
        for out, name in ends:
            exporter = f"otlphttp/{name}{index}"
            exporters[exporter] = {"endpoint": f"http://127.0.0.1:{sinks}/{name}{index}", "compression": "none",
                                   "sending_queue": {"enabled": False}, "retry_on_failure": {"enabled": False}}
            pipelines[f"{out}/{name}{index}"] = {"receivers": [connector], "exporters": [exporter]}
    receiver = {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}", "include_metadata": True}}}
    service = {"telemetry": {"metrics": {"level": "none"}}, "pipelines": pipelines}
    return {"receivers": {"otlp": receiver}, "connectors": connectors, "exporters": exporters, "service": service} | extra


def ordered(node):
    """Metrics and their points have no fixed order, and what has no time of its own is counted now."""
    if isinstance(node, dict):
        is_now = lambda key, child: key in ("startTimeUnixNano", "timeUnixNano") and int(child) > TIME + DAY_NS
        return {key: "now" if is_now(key, child) else ordered(child) for key, child in node.items()}
    if isinstance(node, list):
        children = [ordered(child) for child in node]
        return sorted(children, key=json.dumps) if children and isinstance(children[0], dict) else children
    return node


def outputs(name, binary, kind, signal, cases, folder, start, extra):
    out = "metrics" if kind == "count" else signal
    sink, port = Sink(out), free_port()
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config(kind, signal, cases, port, sink.port, extra)).replace("$", "$$"))
    process = start(Process(name, [binary, "--config", path], folder))
    url = f"http://127.0.0.1:{port}/v1/{signal}"

    def listens():
        if process.child.poll() is not None:
            # Its config was refused: no use to wait.
            pytest.fail(f"{name} ended:\n{process.tail()}")
        return requests.post(url, json={}, timeout=2).status_code == 200

    wait_until(listens, f"{name} listens", seconds=240)
    requests.post(url, json=DATA[signal](), headers={"X-Tenant": "acme"}, timeout=60)
    process.kill()
    sink.server.shutdown()
    # A request with nothing in it counts as none.
    return {path: ordered(filled) for path, got in sink.got.items() if (filled := [request for request in got if request])}


@pytest.mark.parametrize("kind, signal", [(kind, signal) for kind in ("count", "routing") for signal in sorted(DATA)])
def test_every_connector_gives_what_the_collectors_gives(tmp_path, start, kind, signal):
    have = subprocess.run([peer("otelcol"), "components"], capture_output=True, text=True, check=True).stdout
    assert f"name: {kind}\n" in have, f"this Collector has no {kind} connector"
    cases = list(counts(signal) if kind == "count" else routes(signal))
    theirs = outputs("otelcol", peer("otelcol"), kind, signal, cases, tmp_path, start, {})
    ours = outputs("tidegate", TARGET / "tidegate", kind, signal, cases, tmp_path, start, {
        "server": {"prometheus": {"endpoint": ""}, "loki": {"endpoint": ""}},
        "storage": {"directory": str(tmp_path / "data")}})
    differing = []
    for index, section in enumerate(cases):
        for end in ("out", "a", "b", "rest"):
            name = f"{end}{index}"
            if theirs.get(name) != ours.get(name):
                differing.append(f"{json.dumps(section)} → {end}\n  theirs {json.dumps(theirs.get(name))}\n"
                                 f"  ours   {json.dumps(ours.get(name))}")
    print(f"{kind} of {signal}: {len(cases)} cases, {len(theirs)} outputs, {len(differing)} differ")
    assert theirs and not differing, "\n".join(differing[:10])
