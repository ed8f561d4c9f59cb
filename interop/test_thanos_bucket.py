"""Our blocks in a bucket of a real S3 server, served and checked by the real thanos."""

import json
import re

from conftest import wait_until
from thanos_bucket import FORTNIGHT_MS, HOUR_MS, S3, blocks, bucket_config, fill, listed, replica, thanos
from thanos_peers import Thanos, answer, comparable, difference, thanos_query

SERIES = 10


def test_a_real_store_serves_what_we_shipped(tmp_path, start):
    s3 = start(S3(tmp_path))
    gateway = replica(tmp_path, s3.config(), "a", {"cluster": "c", "replica": "a"})
    start(gateway)
    fill(gateway, 1, FORTNIGHT_MS, 12, 30_000, 0, SERIES)
    config = bucket_config(tmp_path, s3.config())

    # The newest range stays in the head; a restart ships at once, and names nothing twice.
    def shipped():
        return len(listed(config)["blocks"]) >= 4

    folder = tmp_path / "a-data" / "metrics" / "default"
    wait_until(lambda: len(list(folder.glob("*/meta.json"))) >= 4, "blocks are on disk")
    gateway.stop()
    gateway.start()
    wait_until(shipped, "blocks are in the bucket")
    gateway.kill()
    gateway.start()
    wait_until(shipped, "blocks are in the bucket after kill -9")
    view = listed(config)
    assert view["partial"] == []
    ulids = [block["meta"]["ulid"] for block in view["blocks"]]
    starts = [block["meta"]["minTime"] for block in view["blocks"]]
    assert len(set(starts)) == len(starts), "no block is there twice"
    for block in view["blocks"]:
        section = block["meta"]["thanos"]
        assert section["labels"] == {"cluster": "c", "replica": "a"} and section["source"] == "receive"
        assert section["downsample"] == {"resolution": 0}
        sizes = {file["rel_path"]: file.get("size_bytes") for file in section["files"]}
        assert sizes == {name: size for name, size in block["objects"].items() if name != "meta.json"} | {"meta.json": None}
    blocks(config, "verify")

    # Thanos' own tools see the same.
    listing = thanos(tmp_path, s3.config(), "tools", "bucket", "ls", "-o", "json").stdout
    theirs = re.findall(r'^\t"ulid": "(\w+)"', listing, re.MULTILINE)
    assert sorted(theirs) == sorted(ulids), listing
    checked = thanos(tmp_path, s3.config(), "tools", "bucket", "verify", "--issues=index_known_issues",
                     "--issues=overlapped_blocks", "--issues=duplicated_compaction", "--log.level=warn")
    assert "level=error" not in checked.stderr and "level=warn" not in checked.stderr, checked.stderr
    thanos(tmp_path, s3.config(), "tools", "bucket", "inspect")

    # A real store answers from our bucket what we answer.
    store = start(Thanos(tmp_path, "store", f"--data-dir={tmp_path / 'store'}",
                         f"--objstore.config-file={tmp_path / 'objstore.yaml'}"))
    query = start(thanos_query(tmp_path, [store.grpc]))
    first, last = min(starts) // 1000, max(starts) // 1000
    parameters = {"start": first + 600, "end": last - 60, "step": 300}
    for text in ["test_counter", "test_gauge", "test_gaps", "sum by (instance) (rate(test_counter[5m]))",
                 "count(test_stale)", "histogram_count(test_native)", "sum(rate(test_native[10m]))"]:
        ours, other = (comparable(answer(server, "/api/v1/query_range", {"query": text} | parameters),
                                  without=("cluster", "replica")) for server in (gateway, query))
        assert ours, text
        assert difference(ours, other) is None, f"{text}: {difference(ours, other)}"


def test_a_bucket_that_is_away_keeps_blocks_waiting_and_loses_none(tmp_path, start):
    s3 = S3(tmp_path)
    gateway = replica(tmp_path, s3.config(), "a", {"cluster": "c"})
    start(gateway)
    fill(gateway, 2, FORTNIGHT_MS, 14, 60_000, 0, SERIES)
    folder = tmp_path / "a-data" / "metrics" / "default"
    wait_until(lambda: len(list(folder.glob("*/meta.json"))) >= 5, "blocks are on disk")
    # Without their upload they are not compacted, though nine hours would be enough for it.
    assert all(json.loads(path.read_text())["compaction"]["level"] == 1 for path in folder.glob("*/meta.json"))
    start(s3)
    gateway.stop()
    gateway.start()
    config = bucket_config(tmp_path, s3.config())
    wait_until(lambda: len(listed(config)["blocks"]) >= 5, "blocks are in the bucket")
    ends = sorted(block["meta"]["maxTime"] for block in listed(config)["blocks"])
    assert ends[0] == FORTNIGHT_MS + 2 * HOUR_MS
