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


# What fits which lines, so that most queries find something: selectors, texts of lines, parsers with the labels that
# they make, and numbers to unwrap.
FITTING = {
    "json": {
        "selectors": ['{app="json"}', '{app="json",env="prod"}', '{app="json",pod=~"p[0-2]"}', '{app="json",replica!~"r.*5"}', '{app=~"js.*",pod!="p3"}'],
        "lines": ['|= "GET"', '!= "POST"', '|~ "4\\\\d\\\\d"', '|= "level" != "debug"', '|> "<_>level<_>"', '|= "a" or "e"', '|~ `(?i)ERROR|warn`',
                  '!= "日本"', '|= `status": 200`', '!~ "err|warn"', '|~ `"user": ?\\{"id": ?[0-4]`', '!> "<_>healthz<_>"'],
        "parsers": [("| json", "level status method path duration bytes user_id user_name ok"), ("| json level, status", "level status"),
                    ('| json l="level", d="duration", uid="user.id"', "l d uid"), ('| json first_tag="tags[0]", status', "first_tag status"),
                    ('| json | __error__=""', "level status method path duration bytes user_id ok"), ('| regexp `"method": ?"(?P<method>[A-Z]+)"`', "method")],
        "metadata": "severity_text",
        "numbers": [("| json", "bytes"), ("| json", "duration(duration)"), ("| json", "status"), ("| json", "user_id"), ('| json b="bytes"', "b")],
    },
    "logfmt": {
        "selectors": ['{app="logfmt"}', '{app="logfmt",env="dev"}', '{app="logfmt",pod=~"p0|p1|p2"}', '{app=~"log.+"}'],
        "lines": ['|= "level"', '!= "flag"', '|~ "level=(warn|error)"', '!~ "err"', '|> "<_>level=<_> <_>"', '|= "dur" or "size"', '!> "<_>msg=simple<_>"', '|~ `id=[0-5]$`'],
        "parsers": [("| logfmt", "level dur size count id msg"), ('| logfmt | __error__=""', "level dur size count id"), ("| logfmt level, dur, size", "level dur size"),
                    ("| logfmt --strict", "level ts"), ("| logfmt --keep-empty", "level dur size count id"), ('| logfmt lv="level", number="id"', "lv number"),
                    ("| regexp `level=(?P<level>\\w+) .*id=(?P<id>\\d+)`", "level id")],
        "metadata": "traceid",
        "numbers": [("| logfmt", "bytes(size)"), ("| logfmt", "duration(dur)"), ('| logfmt | count!="NaN" | count!="Inf"', "count"), ("| logfmt", "id"),
                    ("| logfmt", "duration_seconds(dur)"), ("| logfmt id", "id")],
    },
    "nginx": {
        "selectors": ['{app="nginx"}', '{app="nginx",pod!="p1"}', '{app=~"ng.*"}', '{app="nginx",env=~"prod|dev"}'],
        "lines": ['|= "GET"', '|= ip("10.0.0.0/8")', '!= ip("192.168.4.7")', '|~ "curl/8\\\\.[0-5]"', '|> "<_> - - <_>"', '!= "healthz"', '|= "HTTP" |= "POST"'],
        "parsers": [('| pattern "<ip> - - [<_>] \\"<method> <path> <_>\\" <status> <size> <_>"', "ip method path status size"),
                    ("| regexp `^(?P<ip>\\S+) .*\"(?P<method>[A-Z]+) (?P<path>\\S+)`", "ip method path"), ('| pattern "<ip> - <_>"', "ip")],
        "metadata": "",
        "numbers": [('| pattern "<_>] \\"<_>\\" <status> <size> <_>"', "size"), ('| pattern "<_>] \\"<_>\\" <status> <size> <_>"', "status"),
                    ("| regexp `\" \\d+ (?P<size>\\d+) `", "bytes(size)")],
    },
    "java": {
        "selectors": ['{app="java"}', '{app="java",pod=~"p.*"}', '{app=~"ja.a"}'],
        "lines": ['|= "a"', '!= "ERROR"', '|~ "(?i)error|info|warn"', '|= "café"', '|~ "na.ve"', '|~ `started in \\d+ms`', '|= "NullPointer" or "xml"', '!~ "^ *$"'],
        "parsers": [("| regexp `(?P<lvl>ERROR|INFO|WARN)`", "lvl"), ('| pattern "<first> <_>"', "first"), ("| decolorize", ""), ("| regexp `in (?P<took>\\d+ms)`", "took")],
        "metadata": "",
        "numbers": [("|~ `started` | regexp `in (?P<ms>\\d+)ms`", "ms"), ("|~ `started` | regexp `in (?P<took>\\d+ms)`", "duration(took)")],
    },
    "pack": {
        "selectors": ['{app="pack"}', '{app="pack",env="prod"}', '{app=~"pa.*"}'],
        "lines": ['|= "inner"', '|~ "c[01]"', '!= "nothing"'],
        "parsers": [("| unpack", "container"), ("| json", "container n _entry"), ('| json c="container"', "c"), ("| unpack | logfmt", "container level")],
        "metadata": "",
        "numbers": [("| json", "n"), ('| json m="n"', "m")],
    },
    "all": {
        "selectors": ['{app=~"json|logfmt|pack"}', '{app=~"ng.*|java"}', '{app=~".+",pod!="p0"}', '{pod=~"p[01]"}', '{env="dev"}', '{replica=~"r00[0-4]"}'],
        "lines": LINES[:2] + ['|= "a" or "e"', '!= "err"', '|~ "e.*e"'],
        "parsers": [("| json", ""), ("| logfmt", ""), ("| decolorize", ""), ("| logfmt | json", "level"), ("| json | logfmt", "level")],
        "metadata": "",
        "numbers": [("| json | __error__=\"\"", "bytes"), ("| logfmt | __error__=\"\"", "id")],
    },
}
ON_LABEL = {
    "level": ['level="error"', 'level!="info"', 'level=~"warn|error"', 'level!~"debug"', 'level="warn" or level="info"'],
    "status": ["status=200", "status!=200", "status>=400", "status<404", 'status=~"2..|5.."'],
    "method": ['method="GET"', 'method!="GET"'], "path": ['path="/"', 'path=~"/api/.*"', 'path!="/healthz" or method="GET"'],
    "duration": ["duration>2s", "duration<=2500ms"], "bytes": ["bytes>50KB", "bytes<=50000"], "user_id": ["user_id>=20", "user_id=7 or user_id<=20"],
    "user_name": ['user_name=~"ann|böb"', 'user_name!="日本"'], "ok": ['ok="true"', 'ok!="true"'],
    "dur": ["dur>=1s", "dur!=20ms", "dur<1m"], "size": ["size<1MB", "size>=512B"], "count": ["count>1", "count<=2"], "id": ["id>=5", 'id=~"[1-4]"', "id<8"],
    "msg": ['msg="simple"', 'msg!=""'], "ip": ['ip=ip("10.0.0.0/8")', 'ip!=ip("192.168.4.7")', 'ip=~"1.*"'],
    "lvl": ['lvl="ERROR"', 'lvl!=""'], "took": ["took>=100ms", 'took!=""'], "first": ['first=~"INFO|ERROR|id"', 'first!=""'],
    "container": ['container="c1"', 'container=~"c[02]"'], "n": ["n=5", "n<6"], "l": ['l="warn"', 'l!~"info|debug"'], "uid": ["uid>10"], "lv": ['lv!="info"'],
    "pod": ['pod=~"p[012]"', 'pod!="p3"'], "env": ['env="prod"', 'env!="prod"'], "detected_level": ['detected_level=~"warn|error|unknown"', 'detected_level!="debug"'],
    "severity_text": ['severity_text!="INFO"', 'severity_text=~"INFO|WARN|"'], "traceid": ['traceid!="a"'], "nosuch": ['nosuch!="x"', 'nosuch=~"x?"'],
    "__error__": ['__error__=""', '__error__!="JSONParserErr"'],
}
# The part of queries that is put together from whatever there is, whether it fits or not.
WILD = 0.15


def wild_pipeline(rng, stages):
    kinds = ((0.2, LINES), (0.5, PARSERS), (0.8, FILTERS), (1.0, CHANGES))
    chosen = []
    for _ in range(stages):
        at = rng.random()
        chosen.append(rng.choice(next(kind for below, kind in kinds if at < below)))
    return " ".join(chosen)


def fitting_pipeline(rng, stages, fitting, made=()):
    """Stages of which few leave nothing over: filters are on labels that are there, and there are two at most."""
    labels = ["pod", "env", "detected_level", "nosuch", "__error__", *fitting["metadata"].split(), *made]
    chosen, narrowing, parsed = [], 0, bool(made)
    for _ in range(stages):
        at = rng.random()
        if narrowing >= 2:
            at = 0.3 if at < 0.5 else 0.9
        if at < 0.2:
            chosen.append(rng.choice(fitting["lines"]))
            narrowing += 1
        elif at < 0.5 or (at < 0.8 and not parsed):
            parser, names = rng.choice(fitting["parsers"])
            chosen.append(parser)
            labels += [name for name in names.split() if name in ON_LABEL] * 2
            parsed = True
        elif at < 0.8:
            chosen.append("| " + rng.choice(ON_LABEL[rng.choice(labels)]))
            narrowing += 1
        else:
            chosen.append(rng.choice(CHANGES))
            if "line_format" in chosen[-1] or "drop" in chosen[-1] or "keep" in chosen[-1] or "label_format" in chosen[-1]:
                labels = ["nosuch", "__error__"]
                parsed = False
    return " ".join(chosen)


def log_query(rng, stages):
    """A selector and stages."""
    if rng.random() < WILD:
        return rng.choice(SELECTORS), wild_pipeline(rng, stages)
    fitting = FITTING[rng.choice(["json", "json", "logfmt", "logfmt", "nginx", "java", "pack", "all"])]
    return rng.choice(fitting["selectors"]), fitting_pipeline(rng, stages, fitting)


def counted(rng):
    (selector, stages), window = log_query(rng, rng.randrange(4)), rng.choice(["1m", "90s", "5m", "10m", "30m", "1h"])
    offset = rng.choice(["", "", "", " offset 5m", " offset -3m"])
    op = rng.choice(["count_over_time", "rate", "bytes_over_time", "bytes_rate"] * 3 + ["absent_over_time"])
    return f"{op}({selector} {stages} [{window}]{offset})"


def unwrapped(rng):
    op = rng.choice(["sum_over_time", "avg_over_time", "min_over_time", "max_over_time", "stddev_over_time", "stdvar_over_time", "rate",
                     "quantile_over_time", "rate_counter", "first_over_time", "last_over_time"])
    fitting = FITTING[rng.choice(["json", "json", "logfmt", "logfmt", "nginx", "java", "pack", "all"])]
    parser, value = rng.choice(fitting["numbers"])
    # Stages before the parser leave lines and labels to it: line filters and filters on what streams have.
    before = rng.choice(["", "", rng.choice(fitting["lines"]), "| " + rng.choice(ON_LABEL[rng.choice(["pod", "env", "detected_level"])])])
    if "started" in parser:
        before = ""
    after = rng.choice(['| __error__=""'] * 4 + ["", '| pod!="p3" | __error__=""'])
    grouping = "" if op in ("sum_over_time", "rate", "rate_counter") else rng.choice([" by (pod)", " by (app,level)", " without (msg)", "", " by ()"])
    first = "0.9," if op == "quantile_over_time" else ""
    return f"{op}({first}{rng.choice(fitting['selectors'])} {before} {parser} | unwrap {value} {after} [{rng.choice(['5m', '10m', '1h'])}]){grouping}"


def metric(rng):
    query = counted(rng) if rng.random() < 0.5 else unwrapped(rng)
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
        return f"{rng.choice(['sort', 'sort_desc'])}(sum by (app, pod) (count_over_time({rng.choice(SELECTORS)} [30m])))"
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
            parameters = {"query": " ".join(log_query(rng, rng.randrange(5))), "start": start_ns,
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
