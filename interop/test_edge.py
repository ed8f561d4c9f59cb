"""The edge of a real gateway under clients that are slow, silent or strangers; TLS as other people's libraries speak it."""

import socket
import subprocess
import time

import grpc
import pytest
import requests
from conftest import Process, TARGET, Tidegate, free_port

LINE = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "x"}}]}]}]}
# An ExportLogsServiceRequest with one empty record.
EMPTY_RECORD = bytes([0x0A, 4, 0x12, 2, 0x12, 0])
CONNECTIONS = 200


def test_slow_and_silent_connections_hurt_nobody_and_do_not_delay_the_end(tmp_path, start):
    gateway = start(Tidegate(tmp_path))
    held = []
    for port in [gateway.grpc, gateway.http, gateway.prometheus, gateway.loki]:
        for index in range(CONNECTIONS):
            connection = socket.create_connection(("127.0.0.1", port))
            # Nothing at all, half a head, the start of HTTP/2, a head whose body never comes.
            connection.sendall([b"", b"GET / HTTP/1.1\r\nho", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                                b"POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"][index % 4])
            held.append(connection)
    slowest = 0
    for _ in range(50):
        began = time.monotonic()
        answer = requests.post(f"http://127.0.0.1:{gateway.http}/v1/logs", json=LINE, timeout=10)
        assert answer.status_code == 200
        slowest = max(slowest, time.monotonic() - began)
    began = time.monotonic()
    assert gateway.stop() == 0, gateway.tail()
    ended = time.monotonic() - began
    print(f"{len(held)} held connections: slowest of 50 requests {slowest * 1000:.0f} ms, ended in {ended:.1f} s")
    assert ended < 5


def openssl(folder, *arguments):
    subprocess.run(["openssl", *map(str, arguments)], cwd=folder, check=True, capture_output=True)


def issue(folder, authority, name):
    """A key and a certificate of an authority for localhost."""
    (folder / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key",
            "-CAcreateserial", "-days", "2", "-out", f"{name}.pem", "-extfile", "ext")


def test_python_grpc_and_requests_reach_a_receiver_with_mutual_tls(tmp_path, start):
    for authority in ["ours", "others"]:
        openssl(tmp_path, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{authority}.key",
                "-out", f"{authority}.pem", "-days", "2", "-subj", f"/CN={authority}")
    issue(tmp_path, "ours", "server")
    issue(tmp_path, "ours", "sender")
    issue(tmp_path, "others", "stranger")
    tls = "{cert_file: server.pem, key_file: server.key, client_ca_file: ours.pem, reload_interval: 1s}"
    grpc_port, http_port, health = free_port(), free_port(), free_port()
    config = tmp_path / "config.yaml"
    config.write_text(
        f"""extensions: {{health_check: {{endpoint: "127.0.0.1:{health}"}}}}
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{grpc_port}", tls: {tls}}}
      http: {{endpoint: "127.0.0.1:{http_port}", tls: {tls}}}
exporters: {{nop: {{}}}}
service:
  extensions: [health_check]
  pipelines: {{logs: {{receivers: [otlp], exporters: [nop]}}}}
  telemetry: {{metrics: {{level: none}}}}
"""
    )
    gateway = Process("tidegate", [TARGET / "tidegate", "--config", config], tmp_path)
    start(gateway)
    gateway.wait_ready(f"http://127.0.0.1:{health}/")
    read = lambda name: (tmp_path / name).read_bytes()

    def over_grpc(name):
        credentials = grpc.ssl_channel_credentials(read("ours.pem"), read(f"{name}.key"), read(f"{name}.pem"))
        with grpc.secure_channel(f"localhost:{grpc_port}", credentials) as channel:
            channel.unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")(EMPTY_RECORD, timeout=10)

    def over_http(*certificate):
        answer = requests.post(f"https://localhost:{http_port}/v1/logs", json=LINE, timeout=10,
                               verify=tmp_path / "ours.pem", cert=certificate or None)
        assert answer.status_code == 200

    over_grpc("sender")
    over_http(tmp_path / "sender.pem", tmp_path / "sender.key")
    with pytest.raises(grpc.RpcError):
        over_grpc("stranger")
    with pytest.raises(requests.RequestException):
        over_http()
    # A certificate that changes on disk is used without a restart.
    issue(tmp_path, "others", "server")
    deadline = time.monotonic() + 20
    while True:
        try:
            requests.post(f"https://localhost:{http_port}/v1/logs", json=LINE, timeout=10, verify=tmp_path / "others.pem",
                          cert=(tmp_path / "sender.pem", tmp_path / "sender.key"))
            break
        except requests.exceptions.SSLError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert gateway.stop() == 0
