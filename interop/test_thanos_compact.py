"""Compaction of a bucket by us and by the real `thanos compact` from copies of the same blocks: the same ranges,
resolutions and sources, and every sample and window equal.

INTEROP_COMPACT_HOURS (default 52, whole form 360) and INTEROP_COMPACT_SERIES (default 10) say how much,
INTEROP_COMPACT_KILLS (default 8, whole form 100) how often a compactor is killed, INTEROP_LEASE_RACES (default 10, whole
form 200) how often two want the same bucket."""

import json
import os
import random
import shutil
import subprocess
import time

import pytest
from conftest import TARGET, free_port, peer, wait_until
from s3_faults import Faults
from thanos_bucket import (FORTNIGHT_MS, HOUR_MS, S3, blocks, bucket_config, dump, fill, filesystem, listed, replica, same_blocks,
                           summary, thanos, thanos_compact)

HOURS = int(os.environ.get("INTEROP_COMPACT_HOURS", 52))
KILLS = int(os.environ.get("INTEROP_COMPACT_KILLS", 8))
SERIES = int(os.environ.get("INTEROP_COMPACT_SERIES", 10))
RACES = int(os.environ.get("INTEROP_LEASE_RACES", 10))
DEDUPLICATION = ["--deduplication.replica-label=replica", "--deduplication.func=penalty"]
NOW = ["--consistency-delay=0s", "--delete-delay=0s"]


def sources(folder):
    """The blocks of two hours that a store has, some as parts of larger ones."""
    return {one for path in folder.glob("*/meta.json") for one in json.loads(path.read_text())["compaction"]["sources"]}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A bucket in a folder with the blocks of two replicas, each away for some hours. Tests work on copies."""
    folder = tmp_path_factory.mktemp("shipped")
    bucket = folder / "bucket"
    for name, offset_ms, away in [("a", 0, {7, 8, 9, 30}), ("b", 4_000, {20, 21, 22, 23, 24, 25, 26, 30})]:
        gateway = replica(folder, filesystem(bucket), name, {"cluster": "c", "replica": name}).start()
        try:
            fill(gateway, 3, FORTNIGHT_MS, HOURS, 60_000, offset_ms, SERIES, away)
            local = folder / f"{name}-data" / "metrics" / "default"
            # What follows the last block stays in memory: less than a block and a half.
            last = FORTNIGHT_MS + (HOURS - 2) // 2 * 2 * HOUR_MS
            ends = lambda: [json.loads(path.read_text())["maxTime"] for path in local.glob("*/meta.json")]
            wait_until(lambda: max(ends(), default=0) >= last, "blocks are on disk", 120 + HOURS)
            # A start ships at once.
            gateway.stop()
            gateway.start()
            # What was uploaded before may be part of larger blocks here by now, which are not.
            whole = sources(local)
            wait_until(lambda: whole <= {path.parent.name for path in bucket.glob("*/meta.json")}, "blocks are shipped", 120 + HOURS)
        finally:
            gateway.kill()
    return bucket


@pytest.fixture
def copy(tmp_path, shipped):
    def make(name):
        shutil.copytree(shipped, tmp_path / name)
        return tmp_path / name

    return make


def test_the_same_blocks_as_thanos_compact(tmp_path, copy):
    ours, theirs = copy("ours"), copy("theirs")
    config = bucket_config(tmp_path, filesystem(ours))
    assert "compact" in blocks(config, "compact", *DEDUPLICATION, *NOW, "--dry-run")
    blocks(config, "compact", *DEDUPLICATION, *NOW)
    thanos_compact(tmp_path, filesystem(theirs), "--compact.enable-vertical-compaction", *DEDUPLICATION)
    assert {block[0] for block in summary(ours)} >= {0, 300_000}
    lines = same_blocks(ours, theirs)
    print(f"{len(summary(ours))} blocks, {lines} samples and windows are equal")

    # Nothing is left to do for either, whoever comes next; and thanos finds nothing wrong.
    before = summary(ours)
    thanos_compact(tmp_path, filesystem(ours), "--compact.enable-vertical-compaction", *DEDUPLICATION)
    assert summary(ours) == before
    before = summary(theirs)
    blocks(bucket_config(tmp_path, filesystem(theirs), "theirs"), "compact", *DEDUPLICATION, *NOW)
    assert summary(theirs) == before
    checked = thanos(tmp_path, filesystem(ours), "tools", "bucket", "verify", "--issues=index_known_issues",
                     "--issues=overlapped_blocks", "--issues=duplicated_compaction", "--log.level=warn")
    assert "level=error" not in checked.stderr and "level=warn" not in checked.stderr, checked.stderr
    blocks(config, "verify")


def test_replicas_stay_apart_without_deduplication(tmp_path, copy):
    ours, theirs = copy("ours"), copy("theirs")
    blocks(bucket_config(tmp_path, filesystem(ours)), "compact", *NOW, "--downsampling.disable")
    thanos_compact(tmp_path, filesystem(theirs), "--downsampling.disable")
    assert len({block[4] for block in summary(ours)}) == 2
    same_blocks(ours, theirs)


def test_a_damaged_block_is_left_out_and_the_rest_goes_on(tmp_path, copy):
    ours = copy("ours")
    victim = summary(ours)[0][6]
    segment = victim / "chunks" / "000001"
    damaged = bytearray(segment.read_bytes())
    damaged[len(damaged) // 2] ^= 0x40
    segment.write_bytes(damaged)
    config = bucket_config(tmp_path, filesystem(ours))
    blocks(config, "compact", *NOW, fails=True)
    mark = json.loads((victim / "no-compact-mark.json").read_text())
    assert mark["id"] == victim.name and "checksum" in mark["details"]
    assert (victim / "meta.json").exists(), "it is not removed"
    assert max(block[3] for block in summary(ours)) > 1, "the others became larger blocks"
    blocks(config, "compact", *NOW)


def test_marks_retention_and_leftovers(tmp_path, copy):
    ours = copy("ours")
    config = bucket_config(tmp_path, filesystem(ours), compactor="{retention: {raw: 50h}}")
    first = summary(ours)[0][6].name
    blocks(config, "mark", "--id", first, "--marker", "no-compact-mark.json", "--details", "x", "--dry-run")
    assert not (ours / first / "no-compact-mark.json").exists()
    blocks(config, "mark", "--id", first, "--marker", "no-compact-mark.json", "--details", "x")
    assert json.loads((ours / first / "no-compact-mark.json").read_text())["reason"] == "manual"
    blocks(config, "mark", "--id", first, "--marker", "no-compact-mark.json", "--remove")
    assert not (ours / first / "no-compact-mark.json").exists()
    leftover = ours / "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    leftover.mkdir()
    (leftover / "index").write_bytes(b"cut")
    os.utime(leftover / "index", (0, 0))
    # All of it ended years ago.
    assert "expired" in blocks(config, "retention", "--consistency-delay=0s", "--dry-run")
    blocks(config, "retention", "--consistency-delay=0s")
    assert summary(ours) == [], "every block is marked"
    assert len(listed(config)["blocks"]) > 0
    blocks(config, "cleanup", *NOW)
    assert listed(config) == {"blocks": [], "partial": []}
    assert not leftover.exists()


def test_blocks_are_uploaded_downsampled_and_described_by_hand(tmp_path, copy):
    """Blocks that promtool made go into a bucket by our tool, and Thanos finds them sound; one step after the other comes to
    what `thanos compact` does at once."""
    ours, theirs = copy("ours"), copy("theirs")
    blocks(bucket_config(tmp_path, filesystem(ours)), "compact", *DEDUPLICATION, *NOW, "--downsampling.disable")
    assert {block[0] for block in summary(ours)} == {0}
    config = bucket_config(tmp_path, filesystem(ours))
    assert "downsample" in blocks(config, "downsample", "--consistency-delay=0s", "--dry-run")
    assert {block[0] for block in summary(ours)} == {0}
    blocks(config, "downsample", "--consistency-delay=0s")
    thanos_compact(tmp_path, filesystem(theirs), "--compact.enable-vertical-compaction", *DEDUPLICATION)
    assert {block[0] for block in summary(ours)} >= {300_000}
    same_blocks(ours, theirs)

    made, bucket = tmp_path / "made", tmp_path / "uploaded"
    bucket.mkdir()
    text = tmp_path / "made.txt"
    start = FORTNIGHT_MS // 1000
    text.write_text("".join(f'up{{n="{n}"}} {at % 77} {at}\n' for n in range(3) for at in range(start, start + 4 * 3600, 30)) + "# EOF\n")
    subprocess.run([peer("promtool"), "tsdb", "create-blocks-from", "openmetrics", "-q", text, made], check=True)
    local = sorted(path.parent for path in made.glob("*/meta.json"))
    config = bucket_config(tmp_path, filesystem(bucket), "uploaded")
    assert len(local) == 2
    blocks(config, "upload", made, "--dry-run")
    assert summary(bucket) == []
    blocks(config, "upload", made)
    assert [block[6].name for block in summary(bucket)] == sorted(path.name for path in local)
    assert {block[4] for block in summary(bucket)} == {(("cluster", "cli"),)}
    same = [dump(path) == dump(bucket / path.name) for path in local]
    assert same == [True, True]
    checked = thanos(tmp_path, filesystem(bucket), "tools", "bucket", "verify", "--issues=index_known_issues",
                     "--issues=overlapped_blocks", "--issues=duplicated_compaction", "--log.level=warn")
    assert "level=error" not in checked.stderr and "level=warn" not in checked.stderr, checked.stderr
    described = thanos(tmp_path, filesystem(bucket), "tools", "bucket", "inspect", "--output=csv").stdout
    inspected = [block["meta"] for block in json.loads(blocks(config, "inspect", "--output", "json"))]
    assert len(inspected) == 2
    for meta in inspected:
        counts = ",".join(str(meta["stats"][name]) for name in ("numSeries", "numSamples", "numChunks"))
        row, = [line for line in described.splitlines() if line.startswith(meta["ulid"])]
        assert f",{counts},1,false,cluster=cli,0s,bucket.upload" in row, row


def test_each_resolution_is_kept_for_its_own_time_as_by_thanos(tmp_path, copy):
    """Raw blocks that are too old are marked once there are windows of five minutes of them, which are kept for ever."""
    ours, theirs = copy("ours"), copy("theirs")
    first = copy("first")
    blocks(bucket_config(tmp_path, filesystem(first)), "compact", *DEDUPLICATION, *NOW)
    kept = [block[:6] for block in summary(first) if block[0]]
    assert kept and len(kept) < len(summary(first))
    for bucket in (ours, theirs):
        shutil.rmtree(bucket)
        shutil.copytree(first, bucket)
    config = bucket_config(tmp_path, filesystem(ours), compactor="{retention: {raw: 50h, 5m: 0s, 1h: 0s}}")
    blocks(config, "retention", "--consistency-delay=0s")
    thanos_compact(tmp_path, filesystem(theirs), "--compact.enable-vertical-compaction", *DEDUPLICATION,
                   "--retention.resolution-raw=50h", "--retention.resolution-5m=0d", "--retention.resolution-1h=0d")
    assert [block[:6] for block in summary(ours)] == kept
    assert [block[:6] for block in summary(theirs)] == kept


def test_kill_9_at_random_moments_comes_to_the_same_end(tmp_path, copy):
    """A bucket is worked to its end under kills, then the next copy of it, until there were enough of them."""
    theirs, whole = copy("theirs"), copy("whole")
    thanos_compact(tmp_path, filesystem(theirs), "--compact.enable-vertical-compaction", *DEDUPLICATION)
    began = time.monotonic()
    blocks(bucket_config(tmp_path, filesystem(whole)), "compact", *DEDUPLICATION, *NOW)
    seconds = time.monotonic() - began
    seed = int(os.environ.get("INTEROP_SEED", time.time()))
    print(f"INTEROP_SEED={seed}")
    pick, killed, buckets, lines = random.Random(seed), 0, 0, 0
    while killed < KILLS:
        ours = copy(f"ours-{buckets}")
        config = bucket_config(tmp_path, filesystem(ours), compactor="{lease_duration: 1s}")
        command = [str(part) for part in (TARGET / "tidegate", "blocks", "compact", *DEDUPLICATION, *NOW, "--config", config)]
        is_done = False
        while killed < KILLS and not is_done:
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                # Who finds the lease of one that was killed ends at once; the lease ends by itself.
                is_done = child.wait(timeout=pick.uniform(0.01, seconds)) == 0
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                killed += 1
        wait_until(lambda: subprocess.run(command, capture_output=True).returncode == 0, "it comes to an end", 60)
        blocks(config, "compact", *DEDUPLICATION, *NOW)
        lines += same_blocks(ours, theirs)
        shutil.rmtree(ours)
        buckets += 1
    print(f"killed {killed} times in {buckets} buckets, {lines} samples and windows are equal")


def test_taking_turns_with_thanos_in_mid_work(tmp_path, copy):
    """Each is stopped in the middle of it, and the other goes on: we begin with one bucket, Thanos with the other."""
    ours, begun, theirs = copy("ours"), copy("begun"), copy("theirs")
    before = len(summary(ours))
    config = bucket_config(tmp_path, filesystem(ours), compactor="{lease_duration: 1s}")
    command = [str(part) for part in (TARGET / "tidegate", "blocks", "compact", *DEDUPLICATION, *NOW, "--config", config)]
    objstore = tmp_path / "begun.yaml"
    objstore.write_text(json.dumps(filesystem(begun)))
    thanos_command = [peer("thanos"), "compact", f"--data-dir={tmp_path / 'begun-work'}", *NOW, *DEDUPLICATION,
                      f"--http-address=127.0.0.1:{free_port()}", f"--objstore.config-file={objstore}",
                      "--compact.enable-vertical-compaction", "--log.level=error"]
    for bucket, arguments in ((ours, command), (begun, thanos_command)):
        child = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: len(summary(bucket)) < before - 4, "some are compacted")
        child.kill()
        child.wait()
    left = [len(summary(bucket)) for bucket in (ours, begun)]
    thanos_compact(tmp_path, filesystem(ours), "--compact.enable-vertical-compaction", "--downsampling.disable",
                   *DEDUPLICATION)
    wait_until(lambda: subprocess.run(command, capture_output=True).returncode == 0, "it comes to an end", 60)
    blocks(bucket_config(tmp_path, filesystem(begun), "begun"), "compact", *DEDUPLICATION, *NOW)
    thanos_compact(tmp_path, filesystem(theirs), "--compact.enable-vertical-compaction", *DEDUPLICATION)
    print(f"of {before} blocks {left[0]} were left by us, {left[1]} by thanos, {len(summary(theirs))} at the end; "
          f"{same_blocks(ours, theirs) + same_blocks(begun, theirs)} samples and windows are equal")
    assert min(left) > len(summary(theirs)), "both were stopped before the end"


def test_of_two_that_want_the_lease_of_a_bucket_one_gets_it(tmp_path, start):
    """Two processes begin at once on a real S3 server; whoever has the lease is kept at work until the other has ended."""
    s3 = start(S3(tmp_path))
    through = s3.config()
    proxy = start(Faults(s3.port, 1, share=0))
    through["config"]["endpoint"] = f"127.0.0.1:{proxy.port}"
    config = bucket_config(tmp_path, through)
    command = [str(part) for part in (TARGET / "tidegate", "blocks", "compact", *NOW, "--config", config)]
    for race in range(RACES):
        proxy.work.clear()
        two = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
        wait_until(lambda: any(child.poll() is not None for child in two), "one has ended")
        loser, = [child for child in two if child.poll() is not None]
        winner, = [child for child in two if child is not loser]
        assert loser.returncode != 0 and "compacts this bucket" in loser.stdout.read(), f"race {race}"
        assert winner.poll() is None, f"race {race}"
        proxy.work.set()
        assert winner.wait(60) == 0, winner.stdout.read()
    print(f"{RACES} of {RACES} races had one winner")


def test_faults_of_the_object_store_come_to_the_same_end(tmp_path, copy, start):
    """One request in twenty is refused, answered with an error or half an answer, late, or done without an answer."""
    theirs = copy("theirs")
    s3 = start(S3(tmp_path))
    ours = s3.root / s3.bucket
    shutil.copytree(copy("ours"), ours, dirs_exist_ok=True)
    seed = int(os.environ.get("INTEROP_SEED", time.time()))
    print(f"INTEROP_SEED={seed}")
    faults = start(Faults(s3.port, seed))
    through = s3.config()
    through["config"]["endpoint"] = f"127.0.0.1:{faults.port}"
    config = bucket_config(tmp_path, through, compactor="{lease_duration: 1s}")
    command = [TARGET / "tidegate", "blocks", "compact", *DEDUPLICATION, *NOW, "--config", config]
    rounds = 0

    log = tmp_path / "rounds.log"

    def ended():
        nonlocal rounds
        rounds += 1
        with open(log, "ab") as out:
            return subprocess.run(command, stdout=out, stderr=out).returncode == 0

    wait_until(ended, "it comes to an end", 300)
    faults.share = 0
    blocks(config, "compact", *DEDUPLICATION, *NOW)
    blocks(config, "verify")
    thanos_compact(tmp_path, filesystem(theirs), "--compact.enable-vertical-compaction", *DEDUPLICATION)
    lines = same_blocks(ours, theirs)
    print(f"{rounds} rounds, {faults.requests} requests, {faults.counts}; {lines} samples and windows are equal")
    assert sum(faults.counts.values()) > 10


def test_gateways_compact_a_bucket_one_at_a_time(tmp_path, copy, start):
    ours, theirs = copy("ours"), copy("theirs")
    how = ("{enabled: true, wait_interval: 1s, lease_duration: 2s, consistency_delay: 0s, delete_delay: 0s, "
           "deduplication: {replica_labels: [replica], func: penalty}}")
    for name in ("one", "two"):
        start(replica(tmp_path, filesystem(ours), name, {"cluster": name}, compactor=how))
    thanos_compact(tmp_path, filesystem(theirs), "--compact.enable-vertical-compaction", *DEDUPLICATION)
    wanted = [block[:6] for block in summary(theirs)]
    wait_until(lambda: [block[:6] for block in summary(ours)] == wanted, "the bucket is compacted", 120)
    same_blocks(ours, theirs)
    # Both would have made blocks of the same sources if they had worked at the same time.
    assert len({(block[0], block[5]) for block in summary(ours)}) == len(summary(ours))
