"""Two gateways, a real Kafka and two storage nodes: each process in turn is killed under load and comes back, and every
acknowledged item is in one of the stores.

One node stays away for longer than its session in the consumer group, so that the other one takes its partitions over.
What the killed node had stored and not committed is then stored by the other one too: such items are counted.
"""

import json
import time
import types

import requests
from conftest import TARGET, Process, free_port
from test_exporters_delivery import QUEUE, Gateway, Kafka, Sender, check, count, lines

SESSION_SECONDS = 6
SIGNALS = ("logs", "metrics")


class Node(Process):
    """Kafka into both stores."""

    def __init__(self, folder, name, kafka):
        self.prometheus, self.loki = free_port(), free_port()
        receiver = {"brokers": kafka.settings["brokers"], "group_id": "nodes", "initial_offset": "earliest",
                    "session_timeout": f"{SESSION_SECONDS}s", "heartbeat_interval": "1s"}
        pipelines = {"logs": {"receivers": ["kafka"], "exporters": ["log_store"]},
                     "metrics": {"receivers": ["kafka"], "exporters": ["metrics_store"]}}
        config = folder / f"{name}.json"
        config.write_text(json.dumps({
            "receivers": {"kafka": receiver},
            "exporters": {"log_store": {}, "metrics_store": {}},
            "service": {"pipelines": pipelines},
            "server": {"prometheus": {"endpoint": f"127.0.0.1:{self.prometheus}"},
                       "loki": {"endpoint": f"127.0.0.1:{self.loki}"}},
            "storage": {"directory": str(folder / f"{name}-data")},
        }))
        super().__init__(name, [TARGET / "tidegate", "--config", config], folder)

    def start(self):
        super().start()
        return self.wait_ready(f"http://127.0.0.1:{self.prometheus}/-/ready")

    def stored(self, signal):
        """Numbers of the items in its store; a series is there once, however often it was written."""
        if signal == "logs":
            return lines(f"http://127.0.0.1:{self.loki}")
        url = f"http://127.0.0.1:{self.prometheus}/api/v1/series"
        answer = requests.get(url, params={"match[]": "delivery_item"}, timeout=60)
        return [int(series["number"]) for series in answer.json()["data"]]


def test_any_process_between_sender_and_store_is_killed_and_nothing_acknowledged_is_lost(tmp_path, start):
    kafka = start(Kafka(tmp_path))
    nodes = [start(Node(tmp_path, f"node-{index}", kafka)) for index in range(2)]
    gateways = [start(Gateway(tmp_path, "kafka", QUEUE | kafka.settings, name=f"gateway-{index}")) for index in range(2)]
    senders = [Sender(gateway, signal, (2 * index + (signal == "logs")) * 10_000_000)
               for index, gateway in enumerate(gateways) for signal in SIGNALS]
    for sender in senders:
        sender.start()
    time.sleep(2)
    for process in (*gateways, kafka, *nodes):
        process.kill()
        time.sleep(SESSION_SECONDS + 1 if process is nodes[0] else 1.5)
        process.start()
        time.sleep(0.5)
    for sender in senders:
        sender.end()
    for signal in SIGNALS:
        of = [sender for sender in senders if sender.signal == signal]
        sent = types.SimpleNamespace(acked=[number for sender in of for number in sender.acked],
                                     failed=sum(sender.failed for sender in of))
        arrived = lambda signal=signal: count(number for node in nodes for number in node.stored(signal))
        check(f"{signal} of two gateways, each process killed", sent, arrived)
    for signal in SIGNALS:
        shares = [len(node.stored(signal)) for node in nodes]
        print(f"{signal}: stored by each node {shares}")
        assert min(shares) > 0, "both nodes read"
