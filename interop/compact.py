"""Compaction of a bucket beside `thanos compact`, from copies of the same blocks: CPU, wall time, peak memory and bytes
written, and whether all samples and windows are equal. Prints a table for docs/performance.md.

  interop/run compact        INTEROP_COMPACT_DAYS (7), _SERIES (1300), _STEP seconds (15), _FOLDER (a temporary one)
"""

import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from conftest import TARGET, free_port, peer
from thanos_bucket import bucket_config, filesystem, make_bucket, summary

DAYS = int(os.environ.get("INTEROP_COMPACT_DAYS", 7))
SERIES = int(os.environ.get("INTEROP_COMPACT_SERIES", 1300))
STEP = int(os.environ.get("INTEROP_COMPACT_STEP", 15))
DEDUPLICATION = ["--deduplication.replica-label=replica", "--deduplication.func=penalty"]


def measured(command, folder):
    """Runs a program to its end: CPU seconds, wall seconds, peak MiB, MiB written."""
    start = time.monotonic()
    with open(folder / "run.log", "ab") as log:
        child = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, cwd=folder)
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0, (folder / "run.log").read_text()[-4000:]
    return (usage.ru_utime + usage.ru_stime, time.monotonic() - start, usage.ru_maxrss / 1024, usage.ru_oublock / 2048)


def content(block):
    """How many lines a block has as text, and what they are, in any order: too many to be held at once."""
    lines = digest = 0
    with subprocess.Popen([TARGET / "tidegate", "blocks", "dump", block], stdout=subprocess.PIPE) as child:
        for line in child.stdout:
            lines += 1
            digest = (digest + hash(line)) % 2**64
    assert child.returncode == 0, block
    return lines, digest


def same_content(ours, theirs):
    """Both buckets have the same blocks with the same samples and windows; how many lines were compared."""
    left, right = summary(ours), summary(theirs)
    assert [block[:6] for block in left] == [block[:6] for block in right], (left, right)
    lines = 0
    for mine, other in zip(left, right):
        one, two = content(mine[6]), content(other[6])
        assert one == two, f"{mine[:5]}: {one[0]} and {two[0]} lines, or others, in {mine[6]} and {other[6]}"
        lines += one[0]
    return lines


def main():
    folder = pathlib.Path(os.environ.get("INTEROP_COMPACT_FOLDER") or tempfile.mkdtemp(prefix="tidegate-compact-"))
    try:
        made = folder / "made"
        make_bucket(made, DAYS, SERIES, STEP)
        for name in ("ours", "theirs"):
            shutil.copytree(made, folder / name)
        blocks = len(summary(made))
        size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file()) / 2**20
        shutil.rmtree(made)
        config = bucket_config(folder, filesystem(folder / "ours"))
        ours = measured([TARGET / "tidegate", "blocks", "compact", *DEDUPLICATION, "--consistency-delay=0s",
                         "--delete-delay=0s", "--config", config], folder)
        objstore = folder / "objstore.yaml"
        objstore.write_text(f"type: FILESYSTEM\nconfig: {{directory: {folder / 'theirs'}}}\n")
        theirs = measured([peer("thanos"), "compact", f"--data-dir={folder / 'work'}", "--log.level=warn",
                           f"--http-address=127.0.0.1:{free_port()}", "--consistency-delay=0s", "--delete-delay=0s",
                           "--compact.enable-vertical-compaction", *DEDUPLICATION,
                           f"--objstore.config-file={objstore}"], folder)
        print(f"{blocks} blocks of two replicas, {SERIES} series, {DAYS} days at {STEP} s, {size:.0f} MiB\n")
        print("| | CPU s | wall s | peak MiB | MiB written |\n|---|---|---|---|---|")
        for name, row in [("tidegate blocks compact", ours), ("thanos compact", theirs)]:
            print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in row) + " |", flush=True)
        lines = same_content(folder / "ours", folder / "theirs")
        print(f"\n{len(summary(folder / 'ours'))} blocks then, {lines:,} samples and windows equal")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
