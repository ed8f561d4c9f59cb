"""Remote read: a real Prometheus that reads from us has the answers of one that reads from a real Prometheus."""

import struct
import time

import pytest
import requests
from conftest import wait_until
from metric_protocols import Gateway, Prometheus, differences, held
from test_remote_write import V2, Request, field, generated, histogram, post, snappy, varint, zigzag

EXTERNAL = 'cluster: a, replica: "0"'


def float_histogram(ms, count):
    """Counts as floats: no integer count, a zero count and buckets of doubles."""
    body = field(2, float(count)) + field(3, 2.5) + field(4, zigzag(3)) + field(5, 0.001) + field(7, 0.5)
    spans = field(11, field(1, zigzag(0)) + field(2, 2))
    return body + spans + field(13, struct.pack("<2d", 1.25, count - 1.75)) + field(15, ms)


def more(base_ms):
    """Chunks that are full, floats and histograms in turn, and a series that has an external label of its own."""
    request = Request(2)
    times = [base_ms - 1_200_000 + step * 3000 for step in range(400)]
    request.add([("__name__", "long"), ("job", "j")], [(ms, float(number % 7)) for number, ms in enumerate(times)])
    request.add([("__name__", "mixed"), ("job", "j")], [(ms, 1.0) for ms in times[:50]],
                [histogram(ms, 5 + number) for number, ms in enumerate(times[50:300])])
    request.add([("__name__", "counts"), ("job", "j")], [], [float_histogram(ms, 5 + step) for step, ms in enumerate(times)])
    request.add([("__name__", "own"), ("cluster", "mine"), ("job", "j")], [(times[-1], 1.0)])
    return request.bytes()


@pytest.mark.parametrize("reader_labels", ["", "cluster: a", "cluster: b"])
def test_a_real_prometheus_reads_the_same_from_us(tmp_path, start, reader_labels):
    sources = Prometheus(tmp_path, external=EXTERNAL), Gateway(tmp_path)
    config = tmp_path / "tidegate.yaml"
    config.write_text(config.read_text().replace("storage: {", f"storage: {{external_labels: {{{EXTERNAL}}}, "))
    base = int(time.time()) * 1000 - 60_000
    bodies = [more(base)] + [generated(2, number, base) for number in range(20)]
    for source in map(start, sources):
        for body in bodies:
            assert post(source, body, V2)[0] == 204
    readers = []
    for number, source in enumerate(sources):
        section = f'remote_read: [{{url: "{source.url("/api/v1/read")}", read_recent: true}}]\n'
        readers.append(start(Prometheus(tmp_path, name=f"reader{number}", scrape=section, external=reader_labels)))
    for seconds, after in ((1500, 20), (700, -300), (30, 20)):
        theirs, ours = (held(reader, seconds, base / 1000 + after) for reader in readers)
        assert not differences(ours, theirs), "\n".join(differences(ours, theirs))
        if seconds == 1500 and reader_labels != "cluster: b":
            # With other labels the reader asks for series of another cluster, and there are none but one's own.
            assert len(theirs) > 40
            assert any(("replica", "0") in key for key in theirs)
    for query in ("sum by (cluster, replica, job) (rate(long[5m]))", 'count({cluster="a"})',
                  'count({__name__!="", cluster!="a"})',
                  "histogram_quantile(0.9, mixed)", "sum(rate(counts[5m]))", 'own{cluster="mine"}'):
        at = {"query": query, "time": base / 1000 - 200}
        theirs, ours = (requests.get(reader.url("/api/v1/query"), params=at, timeout=60).json() for reader in readers)
        assert ours["status"] == theirs["status"] == "success" and ours["data"] == theirs["data"], query


def read_request(start_ms, end_ms, types):
    """A request for everything, which accepts answers of these types."""
    matcher = field(1, 2) + field(2, "__name__") + field(3, ".+")
    query = field(1, start_ms) + field(2, end_ms) + field(3, matcher)
    return snappy(field(1, query) + b"".join(varint(2 << 3) + varint(kind) for kind in types))


def test_answers_have_the_same_statuses_and_headers(tmp_path, start):
    servers = start(Prometheus(tmp_path)), start(Gateway(tmp_path))
    base = int(time.time()) * 1000 - 60_000
    for server in servers:
        assert post(server, more(base), V2)[0] == 204
        wait_until(lambda: held(server, 60, base / 1000), "it is there", 20)
    headers = {"content-type": "application/x-protobuf", "content-encoding": "snappy",
               "x-prometheus-remote-read-version": "0.1.0"}
    bodies = [read_request(base - 1_200_000, base, types) for types in ((), (0,), (1,), (0, 1), (1, 0), (7,))]
    for body in (*bodies, b"\xff\xff", snappy(b"\xff" * 20), snappy(b"")):
        told = []
        for server in servers:
            answer = requests.post(server.url("/api/v1/read"), data=body, headers=headers, timeout=30)
            told.append((answer.status_code, answer.headers.get("content-type"), answer.headers.get("content-encoding"),
                         len(answer.content) if answer.status_code == 200 else 0))
        theirs, ours = told
        if theirs[0] != 200:
            assert ours[0] == theirs[0], (body[:20], told)
            continue
        assert ours[:3] == theirs[:3], (body[:20], told)
        # The same samples; how a body is compressed and cut into frames is everybody's own.
        assert 0.8 < (ours[3] + 1) / (theirs[3] + 1) < 1.25, (body[:20], told)
