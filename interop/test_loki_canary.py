"""loki-canary, Loki's own loss detector: it writes through the push API, reads by tail and by query, and counts.

The short form runs for 40 s; INTEROP_CANARY_SECONDS=600 is the long one.

The canary gives its connection up, sleeps for 10 s and connects again when no line comes for ten of its intervals
(pkg/canary/reader). What was written meanwhile comes with the look back, so its `wait` has to be longer than that: a
machine that stands still for a second must not look like a lost line.

A tail hands a line on as soon as it is stored. On a busy machine that is before the canary notes that it has sent the
line, now and then: it calls the line unexpected then, waits for it, and counts it as missing from the tail later. Such a
line is known by its time, which both messages name, and has to be in the store once.
"""

import os
import re
import time

import requests
from conftest import Process, free_port, peer, wait_until

SECONDS = int(os.environ.get("INTEROP_CANARY_SECONDS", "40"))


def counters(port):
    """The canary's counters by name, labels summed up."""
    found = {}
    for row in requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text.splitlines():
        if row.startswith("loki_canary_") and not row.startswith("#"):
            name, value = row.rsplit(" ", 1)
            name = name.split("{")[0]
            found[name] = found.get(name, 0.0) + float(value)
    return found


def test_the_canary_misses_nothing_and_sees_nothing_twice(gateway, tmp_path):
    port = free_port()
    # Late entries are to have come by tail, too, before the canary looks for what is older than its wait.
    wait, oldest = (15, 3) if SECONDS < 300 else (30, 10)
    canary = Process("loki-canary", [
        peer("loki-canary"), f"-addr=127.0.0.1:{gateway.loki}", "-push", f"-port={port}", "-labelname=name",
        "-labelvalue=canary", "-interval=100ms", "-size=200", "-logs-batch-size=1", "-out-of-order-percentage=10",
        f"-out-of-order-min=1s", f"-out-of-order-max={oldest}s", f"-wait={wait}s", f"-max-wait={wait + 10}s", "-pruneinterval=2s",
        "-spot-check-interval=5s", "-spot-check-initial-wait=2s", "-spot-check-query-rate=5s", "-spot-check-max=60s",
        "-metric-test-interval=10s", "-metric-test-range=20s", "-cache-test-interval=10s", "-cache-test-range=10s",
        "-cache-test-now=5s",
    ], tmp_path).start()
    try:
        canary.wait_ready(f"http://127.0.0.1:{port}/metrics")
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            assert canary.child.poll() is None, canary.tail()
            time.sleep(1)
        seen = counters(port)
        # What is on its way when we look is not missing: ask until all that was written before has come back.
        written = seen["loki_canary_entries_total"]
        wait_until(lambda: counters(port)["loki_canary_response_latency_seconds_count"] >= written, "every entry by tail")
        seen = counters(port)
    finally:
        canary.stop()
    assert written >= SECONDS * 5
    print(f"\ncanary: {int(written)} entries in {SECONDS} s, {seen.get('loki_canary_out_of_order_entries_total', 0):.0f} out of order by tail, "
          f"{canary.tail().count('reconnecting')} reconnections")
    log = canary.log.read_text(errors="replace")
    early = set(re.findall(r"received an unexpected entry with ts (\d+)", log))
    late = set(re.findall(r"websocket missing entry: (\d+)", log))
    print(f"{len(early)} came before the canary knew of them")
    assert len(early) <= written / 1000 and late <= early, (early, late, canary.tail())
    for at in map(int, early):
        assert len(gateway.lines('{name="canary"}', start=at, end=at + 1)) == 1, at
    for name, known in (("missing_entries_total", 0), ("websocket_missing_entries_total", len(late)), ("unexpected_entries_total", len(early)),
                        ("duplicate_entries_total", 0), ("spot_check_missing_entries_total", 0)):
        assert seen.get(f"loki_canary_{name}", 0) <= known, (name, seen, canary.tail())
    assert seen.get("loki_canary_spot_check_entries_total", 0) > 0, seen
