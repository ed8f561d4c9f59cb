"""Apps that use the OpenTelemetry SDK for Node, whose HTTP exporters speak OTLP/JSON."""

import json
import os
import pathlib
import subprocess

# npm installs into a copy outside the repository; interop/run sets this.
NODE = pathlib.Path(os.environ.get("INTEROP_NODE", pathlib.Path(__file__).parent / "node"))


def test_json_metrics_and_logs_come_back_exactly(gateway):
    subprocess.run(["node", NODE / "send.mjs", f"http://127.0.0.1:{gateway.http}"], check=True, timeout=60)

    def values(query):
        return {series["metric"]["attr"]: float(series["value"][1]) for series in gateway.instant(query)}

    assert values("web_clicks_total") == {"a": 2, "b": 3.5}
    assert values("web_sessions") == {"c": -4}
    assert values("web_load") == {"d": 0.1}
    assert values("web_latency_milliseconds_sum") == {"e": 605}
    buckets = gateway.instant("web_latency_milliseconds_bucket")
    assert {b["metric"]["le"]: float(b["value"][1]) for b in buckets} == {"10": 1, "100": 3, "+Inf": 4}

    found = {line: labels for labels, _, line in gateway.lines('{service_name="frontend"}')}
    assert len(found) == 2, found
    hello = found["hello from node"]
    assert hello["big"] == "9007199254740991" and hello["half"] == "0.5" and hello["flag"] == "false" and hello["list"] == '[1,"two"]'
    [body] = [line for line in found if line != "hello from node"]
    assert json.loads(body) == {"a": {"b": [1, None, "x"]}}
    assert found[body]["detected_level"] == "error"
    assert "ünïcode 🎉" in found[body].values()
