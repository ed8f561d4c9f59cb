"""A corpus of log lines and LogQL queries over it, the same for the same seed."""

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


KINDS = {"json": json_line, "logfmt": logfmt_line, "nginx": access_line, "java": text_line, "pack": packed_line}


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


PARSERS = [
    "| json", '| json level, status', '| json l="level", d="duration", uid="user.id"', '| json | __error__=""', "| logfmt",
    '| logfmt | __error__=""', "| logfmt level, dur, size", "| logfmt --strict", "| logfmt --keep-empty",
    "| regexp `(?P<lvl>debug|info|warn|error)`", '| pattern "<first> <_>"', "| unpack", "| decolorize",
    "| regexp `\"(?P<method>[A-Z]+) (?P<path>\\S+)`", '| pattern "<ip> - - [<_>] \\"<method> <path> <_>\\" <status> <_>"',
]
FILTERS = [
    '| level="error"', '| level!="info"', '| level=~"warn|error"', '| level!~"debug"', "| status=200", "| status!=200", "| status>=400",
    "| status<404", "| duration>2s", "| duration<=500ms", "| dur>=1s", "| dur!=20ms", "| bytes>50KB", "| size<1MB", "| size=512B",
    "| count>1", "| count<=-7", "| user_id=7 or user_id=8", '| level="warn" and status=404', '| level="warn", method="GET"',
    '| (level="info" or level="debug") and pod="p1"', '| method="GET" or path="/"', '| pod="p2"', '| env="prod"', '| nosuch="x"',
    '| nosuch!="x"', '| nosuch=~"x?"', '| severity_text="INFO" or severity_text="WARN"', '| traceid="a"', '| __error__=""',
    '| __error__!="JSONParserErr"', '| ip=ip("10.0.0.0/8")', '| first=ip("192.168.4.7")', "| id>=5", '| lvl="error"', '| ok="true"',
    '| detected_level="error"', '| detected_level=~"warn|unknown"',
]
CHANGES = [
    "| drop level", "| drop pod, status", "| keep level, pod, app", "| keep status", "| drop __error__",
    "| drop __error__, __error_details__", '| drop level="info"', '| keep level="warn", pod', "| label_format lv=level",
    '| label_format pod="x-{{.pod}}"', '| label_format a=level,b="{{.a}}-{{.status}}"',
    '| line_format "{{.level}} {{.status}} {{.pod}}"', '| line_format "{{.app}}:{{__line__}}"',
    '| line_format "{{ .level | upper | trunc 2 }}{{ if .status }} s={{.status}}{{end}}"', '| label_format level="{{ .level | upper }}"',
    '| label_format status=""', '| line_format "{{.nosuch}}"',
    '| line_format `{{ range $k,$v := fromJson __line__ }}{{$k}},{{end}}`',
    '| line_format `{{ regexReplaceAll "(\\\\d+)" __line__ "<$1>" }}`', '| line_format `{{ __timestamp__ | date "15:04:05.000" }}`',
]
LINES = [
    '|= "GET"', '!= "GET"', '|~ "4\\\\d\\\\d"', '!~ "err|warn"', '|= "level" != "info"', '|> "<_>level<_>"', '!> "<_>msg=simple<_>"',
    '|= "a" or "e"', '|= ip("10.0.0.1")', "|~ `(?i)ERR`", '|= `"status": 200`', '|~ "users$"', '!= "日本"', '|= "café"', '|~ "na.ve"',
]
SELECTORS = [
    '{app="json"}', '{app="logfmt"}', '{app="nginx"}', '{app="java"}', '{app="pack"}', '{app=~"json|logfmt|pack"}', '{app=~"ng.*|java"}',
    '{app=~".+",pod!="p0"}', '{pod=~"p[01]"}', '{env="dev"}', '{replica=~"r00[0-4]"}', '{app="json",replica!~"r.*5"}',
]
WRONG = [
    "{", "{}", '{app="x"', '{app="x"} |', '{app="x"} | foo', '{app=~"("}', '{app="x"} |~ "("', '{app="x"} | regexp "a"',
    '{app="x"} | pattern "a"', '{app="x"} | pattern "<a><b>"', '{app="x"} |> "<a>"', '{app="x"} |= ip("x")', '{app="x"} | a=ip("x")',
    '{app="x"} | line_format "{{"', '{app="x"} | label_format a=b,a=c', '{app="x"} | json a="b["', '{app=~".*"}', 'rate({app="x"})',
    'rate({app="x"}[5x])', 'sum({app="x"})', 'topk(0,rate({app="x"}[5m]))', 'rate({app="x"}[5m]) by (a)',
    'quantile_over_time({app="x"} | unwrap y [5m])', '1 or 2', 'foo({app="x"}[1m])', '{app="x"} | unwrap y', '{app="x"} | logfmt --foo',
    'rate({app="x"}[5m] offset)', 'label_replace(rate({app="x"}[5m]),"a","b","c","(")', 'sort(rate({app="x"}[5m])) by (x)',
    'sum_over_time({app="x"}[5m])', 'absent_over_time({app="x"}[5m]) by (a)', '{app="x"} @ 5',
]


def pipeline(rng, stages):
    kinds = ((0.2, LINES), (0.5, PARSERS), (0.8, FILTERS), (1.0, CHANGES))
    chosen = []
    for _ in range(stages):
        at = rng.random()
        chosen.append(rng.choice(next(kind for below, kind in kinds if at < below)))
    return " ".join(chosen)


def counted(rng, selector):
    stages, window = pipeline(rng, rng.randrange(4)), rng.choice(["1m", "90s", "5m", "10m", "30m", "1h"])
    offset = rng.choice(["", "", "", " offset 5m", " offset -3m"])
    op = rng.choice(["count_over_time", "rate", "bytes_over_time", "bytes_rate", "absent_over_time"])
    return f"{op}({selector} {stages} [{window}]{offset})"


def unwrapped(rng, selector):
    op = rng.choice(["sum_over_time", "avg_over_time", "min_over_time", "max_over_time", "stddev_over_time", "stdvar_over_time", "rate",
                     "quantile_over_time", "rate_counter", "first_over_time", "last_over_time"])
    if "json" in selector or "env" in selector:
        parser, value = "| json", rng.choice(["bytes", "duration(duration)", "status", "user_id"])
    elif "logfmt" in selector:
        parser, value = "| logfmt", rng.choice(["bytes(size)", "duration(dur)", "count", "id", "duration_seconds(dur)"])
    else:
        parser, value = rng.choice(PARSERS), rng.choice(["status", "id", "bytes"])
    after = rng.choice(['| __error__=""'] * 3 + ["", '| status>200 | __error__=""'])
    numbers = ' | count!="NaN" | count!="Inf"' if value == "count" else ""
    grouping = "" if op in ("sum_over_time", "rate", "rate_counter") else rng.choice([" by (pod)", " by (app,level)", " without (msg)", "", " by ()"])
    first = "0.9," if op == "quantile_over_time" else ""
    return f"{op}({first}{selector} {parser} {pipeline(rng, rng.randrange(4))}{numbers} | unwrap {value} {after} [{rng.choice(['5m', '10m', '1h'])}]){grouping}"


def metric(rng):
    selector = rng.choice(SELECTORS)
    query = counted(rng, selector) if rng.random() < 0.5 else unwrapped(rng, selector)
    for _ in range(rng.randrange(3)):
        op = rng.choice(["sum", "avg", "min", "max", "count", "stddev", "stdvar", "sum", "sum"])
        grouping = rng.choice(["", "", " by (pod)", " by (app)", " by (level, pod)", " without (pod)", " by (status)", " without (level,status,trace_id)"])
        query = f"{op}{grouping} ({query})"
    at = rng.random()
    if at < 0.08:
        return f"{query} {rng.choice('+-*/%')} {rng.choice([2, 0.5, -3, 100])}"
    if at < 0.14:
        return f"{query} {rng.choice(['>', '<', '==', '!=', '>=', '<='])} {rng.choice(['', 'bool '])}{rng.choice([1, 5, 100])}"
    if at < 0.18:
        return f"({query}) or vector(0)"
    if at < 0.22:
        return f"{rng.choice(['sort', 'sort_desc'])}(sum by (app, pod) (count_over_time({selector} [30m])))"
    if at < 0.28:
        both = [f'sum by (pod) (count_over_time({{app="{app}"}}[10m]))' for app in ("json", "logfmt")]
        op = rng.choice(["+", "-", "*", "/", "and", "or", "unless", ">", "== bool"])
        return f"{both[0]} {op} {rng.choice(['', 'on(pod) '])}{both[1]}"
    return query


def queries(seed, count, start_ns):
    """Queries as (path, parameters)."""
    rng = random.Random(seed + 1)
    end_ns = start_ns + SPAN * SECOND
    made = []
    for number in range(count):
        at = rng.random()
        if at < 0.05:
            made.append(("query_range", {"query": rng.choice(WRONG), "start": start_ns, "end": end_ns}))
        elif at < 0.45:
            parameters = {"query": f"{rng.choice(SELECTORS)} {pipeline(rng, rng.randrange(5))}", "start": start_ns,
                          "end": start_ns + rng.choice([600, SPAN]) * SECOND, "limit": rng.choice([5000, 5000, 50]),
                          "direction": rng.choice(["forward", "backward"])}
            if rng.random() < 0.1:
                parameters["interval"] = "300"
            made.append(("query_range", parameters))
        elif at < 0.72:
            made.append(("query", {"query": metric(rng), "time": start_ns + rng.choice([1800, SPAN, 4000]) * SECOND}))
        else:
            made.append(("query_range", {"query": metric(rng), "start": start_ns, "end": end_ns,
                                         "step": str(rng.choice([60, 300, 450, 1000]))}))
    return made
