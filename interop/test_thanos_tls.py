"""The StoreAPI under mutual TLS and with compressed messages, between the real thanos and us in both directions."""

import time

import pytest
import requests
from conftest import wait_until
from test_edge import issue, openssl
from thanos_peers import (
    STEP_MS, Sidecar, Store, Thanos, answer, comparable, compare, difference, generated_queries, generated_series, thanos_query, write,
)

SAMPLES = 80
LABELS = {"cluster": "c1", "replica": "a"}


@pytest.fixture
def data():
    return int(time.time() * 1000) // STEP_MS * STEP_MS - SAMPLES * STEP_MS


@pytest.fixture
def certificates(tmp_path):
    """An authority with a server and a client, and a client of another authority."""
    for authority in ("ours", "others"):
        openssl(tmp_path, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{authority}.key",
                "-out", f"{authority}.pem", "-days", "2", "-subj", f"/CN={authority}")
    issue(tmp_path, "ours", "server")
    issue(tmp_path, "ours", "client")
    issue(tmp_path, "others", "stranger")
    return tmp_path


def under_tls(store):
    """A gateway whose StoreAPI asks for certificates of our authority."""
    path = store.folder / f"{store.name}.yaml"
    tls = "tls: {cert_file: server.pem, key_file: server.key, client_ca_file: ours.pem}"
    path.write_text(path.read_text().replace("component: receive}", f"component: receive, {tls}}}"))
    return store


def client(folder, name="client"):
    return ["--grpc-client-tls-secure", f"--grpc-client-tls-ca={folder / 'ours.pem'}", f"--grpc-client-tls-cert={folder / name}.pem",
            f"--grpc-client-tls-key={folder / name}.key", "--grpc-client-server-name=localhost"]


def test_thanos_query_reads_us_under_mutual_tls_and_snappy(tmp_path, start, data, certificates):
    ours = start(under_tls(Store(tmp_path, labels=LABELS)))
    write(ours.url("/api/v1/write"), generated_series(1, data, SAMPLES))
    times = data / 1000 + 300, data / 1000 + SAMPLES * STEP_MS / 1000
    queries = [query for query in generated_queries(17, 40) if "resets" not in query and "rate" not in query][:12]
    for compression in ("none", "snappy"):
        over_us = start(thanos_query(tmp_path, [ours.grpc], *client(tmp_path), f"--grpc-compression={compression}", name=f"over-us-{compression}"))
        assert compare(over_us, ours, queries, *times, without=LABELS) == [], compression
    for name, arguments in (("stranger", client(tmp_path, "stranger")), ("plain", [])):
        refused = start(Thanos(tmp_path, "query", f"--endpoint=127.0.0.1:{ours.grpc}", *arguments, name=f"query-{name}"))
        wait_until(lambda: "127.0.0.1" in refused.log.read_text(), f"{name} was refused")
        assert answer(refused, "/api/v1/query", {"query": "test_gauge", "time": times[1]}) == ("vector", []), name


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "zstd"])
def test_we_read_a_sidecar_and_ourselves_under_mutual_tls_and_compressed(tmp_path, start, data, certificates, compression):
    sidecar = Sidecar(tmp_path, LABELS)
    sidecar.sidecar.command += [f"--grpc-server-tls-cert={tmp_path / 'server.pem'}", f"--grpc-server-tls-key={tmp_path / 'server.key'}",
                                f"--grpc-server-tls-client-ca={tmp_path / 'ours.pem'}"]
    start(sidecar)
    behind = start(under_tls(Store(tmp_path, name="behind", labels=LABELS)))
    for url in (behind.url("/api/v1/write"), sidecar.url("/api/v1/write")):
        write(url, generated_series(1, data, SAMPLES))
    tls = "{ca_file: ours.pem, cert_file: client.pem, key_file: client.key, server_name_override: localhost}"
    times = data / 1000 + 300, data / 1000 + SAMPLES * STEP_MS / 1000
    for name, port in (("over-us", behind.grpc), ("over-sidecar", sidecar.grpc)):
        if compression == "zstd" and name == "over-sidecar":
            # Thanos knows gzip and snappy.
            continue
        endpoint = f'{{address: "127.0.0.1:{port}", compression: {compression}, tls: {tls}}}'
        ours = start(Store(tmp_path, name=name, query=f"{{store_apis: {{endpoints: [{endpoint}]}}}}"))
        wait_until(lambda: comparable(answer(ours, "/api/v1/query", {"query": "test_gauge", "time": times[1]})), f"{name} is seen")
        assert compare(ours, sidecar, generated_queries(19, 12), *times, without=LABELS) == [], name
        stranger = start(Store(tmp_path, name=f"{name}-plain", query=f'{{store_apis: {{endpoints: ["127.0.0.1:{port}"]}}}}'))

        def is_refused():
            stores = requests.get(stranger.url("/api/v1/stores"), timeout=5).json()["data"]
            return all(one["lastError"] for kind in stores.values() for one in kind if str(port) in one["name"])

        wait_until(is_refused, "without a certificate it is refused")
        assert difference(comparable(answer(stranger, "/api/v1/query", {"query": "test_gauge", "time": times[1]})), {}) is None
