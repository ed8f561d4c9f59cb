"""Buckets of blocks: a real S3 server, gateways that ship into it, and what is in it as our tool and as thanos see it."""

import json
import pathlib
import random
import shutil
import subprocess

import requests
from conftest import ROOT, TARGET, Process, free_port, peer, wait_until
from test_remote_write import STALE, V1, Request, histogram
from thanos_peers import Store

HOUR_MS = 3_600_000
# The beginning of two weeks as compaction cuts them.
FORTNIGHT_MS = 1_209_600_000 * 1_405
ACCESS, SECRET = "tidegate", "tidegate-secret"


class S3(Process):
    """A real S3 server over a folder."""

    def __init__(self, folder, bucket="blocks"):
        self.port, self.bucket = free_port(), bucket
        self.root = folder / "s3"
        (self.root / bucket).mkdir(parents=True)
        command = [peer("versitygw"), "--port", f"127.0.0.1:{self.port}", "--access", ACCESS, "--secret", SECRET,
                   "posix", self.root]
        super().__init__("s3", command, folder)

    def start(self):
        super().start()
        wait_until(lambda: requests.get(f"http://127.0.0.1:{self.port}/", timeout=2).status_code in (403, 400, 200),
                   "the S3 server answers")
        return self

    def config(self):
        return {"type": "S3", "config": {"bucket": self.bucket, "endpoint": f"127.0.0.1:{self.port}", "insecure": True,
                                         "access_key": ACCESS, "secret_key": SECRET}}


def filesystem(path):
    return {"type": "FILESYSTEM", "config": {"directory": str(path)}}


def replica(folder, bucket, name, labels, compactor="{}"):
    """A gateway that ships its blocks into a bucket."""
    store = Store(folder, name=name, labels=labels)
    config = folder / f"{name}.yaml"
    text = config.read_text()
    text = text.replace("external_labels:", f"bucket: {json.dumps(bucket)}, external_labels:")
    config.write_text(text + f"compactor: {compactor}\n")
    return store


def series_at(seed, hour_ms, step_ms, offset_ms, count):
    """One hour of series of many kinds: counters with resets, gauges, gaps, native histograms. Its own state, so that
    hours can be made in any order: values follow from their time."""
    for index in range(count):
        kind = ["counter", "gauge", "gaps", "native", "stale"][index % 5]
        labels = [("__name__", f"test_{kind}"), ("instance", f"host{index % 7}"), ("n", str(index))]
        points, histograms = [], []
        for ms in range(hour_ms + offset_ms, hour_ms + HOUR_MS, step_ms):
            at = ms // 1000
            pick = random.Random(f"{seed}/{index}/{ms}")
            if kind == "counter":
                # Falls to nothing every 1.7 days or so, at its own times.
                points.append((ms, float((at + index * 7919) % (150_000 + index))))
            elif kind == "gauge":
                points.append((ms, round(pick.gauss(10, 50), 3)))
            elif kind == "gaps":
                if (at // 1800 + index) % 3:
                    points.append((ms, float(at % 997)))
            elif kind == "stale":
                points.append((ms, STALE if pick.random() < 0.02 else float(at % 331)))
            else:
                histograms.append(histogram(ms, 5 + (at + index * 911) % 90_000))
        if points or histograms:
            yield labels, points, histograms


def fill(store, seed, start_ms, hours, step_ms, offset_ms, count, away=()):
    """Writes hours of series to a gateway; hours in `away` are left out, as of a replica that was down."""
    url = store.url("/api/v1/write")
    with requests.Session() as session:
        for hour in range(hours):
            if hour in away:
                continue
            for labels, points, histograms in series_at(seed, start_ms + hour * HOUR_MS, step_ms, offset_ms, count):
                request = Request(1)
                request.add(sorted(labels), points, histograms)
                answer = session.post(url, data=request.bytes(), timeout=60,
                                      headers={"Content-Type": V1, "Content-Encoding": "snappy"})
                assert answer.status_code in (200, 204), answer.text


def make_bucket(folder, days, series, step_s):
    """Fills a folder with the blocks of two replicas that are away for some hours: without any store, so that it is quick."""
    maker = TARGET / "examples" / "make_bucket"
    command = [maker] if maker.exists() else ["cargo", "run", "-q", "--release", "-p", "compactor", "--example", "make_bucket", "--"]
    subprocess.run([*map(str, [*command, folder, days, series, step_s])], check=True, cwd=ROOT)


def bucket_config(folder, bucket, name="bucket", compactor="{}"):
    """A config that names only a bucket, for the command line."""
    path = folder / f"{name}-cli.yaml"
    path.write_text(f"""receivers: {{prometheusremotewrite: {{}}}}
exporters: {{metrics_store: {{}}}}
service: {{pipelines: {{metrics: {{receivers: [prometheusremotewrite], exporters: [metrics_store]}}}}}}
storage: {{directory: {folder / (name + "-cli-data")}, bucket: {json.dumps(bucket)}, external_labels: {{cluster: cli}}}}
compactor: {compactor}
""")
    return path


def blocks(config, *arguments, fails=False):
    """Runs `tidegate blocks` on the bucket of a config."""
    command = [TARGET / "tidegate", "blocks", *map(str, arguments), "--config", config]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert (done.returncode != 0) == fails, done.stderr + done.stdout
    return done.stdout + (done.stderr if fails else "")


def listed(config):
    return json.loads(blocks(config, "ls", "--output", "json"))


def thanos(folder, bucket, *arguments, timeout=600):
    """Runs a command of the real thanos on a bucket."""
    config = folder / "objstore.yaml"
    config.write_text(json.dumps(bucket))
    command = [peer("thanos"), *arguments, f"--objstore.config-file={config}"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=timeout, cwd=folder)
    assert done.returncode == 0, done.stderr[-4000:] + done.stdout[-4000:]
    return done


def thanos_compact(folder, bucket, *arguments):
    """Lets the real compactor work a bucket to the end."""
    work = folder / "thanos-compact"
    shutil.rmtree(work, ignore_errors=True)
    return thanos(folder, bucket, "compact", f"--data-dir={work}", f"--http-address=127.0.0.1:{free_port()}",
                  "--consistency-delay=0s", "--delete-delay=0s", "--log.level=warn", *arguments)


def summary(folder):
    """What blocks there are in a bucket that is a folder: time range, resolution, labels, level, sources."""
    found = []
    for path in sorted(pathlib.Path(folder).glob("*/meta.json")):
        if (path.parent / "deletion-mark.json").exists():
            continue
        try:
            meta = json.loads(path.read_text())
        except FileNotFoundError:
            # It was removed whole since it was listed.
            continue
        section = meta["thanos"]
        found.append((section["downsample"]["resolution"], meta["minTime"], meta["maxTime"],
                      meta["compaction"]["level"], tuple(sorted(section["labels"].items())),
                      tuple(sorted(meta["compaction"]["sources"])), path.parent))
    return sorted(found, key=lambda block: block[:6])


def dump(folder):
    """All samples, or all windows, of one block, as sorted lines."""
    done = subprocess.run([TARGET / "tidegate", "blocks", "dump", folder], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines())


def same_blocks(ours, theirs):
    """Two buckets have the same blocks with the same samples and windows; returns how many lines were compared."""
    left, right = summary(ours), summary(theirs)
    assert [block[:6] for block in left] == [block[:6] for block in right]
    lines = 0
    for mine, other in zip(left, right):
        one, two = dump(mine[6]), dump(other[6])
        different = [(a, b) for a, b in zip(one, two) if a != b]
        assert len(one) == len(two) and not different, (
            f"{mine[:5]}: {len(one)} and {len(two)} lines; first differences {different[:3]} in {mine[6]} {other[6]}")
        lines += len(one)
    return lines
