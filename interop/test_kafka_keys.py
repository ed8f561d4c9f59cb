"""What an exporter writes into a real Kafka beside a real Collector with the same section: topics, partitions, keys, headers.

Both get the same requests; the broker's own tool reads what is in its log.
"""

import collections
import json
import re
import subprocess

import pytest
import requests
from conftest import PEERS, TARGET, Process, free_port, peer, wait_until
from test_exporters_delivery import is_listening

PARTITIONS = 5


class Broker(Process):
    def __init__(self, folder):
        peer("kafka")
        self.port, controller, self.data = free_port(), free_port(), folder / "data"
        self.properties = folder / "server.properties"
        self.properties.write_text(
            f"""process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{self.port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
log.dirs={self.data}
num.partitions={PARTITIONS}
offsets.topic.replication.factor=1
""")
        self.java = ["java", "-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{PEERS}/kafka-lib/*"]
        super().__init__("kafka", [*self.java, "kafka.Kafka", self.properties], folder)

    def start(self):
        subprocess.run(
            [*self.java, "kafka.tools.StorageTool", "format", "-t", "dGlkZWdhdGUtaW50ZXJvcA", "-c", str(self.properties)],
            check=True, capture_output=True)
        super().start()
        wait_until(lambda: is_listening(self.port), "kafka listens", 90)
        return self

    def records(self):
        """(topic, partition, key, header keys, payload) of everything that was written."""
        logs = [str(path) for path in sorted(self.data.glob("*-[0-9]/*.log")) if path.stat().st_size]
        logs = [path for path in logs if "__" not in path]
        dump = subprocess.run(
            [*self.java, "kafka.tools.DumpLogSegments", "--print-data-log", "--files", ",".join(logs)],
            check=True, capture_output=True, text=True, errors="backslashreplace").stdout
        found, place = [], None
        # A key may be any bytes, ends of lines among them.
        for line in re.split(r"\n(?=Dumping |baseOffset: |\| offset: )", dump):
            if line.startswith("Dumping "):
                topic, partition = re.search(r"/([^/]+)-(\d+)/[^/]+\.log\n", line + "\n").groups()
                place = (topic, int(partition))
            elif line.startswith("| offset:"):
                key = re.search(r" key: (.*) payload: ", line, re.DOTALL)
                headers = re.search(r"headerKeys: \[(.*?)\]", line)
                payload = line.split(" payload: ", 1)[1]
                found.append((*place, key and key.group(1), headers.group(1) if headers else "", payload))
        return found


ATTRIBUTES = [{"key": "service.name", "value": {"stringValue": "web"}}, {"key": "n", "value": {"intValue": "7"}}]


def resource(index, topic):
    extra = [{"key": "shard", "value": {"intValue": str(index)}}]
    named = [{"key": "topic", "value": {"stringValue": topic}}] if index % 2 else []
    # The order differs from one resource to the next; the key must not.
    return {"attributes": (ATTRIBUTES + extra if index < 3 else extra + ATTRIBUTES[::-1]) + named}


def logs(topic):
    trace = lambda number: {"traceId": f"{number:032x}"} if number else {}
    record = lambda number: {"body": {"stringValue": f"line {number}"}, **trace(number % 4)}
    return {"resourceLogs": [
        {"resource": resource(index, topic), "scopeLogs": [{"logRecords": [record(index + n) for n in range(4)]}]}
        for index in range(6)]}


def traces(topic):
    span = lambda number: {"traceId": f"{1 + number % 5:032x}", "spanId": f"{1 + number:016x}", "name": f"span {number}"}
    return {"resourceSpans": [
        {"resource": resource(index, topic), "scopeSpans": [{"spans": [span(index + n) for n in range(4)]}]}
        for index in range(6)]}


def metrics(topic):
    point = lambda number: {"asInt": str(number), "timeUnixNano": "1700000000000000000"}
    metric = lambda number: {"name": f"m{number}", "gauge": {"dataPoints": [point(number)]}}
    return {"resourceMetrics": [
        {"resource": resource(index, topic), "scopeMetrics": [{"metrics": [metric(index + n) for n in range(3)]}]}
        for index in range(6)]}


DATA = {"logs": logs, "traces": traces, "metrics": metrics}

# Of each: the signal, the exporter's section, and whether the same keys go to the same partitions.
CASES = {
    "plain": ("logs", {}, False),
    "logs-by-trace": ("logs", {"partition_logs_by_trace_id": True}, True),
    "logs-by-resource": ("logs", {"partition_logs_by_resource_attributes": True}, True),
    "metrics-by-resource": ("metrics", {"partition_metrics_by_resource_attributes": True}, True),
    "traces-by-id": ("traces", {"partition_traces_by_id": True}, True),
    "traces-by-id-murmur": ("traces", {"partition_traces_by_id": True,
                                       "record_partitioner": {"sticky_key": {"hasher": "murmur2"}}}, True),
    "topic-from-attribute": ("logs", {"topic_from_attribute": "topic"}, False),
    "topic-and-trace": ("logs", {"topic_from_attribute": "topic", "partition_logs_by_trace_id": True}, True),
    "topic-and-id": ("traces", {"topic_from_attribute": "topic", "partition_traces_by_id": True}, True),
    "from-metadata": ("logs", {"logs": {"topic_from_metadata_key": "x-topic", "message_key_from_metadata_key": "x-key"},
                               "include_metadata_keys": ["x-key", "x-none"],
                               "record_headers": [{"name": "fixed", "value": "1"}]}, True),
    "round": ("logs", {"partition_logs_by_trace_id": True, "record_partitioner": {"round_robin": {}}}, False),
}


def gateway(name, binary, folder, broker, extra):
    """One receiver and one exporter for each case, whose topics begin with the gateway's name and the case's."""
    ports, config = {}, {"receivers": {}, "exporters": {}, "service": {
        "telemetry": {"metrics": {"level": "none"}}, "pipelines": {}}}
    for case, (signal, section, _) in CASES.items():
        ports[case] = free_port()
        http = {"endpoint": f"127.0.0.1:{ports[case]}", "include_metadata": True}
        config["receivers"][f"otlp/{case}"] = {"protocols": {"http": http}}
        own = {"topic": f"{name}-{case}", "encoding": "otlp_json"} | section.get(signal, {})
        config["exporters"][f"kafka/{case}"] = section | {
            "brokers": [f"127.0.0.1:{broker.port}"], signal: own, "sending_queue": {"enabled": False}, "timeout": "20s"}
        config["service"]["pipelines"][f"{signal}/{case}"] = {
            "receivers": [f"otlp/{case}"], "exporters": [f"kafka/{case}"]}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config | extra))
    process = Process(name, [binary, "--config", path], folder)
    return process, ports


def items(payload):
    """How many records, spans or points are in a message, by what tells them apart."""
    found = collections.Counter()

    def walk(node):
        if isinstance(node, list):
            return [walk(child) for child in node]
        if isinstance(node, dict):
            name = node.get("name") or node.get("body", {}).get("stringValue")
            if name:
                found[(name, node.get("traceId", ""))] += 1
            else:
                [walk(child) for child in node.values()]

    walk(json.loads(payload))
    return tuple(sorted(found.items()))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    broker = Broker(folder).start()
    ours_extra = {"server": {"prometheus": {"endpoint": ""}, "loki": {"endpoint": ""}},
                  "storage": {"directory": str(folder / "storage")}}
    try:
        for name, binary, extra in (("theirs", peer("otelcol"), {}), ("ours", TARGET / "tidegate", ours_extra)):
            process, ports = gateway(name, binary, folder, broker, extra)
            process.start()
            try:
                for case, (signal, section, _) in CASES.items():
                    # An attribute that says who wrote it would be part of a resource's key.
                    named = f"{name}-{case}-named" if "topic_from_attribute" in section else "same"
                    url = f"http://127.0.0.1:{ports[case]}/v1/{signal}"

                    def takes():
                        if process.child.poll() is not None:
                            pytest.fail(f"{name} ended:\n{process.tail()}")
                        return requests.post(url, json={}, timeout=2).status_code == 200

                    wait_until(takes, f"{name} takes {case}", 60)
                    headers = {"X-Topic": f"{name}-{case}-chosen", "X-Key": "a key"}
                    sent = requests.post(url, json=DATA[signal](named), headers=headers, timeout=60)
                    assert sent.status_code == 200, f"{name} {case}: {sent.text}"
            finally:
                process.stop()
        found = {"theirs": collections.defaultdict(list), "ours": collections.defaultdict(list)}
        for topic, partition, key, headers, payload in broker.records():
            who, rest = topic.split("-", 1)
            case = max((case for case in CASES if rest == case or rest in (f"{case}-named", f"{case}-chosen")), key=len)
            found[who][case].append((rest, partition, key, headers, items(payload)))
        yield found
    finally:
        broker.kill()


@pytest.mark.parametrize("case", CASES)
def test_messages_have_the_topic_partition_key_and_headers_of_the_collectors(written, case):
    same_partitions = CASES[case][2]
    theirs, ours = written["theirs"][case], written["ours"][case]
    assert theirs, "the Collector wrote something"

    def by_place(records):
        """Items by where they are: two messages of one key and place are as good as one."""
        places = collections.defaultdict(collections.Counter)
        for topic, partition, key, headers, content in records:
            # Without a key any partition is as good.
            place = partition if same_partitions and key is not None else None
            places[(topic, place, key, headers)].update(dict(content))
        return dict(places)

    assert by_place(ours) == by_place(theirs)


def test_messages_go_round_the_partitions(written):
    for who in ("theirs", "ours"):
        used = [partition for _, partition, *_ in written[who]["round"]]
        assert len(set(used)) == min(PARTITIONS, len(used)), f"{who}: {used}"
