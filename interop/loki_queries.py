"""LogQL queries over the corpus of `loki_corpus`, the same for the same seed.

Most are put together so that they find something (`FITTING`), the rest from whatever there is (`WILD`), wrong ones among
them. `FEATURES` names every part of the language that a whole run has to reach.
"""

import random
import re
from collections import Counter

from loki_corpus import SECOND, SPAN

# The part of queries that is put together from whatever there is, whether it fits or not.
WILD = 0.15

PARSERS = [
    "| json", '| json level, status', '| json l="level", d="duration", uid="user.id"', '| json | __error__=""', "| logfmt",
    '| logfmt | __error__=""', "| logfmt level, dur, size", "| logfmt --strict", "| logfmt --keep-empty",
    "| regexp `(?P<lvl>debug|info|warn|error)`", '| pattern "<first> <_>"', "| unpack", "| decolorize",
    "| regexp `\"(?P<method>[A-Z]+) (?P<path>\\S+)`", '| pattern "<ip> - - [<_>] \\"<method> <path> <_>\\" <status> <_>"',
    '| json tag="tags[1]", u="user", deep="[\\"nested.key\\"][\\"9x\\"]"', "| logfmt --strict --keep-empty level, missing",
]
FILTERS = [
    '| level="error"', '| level!="info"', '| level=~"warn|error"', '| level!~"debug"', "| status=200", "| status!=200", "| status>=400",
    "| status<404", "| duration>2s", "| duration<=500ms", "| dur>=1s", "| dur!=20ms", "| bytes>50KB", "| size<1MB", "| size=512B",
    "| count>1", "| count<=-7", "| user_id=7 or user_id=8", '| level="warn" and status=404', '| level="warn", method="GET"',
    '| (level="info" or level="debug") and pod="p1"', '| method="GET" or path="/"', '| pod="p2"', '| env="prod"', '| nosuch="x"',
    '| nosuch!="x"', '| nosuch=~"x?"', '| severity_text="INFO" or severity_text="WARN"', '| traceid="a"', '| __error__=""',
    '| __error__!="JSONParserErr"', '| ip=ip("10.0.0.0/8")', '| first=ip("192.168.4.7")', "| id>=5", '| lvl="error"', '| ok="true"',
    '| detected_level="error"', '| detected_level=~"warn|unknown"', '| level="warn" status>=404', "| duration==1s", "| size==2MiB",
    '| ip!=ip("2001:db8::/32")', '| took>1s or took<20ms', '| lang="日本"', "| latency>=1.5", "| level",
]
# Templates with the labels that they look at. Every function is in at least one.
TEMPLATES = [
    ("{{.level}} {{.status}} {{.pod}}", ""), ("{{.app}}:{{__line__}}", ""), ("{{ .level | upper | trunc 2 }}{{ if .status }} s={{.status}}{{end}}", ""),
    ("{{.nosuch}}", ""), ('{{ bytes "5KB" }} {{ duration "90s" }} {{ duration_seconds "250ms" }}', ""), ("{{ range $k,$v := fromJson __line__ }}{{$k}},{{end}}", ""), ('{{ regexReplaceAll "(\\\\d+)" __line__ "<$1>" }}', ""),
    ('{{ regexReplaceAllLiteral "[0-9]" __line__ "$1" | trunc 40 }}', ""), ('{{ __timestamp__ | date "2006-01-02T15:04:05.000Z07:00" }}', ""),
    ("{{ __timestamp__ | unixEpoch }} {{ __timestamp__ | unixEpochMillis }} {{ __timestamp__ | unixEpochNanos }}", ""),
    ('{{ ToUpper .app }} {{ ToLower .env }} {{ .pod | title }} {{ Replace .replica "r" "x" 1 }}', ""),
    ('{{ Trim .replica "r0" }}|{{ TrimLeft .replica "r" }}|{{ TrimRight .pod "0123" }}|{{ TrimPrefix .pod "p" }}|{{ TrimSuffix .app "on" }}|{{ TrimSpace " a " }}', ""),
    ('{{ trim "  b " }}|{{ trimAll "p" .pod }}|{{ trimPrefix "p" .pod }}|{{ trimSuffix "on" .app }}|{{ lower .env }}|{{ upper .env }}', ""),
    ('{{ count "e" __line__ }} {{ __line__ | urlencode | trunc 50 }} {{ urldecode "a%20b" }}', ""), ('{{ printf "%-6s|%3d|%q" .pod (len .replica) .env }}', ""),
    ("{{ alignLeft 6 .app }}|{{ alignRight 6 .app }}|{{ trunc -2 .replica }}|{{ substr 0 2 .app }}", ""),
    ('{{ .pod | b64enc }} {{ .pod | b64enc | b64dec }} {{ repeat 2 .pod }} {{ replace "p" "q" .pod }}', ""),
    ('{{ if contains "j" .app }}j{{ else if hasPrefix "log" .app }}l{{ else if hasSuffix "x" .app }}x{{ else }}o{{ end }}', ""),
    ("{{ indent 2 .pod }}{{ nindent 1 .env }}", ""), ('{{ default "none" .nosuch }} {{ default "none" .pod }}', ""),
    ('{{ now | date "2006" }}{{ if eq .env "prod" }} p{{ else }} d{{ end }}{{ with .pod }} {{ . }}{{ end }}', ""),
    ('{{ add 1 2 3 }} {{ sub 5 2 }} {{ mul 2 3 }} {{ div 7 2 }} {{ mod 7 3 }} {{ max 1 5 2 }} {{ min 4 2 }}', ""),
    ('{{ addf 1.5 2 }} {{ subf 5 2.25 }} {{ mulf 1.5 2 }} {{ divf 7 2 }} {{ maxf 1.5 2 }} {{ minf 1.5 2 }} {{ ceil 1.2 }} {{ floor 1.8 }} {{ round 1.255 2 }}', ""),
    ('{{ toDate "2006-01-02" "2024-02-29" | unixEpoch }} {{ toDateInZone "2006-01-02 15:04" "America/New_York" "2024-07-01 12:00" | unixEpoch }}', ""),
    ('{{ unixToTime "1700000000" | date "15:04:05" }} {{ and .pod .env }} {{ or .nosuch .env }} {{ not .nosuch }} {{ lt 1 2 }} {{ ge (len .app) 4 }}', ""),
    ("{{ .status | int | mul 2 }} {{ .bytes | float64 | divf 1000 | round }} {{ .duration }}", "status bytes"),
    ("{{ duration .duration }} {{ duration_seconds .duration }} {{ .user_name | ToUpper }}", "duration user_name"),
    ("{{ bytes .size }} {{ .id | int | add 1 }} {{ .msg | default \"-\" }}", "size id"), ("{{ .count | float64 | mulf 2 }} {{ .dur }}", "count dur"),
    ('{{ .method }} {{ .path | TrimPrefix "/api" }} {{ .ip }}', "ip"), ('{{ .method }} {{ .path | replace "/" "_" }} {{ .status }}', "path"),
    ("{{ .container | upper }} {{ .n }}", "container"), ("{{ .took | duration }}", "took"), ("{{ .lang }}: {{ .text | trunc 5 }}", "lang"),
    ('{{ .trace_id | substr 0 8 }} {{ .latency | float64 | mulf 1000 | int }}', "latency"),
]
CHANGES = [
    "| drop level", "| drop pod, status", "| keep level, pod, app", "| keep status", "| drop __error__",
    "| drop __error__, __error_details__", '| drop level="info"', '| keep level="warn", pod', "| label_format lv=level",
    '| label_format pod="x-{{.pod}}"', '| label_format a=level,b="{{.a}}-{{.status}}"', '| label_format level="{{ .level | upper }}"',
    '| label_format status=""', '| drop replica=~"r.*[13579]", env', '| keep level=~"w.*", pod!="p1", app', "| decolorize",
    '| label_format kind="{{ if eq .env \\"prod\\" }}live{{ else }}test{{ end }}", env=app',
]
LINES = [
    '|= "GET"', '!= "GET"', '|~ "4\\\\d\\\\d"', '!~ "err|warn"', '|= "level" != "info"', '|> "<_>level<_>"', '!> "<_>msg=simple<_>"',
    '|= "a" or "e"', '|= ip("10.0.0.1")', "|~ `(?i)ERR`", '|= `"status": 200`', '|~ "users$"', '!= "日本"', '|= "café"', '|~ "na.ve"',
    '|= ""', '!= "x" or "y"', '|~ "^[a-z]" or "^[{]"', '!~ "GET" or "POST"', '|> "<_>=<_>" or "<_>:<_>"', '!= ip("10.0.0.0/8")', '|~ `\\bid\\b`',
    '|= "10." or ip("192.168.0.0/16")', "|~ `(?i)naÏve|CAFÉ`", "|~ `[0-9a-f]{16}`", '|= "\\t"', "|~ `\\x1b\\[`",
]
SELECTORS = [
    '{app="json"}', '{app="logfmt"}', '{app="nginx"}', '{app="java"}', '{app="pack"}', '{app=~"json|logfmt|pack"}', '{app=~"ng.*|java"}',
    '{app=~".+",pod!="p0"}', '{pod=~"p[01]"}', '{env="dev"}', '{replica=~"r00[0-4]"}', '{app="json",replica!~"r.*5"}', '{app="ids"}',
    '{app=~"(?i)JSON", nosuch=""}', '{app!="json",env=~"p.*"}',
]
WRONG = [
    "{", "{}", '{app="x"', '{app="x"} |', '{app="x"} | foo', '{app=~"("}', '{app="x"} |~ "("', '{app="x"} | regexp "a"',
    '{app="x"} | pattern "a"', '{app="x"} | pattern "<a><b>"', '{app="x"} |> "<a>"', '{app="x"} |= ip("x")', '{app="x"} | a=ip("x")',
    '{app="x"} | line_format "{{"', '{app="x"} | label_format a=b,a=c', '{app="x"} | json a="b["', '{app=~".*"}', 'rate({app="x"})',
    'rate({app="x"}[5x])', 'sum({app="x"})', 'topk(0,rate({app="x"}[5m]))', 'rate({app="x"}[5m]) by (a)',
    'quantile_over_time({app="x"} | unwrap y [5m])', '1 or 2', 'foo({app="x"}[1m])', '{app="x"} | unwrap y', '{app="x"} | logfmt --foo',
    'rate({app="x"}[5m] offset)', 'label_replace(rate({app="x"}[5m]),"a","b","c","(")', 'sort(rate({app="x"}[5m])) by (x)',
    'sum_over_time({app="x"}[5m])', 'absent_over_time({app="x"}[5m]) by (a)', '{app="x"} @ 5', "", "   ", "{app='x'}", '{app="x",}', '{app=x}',
    '{app="x"} |= x', '{app="x"} | json |', '{app="x"} | label_format __error__="a"', '{app="x"} | keep', '{app="x"} | line_format "{{ nofunction }}"',
    'count_over_time({app="x"} | unwrap y [5m])', 'topk(rate({app="x"}[5m]))', 'sum(1, rate({app="x"}[5m]))', "vector(a)", 'rate({app="x"}[5m]) + on(a) 1 2',
    'variants(rate({app="x"}[5m])) of ({app="x"}[5m])', 'max_over_time(rate({app="x"}[5m])[1h:5m])', 'count_values("a", rate({app="x"}[5m]))',
    'group(rate({app="x"}[5m]))', '{app="x"} | distinct a', 'rate({app="x"}[5m]) and 1', '{app="x"} |= "a" and "b"', '{app=""}', '{app!="x"}',
    'approx_topk(2, rate({app="x"}[5m])) by (a)', '{app="x"} | size > 5XB', 'sum(rate({app="x"}[5m])) without', '{app="x"} | ip("10.0.0.1")',
]


# What fits which lines, so that most queries find something: selectors, texts of lines, parsers with the labels that
# they make, and numbers to unwrap.
FITTING = {
    "json": {
        "selectors": ['{app="json"}', '{app="json",env="prod"}', '{app="json",pod=~"p[0-2]"}', '{app="json",replica!~"r.*5"}', '{app=~"js.*",pod!="p3"}'],
        "lines": ['|= "GET"', '!= "POST"', '|~ "4\\\\d\\\\d"', '|= "level" != "debug"', '|> "<_>level<_>"', '|= "a" or "e"', '|~ `(?i)ERROR|warn`',
                  '!= "日本"', '|= `status": 200`', '!~ "err|warn"', '|~ `"user": ?\\{"id": ?[0-4]`', '!> "<_>healthz<_>"', '|= ""',
                  '|= "GET" or "POST"', '!= "xylophone" or "quartz"', '|> "<_>duration<_>ms<_>" or "<_>nul<_>"', '|~ "warn" or "info"', '!~ "users/9" or "orders/9"'],
        "parsers": [("| json", "level status method path duration bytes user_id user_name ok"), ("| json level, status", "level status"),
                    ('| json l="level", d="duration", uid="user.id"', "l d uid"), ('| json first_tag="tags[0]", status', "first_tag status"),
                    ('| json | __error__=""', "level status method path duration bytes user_id ok"), ('| regexp `"method": ?"(?P<method>[A-Z]+)"`', "method"),
                    ('| json user="user", status="status"', "status"), ("| json | logfmt", "level status")],
        "metadata": "severity_text",
        "numbers": [("| json", "bytes"), ("| json", "duration(duration)"), ("| json", "status"), ("| json", "user_id"), ('| json b="bytes"', "b"),
                    ("| json", "duration_seconds(duration)"), ("| json", "bytes(bytes)")],
    },
    "logfmt": {
        "selectors": ['{app="logfmt"}', '{app="logfmt",env="dev"}', '{app="logfmt",pod=~"p0|p1|p2"}', '{app=~"log.+"}'],
        "lines": ['|= "level"', '!= "flag"', '|~ "level=(warn|error)"', '!~ "err"', '|> "<_>level=<_> <_>"', '|= "dur" or "size"', '!> "<_>msg=simple<_>"',
                  '|~ `id=[0-5]$`', '|~ "(?i)LEVEL=INFO" or "level=warn"', '!= "flag" or "novalue"'],
        "parsers": [("| logfmt", "level dur size count id msg"), ('| logfmt | __error__=""', "level dur size count id"), ("| logfmt level, dur, size", "level dur size"),
                    ("| logfmt --strict", "level ts"), ("| logfmt --keep-empty", "level dur size count id"), ('| logfmt lv="level", number="id"', "lv number"),
                    ("| regexp `level=(?P<level>\\w+) .*id=(?P<id>\\d+)`", "level id"), ('| pattern "ts=<ts> level=<level> <_> dur=<dur> <_>"', "level"),
                    ("| logfmt --strict --keep-empty", "level")],
        "metadata": "traceid",
        "numbers": [("| logfmt", "bytes(size)"), ("| logfmt", "duration(dur)"), ('| logfmt | count!="NaN" | count!="Inf"', "count"), ("| logfmt", "id"),
                    ("| logfmt", "duration_seconds(dur)"), ("| logfmt id", "id")],
    },
    "nginx": {
        "selectors": ['{app="nginx"}', '{app="nginx",pod!="p1"}', '{app=~"ng.*"}', '{app="nginx",env=~"prod|dev"}'],
        "lines": ['|= "GET"', '|= ip("10.0.0.0/8")', '!= ip("192.168.4.7")', '|~ "curl/8\\\\.[0-5]"', '|> "<_> - - <_>"', '!= "healthz"', '|= "HTTP" |= "POST"',
                  '|= "172." or ip("10.0.0.1")', '|= ip("10.0.0.0-172.20.0.0")', '|= ip("2001:db8::/32")', '!= ip("10.0.0.1") or ip("172.16.5.4")'],
        "parsers": [('| pattern "<ip> - - [<_>] \\"<method> <path> <_>\\" <status> <size> <_>"', "ip method path status size"),
                    ("| regexp `^(?P<ip>\\S+) .*\"(?P<method>[A-Z]+) (?P<path>\\S+)`", "ip method path"), ('| pattern "<ip> - <_>"', "ip"),
                    ("| regexp `\" (?P<status>\\d{3}) (?P<size>\\d+)`", "status size")],
        "metadata": "",
        "numbers": [('| pattern "<_>] \\"<_>\\" <status> <size> <_>"', "size"), ('| pattern "<_>] \\"<_>\\" <status> <size> <_>"', "status"),
                    ("| regexp `\" \\d+ (?P<size>\\d+) `", "bytes(size)")],
    },
    "java": {
        "selectors": ['{app="java"}', '{app="java",pod=~"p.*"}', '{app=~"ja.a"}'],
        "lines": ['|= "a"', '!= "ERROR"', '|~ "(?i)error|info|warn"', '|= "café"', '|~ "na.ve"', '|~ `started in \\d+ms`', '|= "NullPointer" or "xml"', '!~ "^ *$"',
                  "|~ `(?i)CAFÉ`", '|~ "(?s)boom.*Y.java"', '|= "\\n\\tat"'],
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
    "ids": {
        "selectors": ['{app="ids"}', '{app="ids",pod!="p2"}', '{app=~"i.s",env=~"dev|prod"}'],
        "lines": ['|= "trace_id"', '!= "fr"', '|~ `[0-9a-f]{32}`', '|= "héllo" or "日本語"', '|~ "(?i)TRACE_ID=0"', '|~ `latency=[0-4]\\.`', '|= "Ünïcode"', '|> "<_>lang=<_>"'],
        "parsers": [("| logfmt", "lang latency text trace_id"), ('| pattern "<_>trace_id=<trace_id> <_>"', "trace_id"), ("| regexp `latency=(?P<latency>[0-9.]+)`", "latency"),
                    ("| logfmt lang, latency", "lang latency")],
        "metadata": "span_id",
        "numbers": [("| logfmt", "latency"), ("| logfmt latency", "latency"), ('| logfmt | lang!="fr"', "latency")],
    },
    "all": {
        "selectors": ['{app=~"json|logfmt|pack"}', '{app=~"ng.*|java"}', '{app=~".+",pod!="p0"}', '{pod=~"p[01]"}', '{env="dev"}', '{replica=~"r00[0-4]"}'],
        "lines": ['|= "GET"', '!= "GET"', '|= "a" or "e"', '!= "err"', '|~ "e.*e"'],
        "parsers": [("| json", ""), ("| logfmt", ""), ("| decolorize", ""), ("| logfmt | json", "level"), ("| json | logfmt", "level")],
        "metadata": "",
        "numbers": [("| json | __error__=\"\"", "bytes"), ("| logfmt | __error__=\"\"", "id")],
    },
}
KINDS = ["json", "json", "logfmt", "logfmt", "nginx", "java", "pack", "ids", "all"]
ON_LABEL = {
    "level": ['level="error"', 'level!="info"', 'level=~"warn|error"', 'level!~"debug"', 'level="warn" or level="info"'],
    "status": ["status=200", "status!=200", "status>=400", "status<404", 'status=~"2..|5.."', "status==200 or status>404", "status>200 and status<500"],
    "method": ['method="GET"', 'method!="GET"'], "path": ['path="/"', 'path=~"/api/.*"', 'path!="/healthz" or method="GET"'],
    "duration": ["duration>2s", "duration<=2500ms", "duration!=1s"], "bytes": ["bytes>50KB", "bytes<=50000", "bytes<49KiB or bytes>90kB"],
    "user_id": ["user_id>=20", "user_id=7 or user_id<=20"],
    "user_name": ['user_name=~"ann|böb"', 'user_name!="日本"'], "ok": ['ok="true"', 'ok!="true"'],
    "dur": ["dur>=1s", "dur!=20ms", "dur<1m"], "size": ["size<1MB", "size>=512B"], "count": ["count>1", "count<=2"], "id": ["id>=5", 'id=~"[1-4]"', "id<8"],
    "msg": ['msg="simple"', 'msg!=""'], "ip": ['ip=ip("10.0.0.0/8")', 'ip!=ip("192.168.4.7")', 'ip=~"1.*"', 'ip=ip("10.0.0.1-10.0.0.9") or ip=ip("2001:db8::/32")'],
    "lvl": ['lvl="ERROR"', 'lvl!=""'], "took": ["took>=100ms", 'took!=""'], "first": ['first=~"INFO|ERROR|id"', 'first!=""'],
    "container": ['container="c1"', 'container=~"c[02]"'], "n": ["n=5", "n<6"], "l": ['l="warn"', 'l!~"info|debug"'], "uid": ["uid>10"], "lv": ['lv!="info"'],
    "pod": ['pod=~"p[012]"', 'pod!="p3"'], "env": ['env="prod"', 'env!="prod"'], "detected_level": ['detected_level=~"warn|error|unknown"', 'detected_level!="debug"'],
    "severity_text": ['severity_text!="INFO"', 'severity_text=~"INFO|WARN|"'], "traceid": ['traceid!="a"'], "nosuch": ['nosuch!="x"', 'nosuch=~"x?"'],
    "lang": ['lang="de"', 'lang=~"de|日本"', 'lang!="fr"'], "latency": ["latency>1.5", "latency<=3", "latency>0.5, latency<4"], "trace_id": ['trace_id!=""', 'trace_id=~"[0-7].*"'],
    "span_id": ['span_id!=""', 'span_id=~"[0-9].*"'], "__error__": ['__error__=""', '__error__!="JSONParserErr"'],
}


class Dealer(random.Random):
    """Chance that deals: of what was dealt least, so that rare things come up as well."""

    def __init__(self, seed):
        super().__init__(seed)
        self.dealt = Counter()

    def deal(self, choices):
        chosen = min(choices, key=lambda one: (self.dealt[one], self.random()))
        self.dealt[chosen] += 1
        return chosen


def line_format(rng, labels):
    fitting = [text for text, needs in TEMPLATES if all(name in labels for name in needs.split())]
    return f"| line_format `{rng.deal(fitting)}`"


def wild_pipeline(rng, stages):
    kinds = ((0.2, LINES), (0.5, PARSERS), (0.75, FILTERS), (0.9, CHANGES))
    chosen = []
    for _ in range(stages):
        at = rng.random()
        if at >= 0.9:
            chosen.append(f"| line_format `{rng.deal(TEMPLATES)[0]}`")
        else:
            chosen.append(rng.deal(next(kind for below, kind in kinds if at < below)))
    return " ".join(chosen)


def fitting_pipeline(rng, stages, fitting, made=()):
    """Stages of which few leave nothing over: filters are on labels that are there, and there are two at most."""
    labels = ["pod", "env", "detected_level", "nosuch", "__error__", *fitting["metadata"].split(), *made]
    chosen, narrowing, parsed = [], 0, bool(made)
    for _ in range(stages):
        at = rng.random()
        if narrowing >= 2:
            at = 0.3 if at < 0.4 else 0.8 + at / 5
        if at < 0.2:
            chosen.append(rng.deal(fitting["lines"]))
            narrowing += 1
        elif at < 0.5 or (at < 0.8 and not parsed):
            parser, names = rng.deal(fitting["parsers"])
            chosen.append(parser)
            labels += [name for name in names.split() if name in ON_LABEL] * 2
            parsed = True
        elif at < 0.8:
            chosen.append("| " + rng.deal(ON_LABEL[rng.choice(labels)]))
            narrowing += 1
        elif at < 0.93:
            chosen.append(line_format(rng, labels))
            parsed = False
        else:
            chosen.append(rng.deal(CHANGES))
            if "drop" in chosen[-1] or "keep" in chosen[-1] or "label_format" in chosen[-1]:
                labels = ["nosuch", "__error__"]
                parsed = False
    return " ".join(chosen)


def log_query(rng, stages):
    """A selector and stages."""
    if rng.random() < WILD:
        return rng.choice(SELECTORS), wild_pipeline(rng, stages)
    fitting = FITTING[rng.choice(KINDS)]
    return rng.choice(fitting["selectors"]), fitting_pipeline(rng, stages, fitting)


def written(rng, selector, stages):
    """A log query in one of the ways in which it may be written."""
    at = rng.random()
    if at < 0.05:
        return f"({selector} {stages})"
    if at < 0.1:
        return f"{selector} # all of them\n {stages}"
    return f"{selector} {stages}"


def ranged(rng, selector, stages, window, offset):
    """A range in one of the orders that the grammar allows."""
    at = rng.random()
    if at < 0.1:
        return f"{selector} [{window}]{offset} {stages}"
    if at < 0.2:
        return f"({selector} {stages})[{window}]{offset}"
    if at < 0.25:
        return f"({selector} {stages} [{window}]{offset})"
    return f"{selector} {stages} [{window}]{offset}"


def counted(rng):
    (selector, stages), window = log_query(rng, rng.randrange(4)), rng.choice(["1m", "90s", "5m", "10m", "30m", "1h"])
    offset = rng.choice(["", "", "", " offset 5m", " offset -3m"])
    op = rng.choice(["count_over_time", "rate", "bytes_over_time", "bytes_rate"] * 3 + ["absent_over_time"])
    return f"{op}({ranged(rng, selector, stages, window, offset)})"


UNWRAPPED = ["sum_over_time", "avg_over_time", "min_over_time", "max_over_time", "stddev_over_time", "stdvar_over_time", "rate", "quantile_over_time",
             "rate_counter", "first_over_time", "last_over_time"]


def unwrapped(rng):
    op = rng.choice(UNWRAPPED * 3 + ["absent_over_time"])
    fitting = FITTING[rng.choice(KINDS)]
    parser, value = rng.choice(fitting["numbers"])
    # Stages before the parser leave lines and labels to it: line filters and filters on what streams have.
    before = rng.choice(["", "", rng.choice(fitting["lines"]), "| " + rng.choice(ON_LABEL[rng.choice(["pod", "env", "detected_level"])])])
    if "started" in parser:
        before = ""
    after = rng.choice(['| __error__=""'] * 4 + ["", '| pod!="p3" | __error__=""'])
    grouping = "" if op in ("sum_over_time", "rate", "rate_counter", "absent_over_time") else rng.choice([" by (pod)", " by (app,level)", " without (msg)", "", " by ()", " without (replica, pod)"])
    first = f"{rng.choice(['0.9', '0.5', '0', '1', '0.99'])}," if op == "quantile_over_time" else ""
    stages = f"{before} {parser} | unwrap {value} {after}"
    offset = rng.choice(["", "", "", " offset 10m"])
    return f"{op}({first}{ranged(rng, rng.choice(fitting['selectors']), stages, rng.choice(['5m', '10m', '1h']), offset)}){grouping}"


GROUPINGS = ["", "", " by (pod)", " by (app)", " by (level, pod)", " without (pod)", " by (status)", " without (level,status,trace_id)", " by ()", " by (detected_level, env)"]


def aggregated(rng, query):
    op, grouping = rng.choice(["sum", "avg", "min", "max", "count", "stddev", "stdvar", "sum", "sum"]), rng.choice(GROUPINGS)
    return f"{op}({query}){grouping}" if rng.random() < 0.3 else f"{op}{grouping} ({query})"


def selected(rng, instant):
    """`topk` and its like over sums without ties: bytes differ from pod to pod. A Loki whose `shard_aggregations` lack it
    never answers `approx_topk` over steps, and a range has nothing to sort."""
    selector = rng.choice(SELECTORS[:5])
    inner = f"sum by (app, pod, env) (bytes_over_time({selector} [{rng.choice(['30m', '1h'])}]))"
    op = rng.choice(["topk", "bottomk", "topk", "bottomk"] + ["sort", "sort_desc", "approx_topk"] * instant)
    if op in ("sort", "sort_desc"):
        return f"{op}({inner})"
    grouping = "" if op == "approx_topk" else rng.choice(["", " by (env)", " by (app)", " without (pod)"])
    return f"{op}({rng.choice([1, 2, 3, 50])}, {inner}){grouping}"


def joined(rng):
    """Two vectors: one to one, one to many, sets."""
    one = lambda app, labels: f'sum by ({labels}) ({rng.choice(["count_over_time", "bytes_over_time", "rate"])}({{app="{app}"}}[{rng.choice(["10m", "30m"])}]))'
    a, b = rng.sample(["json", "logfmt", "nginx", "java", "pack", "ids"], 2)
    at = rng.random()
    op = rng.choice(["+", "-", "*", "/", "%", "^", ">", "<", ">=", "<=", "==", "!=", "> bool", "== bool", "!= bool", "<= bool"])
    if at < 0.35:
        return f"{one(a, 'pod')} {op} {rng.choice(['', 'on(pod) ', 'ignoring(env) ', 'ignoring() '])}{one(b, 'pod')}"
    if at < 0.6:
        return f"{one(a, 'pod')} {rng.choice(['and', 'or', 'unless'])} {rng.choice(['', 'on(pod) ', 'ignoring(pod) '])}{one(b, 'pod')}"
    if at < 0.8:
        side = rng.choice(["group_left", "group_left()", "group_left(env)"])
        return f"{one(a, 'pod, env')} {op} on(pod) {side} {one(b, 'pod')}"
    if at < 0.95:
        side = rng.choice(["group_right", "group_right()"])
        return f"{one(a, 'pod')} {op} ignoring(env) {side} {one(b, 'pod, env')}"
    return f"({one(a, 'pod')} or {one(b, 'pod')}) {op} on(pod) {one(a, 'pod, env')}"


def replaced(rng):
    inner = f"sum by (pod, app) (count_over_time({rng.choice(SELECTORS[:7])}[10m]))"
    change = rng.choice(['"host", "$1", "pod", "p(.*)"', '"pod", "", "pod", ".*"', '"both", "${2}-$1", "app", "(.)(.*)"', '"x", "y", "pod", "nothing"', '"app", "$1", "nosuch", "(.*)"'])
    return f"label_replace({inner}, {change})"


def metric(rng, instant):
    at = rng.random()
    if at < 0.08:
        return selected(rng, instant)
    if at < 0.2:
        return joined(rng)
    if at < 0.24:
        return replaced(rng)
    if at < 0.26:
        return rng.choice(["vector(3) * 2", "vector(1) + vector(0.5)", "1 + 2 * 3 ^ 2 % 4", "-7 / 2", "vector(2) > bool 1", "10 - 3 < bool 5"])
    query = counted(rng) if rng.random() < 0.5 else unwrapped(rng)
    for _ in range(rng.randrange(3)):
        query = aggregated(rng, query)
    at = rng.random()
    if at < 0.08:
        return f"{query} {rng.choice('+-*/%^')} {rng.choice([2, 0.5, -3, 100])}"
    if at < 0.11:
        return f"{rng.choice([2, 100])} {rng.choice('+-*/%')} {query}"
    if at < 0.17:
        return f"{query} {rng.choice(['>', '<', '==', '!=', '>=', '<='])} {rng.choice(['', 'bool '])}{rng.choice([1, 5, 100])}"
    if at < 0.21:
        return f"({query}) or vector(0)"
    return query


def queries(seed, count, start_ns):
    """Queries as (path, parameters)."""
    rng = Dealer(seed + 1)
    end_ns = start_ns + SPAN * SECOND
    made = []
    for _ in range(count):
        at = rng.random()
        if at < 0.05:
            made.append(("query_range", {"query": rng.deal(WRONG), "start": start_ns, "end": end_ns}))
        elif at < 0.45:
            parameters = {"query": written(rng, *log_query(rng, rng.randrange(5))), "start": start_ns,
                          "end": start_ns + rng.choice([600, SPAN]) * SECOND, "limit": rng.choice([5000, 5000, 50, 1]),
                          "direction": rng.choice(["forward", "backward"])}
            if rng.random() < 0.1:
                parameters["interval"] = "300"
            made.append(("query_range", parameters))
        elif at < 0.72:
            made.append(("query", {"query": metric(rng, True), "time": start_ns + rng.choice([1800, SPAN, 4000]) * SECOND}))
        else:
            made.append(("query_range", {"query": metric(rng, False), "start": start_ns, "end": end_ns,
                                         "step": str(rng.choice([60, 300, 450, 1000]))}))
    return made


# Every part of the language, by a regular expression that finds it in a query.
FEATURES = {
    **{f"selector {op}": rf"\{{[^}}]*\w{re.escape(op)}\"" for op in ("=", "!=", "=~", "!~")},
    **{f"line filter {op}": rf"{re.escape(op)} [\"`]" for op in ("|=", "!=", "|~", "!~", "|>", "!>")},
    **{f"line filter {op} or": rf"{re.escape(op)} [\"`][^|]*[\"`] or" for op in ("|=", "!=", "|~", "!~", "|>")},
    **{f"line filter {op} ip": rf"{re.escape(op)} ip\(" for op in ("|=", "!=")},
    **{f"stage {name}": rf"\| {name}\b" for name in ("json", "logfmt", "regexp", "pattern", "unpack", "line_format", "label_format", "decolorize", "drop", "keep", "unwrap")},
    "json expressions": r"\| json \w+=", "json path with index": r"tags\[", "logfmt expressions": r"\| logfmt \w+", "logfmt --strict": "--strict", "logfmt --keep-empty": "--keep-empty",
    "drop with matcher": r"drop \w+=", "keep with matcher": r"keep \w+=", "label filter ip": r"\w!?=ip\(", "label filter duration": r"[<>=]\d+m?s\b", "label filter bytes": r"[<>=]\d+[kKM]i?B",
    **{f"label filter {op}": rf"\| \w+{re.escape(op)}[\"\d]" for op in ("=", "!=", ">", ">=", "<", "<=", "==", "=~", "!~") if op not in ("=~", "!~")},
    "label filter =~": r"\| \w+=~\"", "label filter !~": r"\| \w+!~\"", "label filter and": r"\| \w+\S* and ", "label filter or": r"\| \w+\S* or ", "label filter comma": r"\| \w+\S*, ?\w+[<=]",
    "label filter on error": r"\| __error__", "comment": "#", "range before pipeline": r"\[\w+\] *\|", "range after parentheses": r"\)\[\w+\]", "offset": r"offset \d", "negative offset": r"offset -",
    **{f"unwrap {name}": rf"unwrap {name}\(" for name in ("duration", "duration_seconds", "bytes")},
    **{name: rf"\b{name}\(" for name in ("rate", "count_over_time", "bytes_rate", "bytes_over_time", "absent_over_time", *UNWRAPPED)},
    **{f"aggregation {name}": rf"\b{name}( by \([^)]*\)| without \([^)]*\))? ?\(" for name in
       ("sum", "avg", "count", "min", "max", "stddev", "stdvar", "topk", "bottomk", "sort", "sort_desc", "approx_topk")},
    "grouping by": r"\) by \(", "grouping without": r"without \(", "grouping by nothing": r"by \(\)", "label_replace": r"label_replace\(", "vector": r"vector\(",
    **{f"operator {op}": rf"\) {re.escape(op)} " for op in ("+", "-", "*", "/", "%", "^", "==", "!=", ">", ">=", "<", "<=", "and", "or", "unless")},
    "bool": r" bool ", "on": r" on\(", "ignoring": r" ignoring\(", "group_left": "group_left", "group_right": "group_right",
    **{f"template {name}": rf"\{{\{{[^`]*\b{name}\b" for name in
       "ToLower ToUpper Replace Trim TrimLeft TrimRight TrimPrefix TrimSuffix TrimSpace regexReplaceAll regexReplaceAllLiteral count urldecode urlencode bytes duration "
       "duration_seconds unixEpochMillis unixEpochNanos toDateInZone unixToTime alignLeft alignRight b64enc b64dec lower upper title trunc substr contains hasPrefix hasSuffix indent "
       "nindent replace repeat trim trimAll trimSuffix trimPrefix int float64 add sub mul div mod addf subf mulf divf max min maxf minf ceil floor round fromJson date toDate now "
       "unixEpoch default __line__ __timestamp__ printf len and or not eq lt ge if with range".split()},
}


def missed(asked):
    """Parts of the language that no query has."""
    texts = [parameters["query"] for _, parameters in asked]
    return [name for name, pattern in FEATURES.items() if not any(re.search(pattern, text) for text in texts)]
