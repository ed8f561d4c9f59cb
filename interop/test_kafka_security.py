"""A real Kafka that asks who is there: SASL in the clear and over TLS, written to and read from by one gateway."""

import json
import subprocess

import pytest
import requests
from conftest import PEERS, TARGET, Process, free_port, peer, wait_until
from test_exporters_delivery import is_listening

USER, PASSWORD = "alice", "a secret"
LOGIN = "org.apache.kafka.common.security"


class SecureKafka(Process):
    """A broker with a listener in the clear and one over TLS, both of which want a name and a password."""

    def __init__(self, folder):
        peer("kafka")
        self.plain, self.tls, controller = free_port(), free_port(), free_port()
        self.ca, self.properties = folder / "ca.pem", folder / "server.properties"
        make = lambda *command: subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        make("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
             "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
        self.ca.write_text(certificate.read_text())
        store = folder / "store.pem"
        store.write_text(key.read_text() + certificate.read_text())
        logins = ""
        for listener in ("sasl_plaintext", "sasl_ssl"):
            users = f'username="admin" password="admin" user_admin="admin" user_{USER}="{PASSWORD}"'
            logins += f"listener.name.{listener}.plain.sasl.jaas.config={LOGIN}.plain.PlainLoginModule required {users};\n"
            for hash in ("256", "512"):
                logins += (f"listener.name.{listener}.scram-sha-{hash}.sasl.jaas.config="
                           f"{LOGIN}.scram.ScramLoginModule required;\n")
        self.properties.write_text(
            f"""process.roles=broker,controller
node.id=1
listeners=SASL_PLAINTEXT://127.0.0.1:{self.plain},SASL_SSL://127.0.0.1:{self.tls},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=SASL_PLAINTEXT://127.0.0.1:{self.plain},SASL_SSL://127.0.0.1:{self.tls}
listener.security.protocol.map=SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
inter.broker.listener.name=SASL_PLAINTEXT
sasl.mechanism.inter.broker.protocol=PLAIN
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
{logins}ssl.keystore.type=PEM
ssl.keystore.location={store}
log.dirs={folder / "log"}
num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
"""
        )
        self.java = ["java", "-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{PEERS}/kafka-lib/*"]
        super().__init__("kafka", [*self.java, "kafka.Kafka", self.properties], folder)

    def start(self):
        scram = [f"SCRAM-SHA-{hash}=[name={USER},password={PASSWORD}]" for hash in ("256", "512")]
        subprocess.run(
            [*self.java, "kafka.tools.StorageTool", "format", "-t", "dGlkZWdhdGUtaW50ZXJvcA", "-c", str(self.properties),
             "--add-scram", scram[0], "--add-scram", scram[1]], check=True, capture_output=True)
        super().start()
        wait_until(lambda: is_listening(self.plain) and is_listening(self.tls), "kafka listens", 90)
        return self


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    process = SecureKafka(tmp_path_factory.mktemp("kafka")).start()
    yield process
    process.kill()


class Gateway(Process):
    """OTLP to Kafka, and Kafka to a file."""

    def __init__(self, folder, kafka, mechanism, is_encrypted, password=PASSWORD):
        self.http, self.health, self.out = free_port(), free_port(), folder / "out.json"
        client = {
            "brokers": [f"127.0.0.1:{kafka.tls if is_encrypted else kafka.plain}"],
            "auth": {"sasl": {"username": USER, "password": password, "mechanism": mechanism}},
            "logs": {"topic": f"logs-{folder.name}"},
        } | ({"tls": {"ca_file": str(kafka.ca)}} if is_encrypted else {})
        reader = client | {"initial_offset": "earliest", "group_id": folder.name}
        config = folder / "config.json"
        config.write_text(json.dumps({
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{self.http}"}}}, "kafka": reader},
            "exporters": {"kafka": client | {"timeout": "5s", "sending_queue": {"enabled": False},
                                             "retry_on_failure": {"enabled": False}},
                          "file": {"path": str(self.out)}},
            "extensions": {"health_check": {"endpoint": f"127.0.0.1:{self.health}"}},
            "service": {"extensions": ["health_check"],
                        "pipelines": {"logs/in": {"receivers": ["otlp"], "exporters": ["kafka"]},
                                      "logs/out": {"receivers": ["kafka"], "exporters": ["file"]}}},
            "server": {"prometheus": {"endpoint": ""}, "loki": {"endpoint": ""}},
            "storage": {"directory": str(folder / "data")},
        }))
        super().__init__("gateway", [TARGET / "tidegate", "--config", config], folder)

    def start(self):
        super().start()
        return self.wait_ready(f"http://127.0.0.1:{self.health}/")

    def send(self, text):
        record = {"body": {"stringValue": text}}
        body = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
        return requests.post(f"http://127.0.0.1:{self.http}/v1/logs", json=body, timeout=30)


@pytest.mark.parametrize("mechanism, is_encrypted", [
    ("PLAIN", False), ("PLAIN", True), ("SCRAM-SHA-256", True), ("SCRAM-SHA-512", True), ("SCRAM-SHA-512", False)])
def test_what_is_written_with_a_name_and_a_password_is_read_with_them(tmp_path, start, kafka, mechanism, is_encrypted):
    gateway = start(Gateway(tmp_path, kafka, mechanism, is_encrypted))
    assert gateway.send("through").status_code == 200
    wait_until(lambda: "through" in gateway.out.read_text(), "the record comes back", 30)


def test_a_wrong_password_delivers_nothing_and_is_told(tmp_path, start, kafka):
    gateway = start(Gateway(tmp_path, kafka, "PLAIN", False, password="wrong"))
    assert gateway.send("never").status_code == 503
    wait_until(lambda: "Authentication failed" in gateway.log.read_text(), "the log says why", 30)
