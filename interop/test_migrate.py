"""`tidegate migrate prometheus`: the data folder of a real Prometheus, and what both programs then answer."""

import hashlib
import json
import random
import subprocess
import time

import requests
from conftest import TARGET
from metric_protocols import Gateway, held
from test_blocks import START, Prometheus, blocks, otlp, promtool


def migrate(gateway, folder, *arguments, fails=False):
    command = [TARGET / "tidegate", "--config", gateway.command[2], "migrate", "prometheus", folder, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + (done.stderr if fails else "")


def fingerprints(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_everything_of_a_prometheus_comes_over(tmp_path):
    # Old blocks, made of text.
    lines = ["# TYPE old gauge"]
    lines += [f'old{{n="{n}"}} {step * n} {START + step}' for n in range(10) for step in range(0, 5 * 3600, 60)]
    (tmp_path / "in.om").write_text("\n".join(lines) + "\n# EOF\n")
    folder = tmp_path / "prom"
    promtool("create-blocks-from", "openmetrics", tmp_path / "in.om", folder)
    # And a head: in order, late, native histograms, deletions.
    prometheus = Prometheus(tmp_path)
    prometheus.command.append("--storage.tsdb.retention.time=10y")
    gateway = Gateway(tmp_path)
    prometheus.start()
    try:
        chance = random.Random(6)
        steps = list(range(200))
        for at in range(20, 180, 7):
            steps[at], steps[at + 9] = steps[at + 9], steps[at]
        for step in steps:
            answer = requests.post(prometheus.url("/api/v1/otlp/v1/metrics"), json=otlp(step, chance), timeout=10)
            assert answer.status_code == 200, answer.text
        middle = int(time.time()) - 2400
        answer = requests.post(prometheus.url("/api/v1/admin/tsdb/delete_series"), timeout=10,
                               params={"match[]": 'level{n="3"}', "start": middle - 600, "end": middle})
        assert answer.status_code == 204, answer.text
        now = int(time.time()) + 1
        theirs = held(prometheus, 5000, now), held(prometheus, 6 * 3600, START + 5 * 3600)
        assert "runs in" in migrate(gateway, folder, fails=True)
    finally:
        prometheus.kill()
    # The old ones, and what Prometheus may have made of them or of its head meanwhile.
    there = sorted(path.name for path in folder.iterdir() if len(path.name) == 26)
    before = fingerprints(folder)
    planned = json.loads(migrate(gateway, folder, "--dry-run", "--output", "json"))
    report = json.loads(migrate(gateway, folder, "--output", "json"))
    assert fingerprints(folder) == before, "the source is as it was"
    assert planned["head"]["floats"] == report["head"]["floats"] > 2000 and report["head"]["histograms"] > 900, report
    assert len(there) >= 3 and sorted(report["blocks"]["taken"]) == there and not report["head"]["faults"], report
    gateway.start()
    try:
        ours = held(gateway, 5000, now), held(gateway, 6 * 3600, START + 5 * 3600)
        for mine, other in zip(ours, theirs):
            assert mine.keys() == other.keys() and len(mine) >= 10
            for labels, points in other.items():
                assert mine[labels] == points, labels
        assert "has data in" in migrate_again(gateway, folder)
    finally:
        gateway.kill()


def migrate_again(gateway, folder):
    """A second time is refused; the gateway is stopped for it, for it holds the folder."""
    gateway.stop()
    return migrate(gateway, folder, fails=True)


def test_a_damaged_block_stays_and_is_named(tmp_path):
    (tmp_path / "in.om").write_text("# TYPE old gauge\n" + "".join(f"old {n} {START + n}\n" for n in range(0, 9000, 30)) + "# EOF\n")
    folder = tmp_path / "prom"
    promtool("create-blocks-from", "openmetrics", tmp_path / "in.om", folder)
    damaged, *sound = sorted(path for path in folder.iterdir() if len(path.name) == 26)
    chunks = bytearray((damaged / "chunks/000001").read_bytes())
    chunks[40] ^= 1
    (damaged / "chunks/000001").write_bytes(chunks)
    gateway = Gateway(tmp_path)
    said = migrate(gateway, folder, "--link", fails=True)
    assert str(damaged) in said and "1 damaged blocks" in said, said
    assert json.loads(blocks("verify", "--output", "json", tmp_path / "tidegate-data" / "metrics" / "default"))
    taken = [path.name for path in (tmp_path / "tidegate-data" / "metrics" / "default").iterdir() if len(path.name) == 26]
    assert sorted(taken) == [path.name for path in sound]
