"""A corpus of log lines for LogQL queries (`loki_queries`), the same for the same seed."""

import json
import random

SECOND = 10**9
SPAN = 3600

PATHS = ["/", "/api/v1/users", "/api/v1/orders/42", "/static/app.js", "/healthz"]
LEVELS = ["debug", "info", "warn", "error"]


def json_line(rng, number):
    members = {
        "level": rng.choice(LEVELS), "status": rng.choice([200, 200, 201, 404, 500]), "method": rng.choice(["GET", "POST"]),
        "path": rng.choice(PATHS), "duration": f"{rng.randrange(1, 5000)}ms", "bytes": rng.randrange(100000),
        "user": {"id": rng.randrange(50), "name": rng.choice(["ann", "böb", 'c"d', "日本"])}, "tags": ["a", "b"],
        "ok": rng.random() < 0.5, "nul": None, "trace_id": f"{rng.getrandbits(128):032x}",
    }
    if number % 17 == 0:
        members["app"] = "inner"
    if number % 31 == 0:
        members["nested.key"] = {"9x": 1.5e3}
    line = json.dumps(members, ensure_ascii=number % 2 == 0)
    metadata = {"trace_id": members["trace_id"][:8], "severity_text": members["level"].upper()} if number % 4 == 0 else {}
    if number % 40 == 0:
        metadata["pod"] = "meta-pod"
    return (line[: len(line) // 2] if number % 97 == 0 else line), metadata


def logfmt_line(rng, number):
    message = rng.choice(['msg="request done"', 'msg="a \\"quoted\\" value"', "msg=simple", "msg=", 'bad"quote=1', "=novalue", "flag"])
    line = (f"ts=2025-11-21T08:00:00Z level={rng.choice(LEVELS)} {message} dur={rng.choice(['1.5s', '20ms', '3m', 'abc', ''])} "
            f"size={rng.choice(['10KB', '2MiB', '512', 'x'])} count={rng.choice([1, 2, 3.5, -7, '1e3', 'NaN', 'Inf'])} id={rng.randrange(10)}")
    return line, ({"traceid": f"{rng.randrange(20):x}"} if number % 5 == 0 else {})


def access_line(rng, number):
    address = rng.choice(["10.0.0.1", "192.168.4.7", "2001:db8::1", "172.16.5.4"])
    return (f'{address} - - [21/Nov/2025:08:00:{number % 60:02d} +0000] "{rng.choice(["GET", "POST"])} {rng.choice(PATHS)} HTTP/1.1" '
            f'{rng.choice([200, 301, 404, 500])} {rng.randrange(100, 9999)} "-" "curl/8.{number % 9}"'), {}


def text_line(rng, number):
    return rng.choice([
        f"java.lang.NullPointerException: boom\n\tat a.b.C.d(C.java:{number})\n\tat x.Y.z(Y.java:9)", f"INFO started in {number}ms",
        "ERROR \u001b[31mred\u001b[0m text", f"WARN  naïve café ☕ {number}", "", "   ", '<xml a="b">&amp;</xml>',
        "tab\tand \\ backslash", f"id {rng.getrandbits(64):016x}",
    ]), {}


def packed_line(rng, number):
    return json.dumps({"_entry": f"inner line {number} level=info", "container": f"c{number % 3}", "n": 5}), {}


def id_line(rng, number):
    language, text = rng.choice([("de", "Ünïcode größer"), ("fr", "héllo à tous"), ("日本", "日本語のログ"), ("ru", "ошибка сети"), ("el", "κόσμε \u200b")])
    line = (f'trace_id={rng.getrandbits(128):032x} lang={language} latency={rng.randrange(1, 5000) / 1000} text="{text}" '
            f"session={rng.getrandbits(64):016x}-{rng.getrandbits(32):08x}")
    return line, ({"span_id": f"{rng.getrandbits(64):016x}"} if number % 3 == 0 else {})


KINDS = {"json": json_line, "logfmt": logfmt_line, "nginx": access_line, "java": text_line, "pack": packed_line, "ids": id_line}


def corpus(seed, streams, lines, start_ns):
    """Streams as (labels, [(time, line, metadata)]), times unique in a stream."""
    rng = random.Random(seed)
    kinds = list(KINDS)
    made = []
    for number in range(streams):
        app = kinds[number % len(kinds)]
        labels = {"app": app, "pod": f"p{number // len(kinds) % 4}", "env": rng.choice(["prod", "dev"]), "replica": f"r{number:03d}"}
        made.append((labels, {}))
    for number in range(lines):
        labels, rows = made[rng.randrange(len(made))]
        at = start_ns + rng.randrange(SPAN * SECOND)
        if at not in rows:
            rows[at] = KINDS[labels["app"]](rng, number)
    return [(labels, [(at, line, metadata) for at, (line, metadata) in sorted(rows.items())]) for labels, rows in made if rows]
