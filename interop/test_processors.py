"""Processors beside a real Collector: the same request through the same processor configs, outputs equal field by field.

Each case is a pipeline of its own, in one Collector and one gateway that both export to a sink here; a pipeline whose
processor refuses or drops everything sends nothing, on both sides. Attributes are compared as maps, and groups without
content count as absent, because the Collector's maps have no fixed order and forwarders may drop empty envelopes.
"""

import concurrent.futures
import http.server
import itertools
import json
import os
import pathlib
import subprocess
import threading

import pytest
import requests
import yaml
from conftest import TARGET, Process, free_port, peer, wait_until
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

MESSAGES = {"logs": ExportLogsServiceRequest, "metrics": ExportMetricsServiceRequest, "traces": ExportTraceServiceRequest}
# Where the Collector cuts inside of a character, it sends what is no text.
UNREADABLE = "unreadable"
TIME = 1_700_000_000_123_456_789


def value(raw):
    """An AnyValue in OTLP JSON."""
    if raw is None:
        return {}
    if isinstance(raw, bool):
        return {"boolValue": raw}
    if isinstance(raw, int):
        return {"intValue": str(raw)}
    if isinstance(raw, float):
        return {"doubleValue": raw}
    if isinstance(raw, bytes):
        import base64

        return {"bytesValue": base64.b64encode(raw).decode()}
    if isinstance(raw, list):
        return {"arrayValue": {"values": [value(element) for element in raw]}}
    if isinstance(raw, dict):
        return {"kvlistValue": {"values": pairs(raw)}}
    return {"stringValue": raw}


def pairs(raw):
    return [{"key": key, "value": value(element)} for key, element in raw.items()]


XML = ('<shop xmlns:p="urn:p" open="yes"><item id="1" p:kind="f">apple &amp; pear<b>x</b> end</item><item id="2"><name>nut</name>'
       "<price>5</price></item><!-- note --><list><v>1</v><v>2</v><w/></list><![CDATA[<raw>]]></shop>")
CLF = ('127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif?a=\\"b\\" HTTP/1.0" 200 2326 "http://x/" '
       '"Mozilla/4.08 [en] (Win98; I ;Nav)"')
ATTRIBUTES = {
    "str": "Hello World", "num": 42, "neg": -7, "dbl": 2.5, "flag": True, "list": ["b", "a", "c"], "ints": [3, 1, 2],
    "map": {"x": "deep", "n": 7, "inner": {"y": [1, {"z": "w"}]}}, "bytes": b"\x00\xffab", "empty": "", "none": None,
    "uni": "größe ✓", "digits": "0123", "float": "1.50", "time": "2023-02-03T04:05:06.789Z", "json": '{"a":[1,"x"],"b":{"c":true}}',
    "kv": 'a=1 b="two three" c=3', "csv": 'one,"two, 2",three', "ip": "10.1.2.3", "hex": "0a0b", "bool": "true",
    "xml": XML, "clf": CLF, "leef": "LEEF:2.0|Vendor|Product|1.0|41|^|src=10.0.1.8^dst=10.0.0.5^sev=5",
    "url": "https://user:pw@example.com:8443/p/a.html?q=1&r=2#frag", "camel": "someHTTPRequestID", "card": "17893729974",
}
RESOURCE = {"service.name": "shop", "host.name": "node-1", "n": 1, "m": {"k": "v"}}


def logs():
    def record(body, number, severity, attributes, **more):
        return {"timeUnixNano": str(TIME), "observedTimeUnixNano": str(TIME + 1), "severityNumber": number,
                "severityText": severity, "body": value(body), "attributes": pairs(attributes)} | more

    records = [
        record("user=42 GET /a/b 200", 9, "INFO", ATTRIBUTES, traceId="0102030405060708090a0b0c0d0e0f10",
               spanId="0102030405060708", flags=1, eventName="e"),
        record({"a": {"b": "c"}, "l": [1, "two"]}, 17, "ERROR", {"str": "other", "num": 0, "map": {}}),
        record(None, 0, "", {}),
        record(["x", 1.5], 5, "debug", {"str": 5, "num": "text", "dbl": -0.0}),
    ]
    scopes = [{"scope": {"name": "lib", "version": "1.2", "attributes": pairs({"s": "t"})}, "logRecords": records[:2],
               "schemaUrl": "scope-schema"}, {"scope": {"name": "other"}, "logRecords": records[2:]}]
    return {"resourceLogs": [{"resource": {"attributes": pairs(RESOURCE), "droppedAttributesCount": 2},
                              "scopeLogs": scopes, "schemaUrl": "schema"},
                             {"resource": {}, "scopeLogs": [{"scope": {}, "logRecords": [records[0]]}]}]}


def traces():
    def span(name, kind, attributes, **more):
        return {"traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "1112131415161718", "name": name, "kind": kind,
                "startTimeUnixNano": str(TIME), "endTimeUnixNano": str(TIME + 5_000_000), "attributes": pairs(attributes)} | more

    events = [{"timeUnixNano": str(TIME), "name": "first", "attributes": pairs({"str": "e1"})},
              {"timeUnixNano": str(TIME + 9), "name": "second", "droppedAttributesCount": 3}]
    links = [{"traceId": "f102030405060708090a0b0c0d0e0f10", "spanId": "f112131415161718", "traceState": "a=b"}]
    spans = [
        span("GET /users/123", 2, ATTRIBUTES, parentSpanId="2122232425262728", traceState="vendor=x,other=y",
             events=events, links=links, status={"code": 2, "message": "boom"}, flags=257),
        span("root", 1, {"str": "r", "num": 3}, status={"code": 1}, droppedEventsCount=4),
        span("", 0, {}),
        span("GET /a/1", 2, {"http.request.method": "GET", "http.route": "/a/{id}"}),
        span("call", 3, {"rpc.system": "grpc", "rpc.service": "shop.Cart", "rpc.method": "Add"}),
        span("select", 3, {"db.system.name": "postgresql", "db.operation.name": "SELECT", "db.namespace": "shop",
                           "db.collection.name": "items"}),
        span("send", 4, {"messaging.system": "kafka", "messaging.operation.name": "send", "messaging.destination.name": "orders"}),
        span("receive", 5, {"messaging.system": "sqs", "messaging.destination.temporary": True, "server.address": "q"}),
    ]
    return {"resourceSpans": [{"resource": {"attributes": pairs(RESOURCE)}, "schemaUrl": "schema",
                               "scopeSpans": [{"scope": {"name": "lib", "version": "2"}, "spans": spans}]}]}


def metrics():
    def point(attributes, **more):
        return {"attributes": pairs(attributes), "startTimeUnixNano": str(TIME), "timeUnixNano": str(TIME + 1)} | more

    few = {"str": "Hello World", "num": 42, "host": "a"}
    exemplar = {"timeUnixNano": str(TIME), "asDouble": 1.5, "traceId": "0102030405060708090a0b0c0d0e0f10",
                "spanId": "0102030405060708"}
    listed = [
        {"name": "requests", "unit": "1", "description": "how many",
         "sum": {"aggregationTemporality": 2, "isMonotonic": True,
                 "dataPoints": [point(few, asInt="5", exemplars=[exemplar]), point({"host": "b"}, asDouble=2.5, flags=1)]}},
        {"name": "temperature", "unit": "C", "metadata": pairs({"meta": "data"}),
         "gauge": {"dataPoints": [point(few, asDouble=-3.25), point({}, asInt="0")]}},
        {"name": "latency", "unit": "ms", "histogram": {"aggregationTemporality": 1, "dataPoints": [
            point(few, count="6", sum=21.5, min=1.0, max=9.0, bucketCounts=["1", "2", "3"], explicitBounds=[1.0, 5.0])]}},
        {"name": "sizes", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
            point(few, count="9", sum=4.5, scale=3, zeroCount="2", positive={"offset": -1, "bucketCounts": ["3", "4"]},
                  negative={"offset": 2, "bucketCounts": ["0"]})]}},
        {"name": "old", "summary": {"dataPoints": [
            point(few, count="3", sum=9.0, quantileValues=[{"quantile": 0.5, "value": 2.0}])]}},
        {"name": "cpu", "sum": {"aggregationTemporality": 1, "dataPoints": [
            point({"host": "a", "cpu": "0"}, asDouble=4.0), point({"host": "a", "cpu": "1"}, asDouble=9.5),
            point({"host": "a", "cpu": "2"}, asInt="3")]}},
        {"name": "duration", "description": "how long", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [
            point({"host": "a", "cpu": "0"}, count="10", sum=55.0, bucketCounts=["5", "5", "0"], explicitBounds=[10.0, 20.0]),
            point({"host": "a", "cpu": "1"}, count="6", bucketCounts=["1", "2", "3"], explicitBounds=[10.0, 20.0])]}},
        {"name": "spread", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
            point({"host": "a", "cpu": "0"}, count="9", sum=30.0, min=0.5, max=9.0, scale=1, zeroCount="1",
                  positive={"offset": 2, "bucketCounts": ["3", "0", "5"]}, exemplars=[exemplar]),
            point({"host": "a", "cpu": "1"}, count="7", sum=20.0, min=0.25, max=12.0, scale=1, zeroCount="1",
                  positive={"offset": 4, "bucketCounts": ["2", "4"]}),
            point({"host": "b"}, count="5", sum=-9.0, scale=0, zeroThreshold=0.5,
                  negative={"offset": 1, "bucketCounts": ["4", "1"]})]}},
    ]
    return {"resourceMetrics": [{"resource": {"attributes": pairs(RESOURCE)},
                                 "scopeMetrics": [{"scope": {"name": "lib"}, "metrics": listed}]}]}


DATA = {"logs": logs, "traces": traces, "metrics": metrics}

UNARY = """ToUpperCase ToLowerCase ToSnakeCase ToCamelCase SHA1 SHA256 SHA512 MD5 FNV Murmur3Hash Murmur3Hash128 XXH3 XXH128 Len
Int Double String Bool IsString IsInt IsDouble IsBool IsMap IsList Hex Keys Values Sort ParseJSON ParseKeyValue Log IsValidLuhn
Base64Encode Base64Decode Trim URL""".split()
KEYS = ["str", "num", "dbl", "flag", "list", "map", "bytes", "missing", "uni", "digits", "json", "camel"]

EXPRESSIONS = """attributes["num"] + 1
attributes["num"] - attributes["dbl"]
attributes["num"] * 2 + attributes["neg"] * 3
(attributes["num"] + 2) / 4
attributes["num"] / 4.0
attributes["num"] / 0
-attributes["neg"]
-(attributes["num"] + 1)
+5
1.5e3
0xfe
nil
true
"text \\"quoted\\" \\t tab"
[1, "two", attributes["str"], nil]
{"a": 1, "b": attributes["str"], "c": [1, {"d": true}]}
attributes["map"]["x"]
attributes["map"]["inner"]["y"][1]["z"]
attributes["map"]["inner"]["y"][9]
attributes["list"][1]
attributes["list"][attributes["ints"][1]]
attributes["map"][Concat(["x"], "")]
Split(attributes["str"], " ")
Split(attributes["str"], "")[0]
Concat([attributes["str"], attributes["num"], attributes["flag"], attributes["missing"], attributes["map"], attributes["dbl"]], "|")
ConvertCase(attributes["camel"], "snake")
ConvertCase(attributes["uni"], "upper")
ConvertCase("some-kebab case.x1y2", "camel")
ConvertCase("ABCDef12gh", "snake")
Substring(attributes["str"], 2, 5)
Substring(attributes["str"], 5, 50)
Substring(attributes["uni"], 0, 3, utf8_safe=true)
Trim("--x--", "-")
TrimPrefix(attributes["str"], "Hello ")
TrimSuffix(attributes["str"], "World")
HasPrefix(attributes["str"], "He")
HasSuffix(attributes["str"], "He")
IsMatch(attributes["str"], "^Hello\\\\s\\\\w+$")
IsMatch(attributes["num"], "^4")
IsMatch(attributes["map"], "deep")
IsMatch(attributes["missing"], ".*")
ExtractPatterns(body.string, "user=(?P<id>\\\\d+) (?P<verb>[A-Z]+)")
ExtractPatterns(body.string, "(?P<nothing>zzz)")
ParseKeyValue(attributes["kv"])
ParseKeyValue("a:1;b:2", ":", ";")
ParseKeyValue(attributes["str"])
ToKeyValueString({"b": 1, "a": "x y"}, sort_output=true)
ToKeyValueString(attributes["map"], ":", ",", true)
ParseCSV(attributes["csv"], "a,b,c")
ParseCSV("a|b", "x;y", delimiter="|", header_delimiter=";")
ParseCSV("a\\"b,c", "x,y", mode="lazyQuotes")
ParseCSV(attributes["csv"], "a,b")
ParseInt("ff", 16)
ParseInt("0b101", 0)
ParseInt("z", 10)
ParseJSON(attributes["json"])["b"]["c"]
ParseJSON(attributes["json"])["a"][0]
ParseSeverity(severity_text, {"low": [{"equals": ["debug", "INFO"]}], "high": [{"equals": ["ERROR"]}]})
ParseSeverity(404, {"warn": [{"range": "4xx"}], "x": [{"range": {"min": 1, "max": 5}}]})
Coalesce([attributes["missing"], nil, attributes["str"]])
ContainsValue(attributes["list"], "a")
ContainsValue(attributes["ints"], 2.0)
Index(attributes["list"], "c")
Index(attributes["str"], "World")
Sort(attributes["list"], "desc")
Sort([3, 1.5, 2])
Sort(["b", 1, true])
SliceToMap(ParseJSON("[{\\"k\\":\\"a\\",\\"v\\":1},{\\"k\\":\\"b\\",\\"v\\":2}]"), key_path=["k"], value_path=["v"])
SliceToMap(["x", "y"])
Format("%s-%d-%05d-%.2f-%v-%t-%q", [attributes["str"], attributes["num"], 7, attributes["dbl"], attributes["neg"], attributes["flag"], "q"])
Format("%5s|%-5s|%x|%X|%%", ["a", "b", 255, "hi"])
Format("%d %s", ["wrong"])
CommunityID(attributes["ip"], 40000, "192.168.0.1", 443)
CommunityID("fe80::1", 7, "::ffff:10.0.0.1", 9, "UDP", 3)
CommunityID("10.0.0.1", 70000, "10.0.0.2", 9)
IsInCIDR(attributes["ip"], ["10.0.0.0/8"])
IsInCIDR(attributes["ip"], ["192.168.0.0/16", "fe80::/10"])
Base64Encode(attributes["str"], "base64-url")
Decode("aGVsbG8", "base64-raw")
FormatTime(time, "%Y-%m-%d %H:%M:%S")
FormatTime(time, "%a %b %e %I:%M:%S %p %y %j")
FormatTime(Time(attributes["time"], "%Y-%m-%dT%H:%M:%S.%L%z"), "%d/%m/%Y %T.%s")
UnixNano(Time(attributes["time"], "%FT%T.%L%z"))
UnixNano(Time("2023-02-03 4:5:6 +0200", "%Y-%m-%d %H:%M:%S %z"))
UnixMilli(Time("Feb 3 2023 11:05:06 PM", "%b %d %Y %I:%M:%S %p"))
UnixSeconds(Time("03/02/23", "%d/%m/%y"))
UnixSeconds(Time("nonsense", "%Y"))
UnixMicro(time)
Year(time) * 10000 + Month(time) * 100 + Day(time)
Hour(time) * 3600 + Minute(time) * 60 + Second(time)
Weekday(time)
Nanosecond(time)
UnixSeconds(Unix(1700000000, 5))
UnixNano(TruncateTime(time, Duration("1h")))
Hours(Duration("1h30m"))
Minutes(Duration("90s"))
Seconds(Duration("1500ms"))
Milliseconds(Duration("-2s"))
Nanoseconds(Duration("1us"))
Nanoseconds(observed_time - time)
UnixNano(time + Duration("1s"))
Duration("x")
time_unix_nano
observed_time_unix_nano - time_unix_nano
severity_number
severity_text
body
body.string
flags
dropped_attributes_count
event_name
trace_id.string
span_id.string
Hex(attributes["num"])
String(attributes["list"])
String(attributes["dbl"])
resource.attributes["service.name"]
resource.attributes["m"]["k"]
resource.dropped_attributes_count
resource.schema_url
scope.name
instrumentation_scope.version
scope.attributes["s"]
scope.schema_url
Len(resource.attributes)
body["a"]["b"]
body[1]
ParseXML(attributes["xml"])
ParseXML("<a>")
ParseXML("<a/> ")
ParseXML("<?xml version=\\"1.0\\"?><a b='1' b='2'>t<!-- c -->u</a>")
ParseSimplifiedXML(attributes["xml"])
ParseSimplifiedXML("<a><b>1</b><b><c>2</c></b><b/><d></d></a>")
ParseSimplifiedXML("no xml")
GetXML(attributes["xml"], "//item")
GetXML(attributes["xml"], "/shop/item[2]/name")
GetXML(attributes["xml"], "//@id")
GetXML(attributes["xml"], "//item[@id='1']/text()")
GetXML(attributes["xml"], "//v[. > 1]")
GetXML(attributes["xml"], "//item[name='nut']/price/text()")
GetXML(attributes["xml"], "//list/*[last()]")
GetXML(attributes["xml"], "//item[contains(., 'apple')]/b")
GetXML(attributes["xml"], "//none")
GetXML("<a", "//a")
RemoveXML(attributes["xml"], "//item[@id='1']")
RemoveXML(attributes["xml"], "//@id")
RemoveXML(attributes["xml"], "//comment()")
RemoveXML(attributes["xml"], "//v/text()")
InsertXML(attributes["xml"], "/shop/list", "<v>3</v><v>4</v>")
InsertXML(attributes["xml"], "//v", "<u/>")
InsertXML(attributes["xml"], "//@id", "<u/>")
InsertXML("", "/", "<u/>")
ConvertAttributesToElementsXML(attributes["xml"])
ConvertAttributesToElementsXML(attributes["xml"], "//item/@id")
ConvertTextToElementsXML(attributes["xml"])
ConvertTextToElementsXML(attributes["xml"], "//item", "words")
ConvertTextToElementsXML("<a>one<b/>two</a>")
ExtractGrokPatterns(attributes["ip"], "%{IP:client.ip}", true)
ExtractGrokPatterns(attributes["ip"], "%{IPV4}")
ExtractGrokPatterns(attributes["clf"], "%{COMMONAPACHELOG}", true)
ExtractGrokPatterns(attributes["clf"], "%{HTTPD_COMBINEDLOG}", true)
ExtractGrokPatterns(attributes["clf"], "%{HTTPDATE:when}")
ExtractGrokPatterns(body, "user=%{NUMBER:id:int} %{WORD:verb} %{URIPATH:path} %{INT:code:double}", true)
ExtractGrokPatterns(attributes["time"], "%{TIMESTAMP_ISO8601:at}", true)
ExtractGrokPatterns(attributes["time"], "%{YEAR:y:long}-%{MONTHNUM:m}", true)
ExtractGrokPatterns(attributes["str"], "%{GREETING:g} %{NOTSPACE:who}", true, ["GREETING=Hel+o"])
ExtractGrokPatterns(attributes["str"], "(?P<first>\\\\w+) %{DATA}$", true)
ExtractGrokPatterns(attributes["str"], "%{WORD:w:int}", true)
ExtractGrokPatterns(attributes["str"], "%{IP:none}", true)
ExtractGrokPatterns("Jan 18 11:07:53 host1 su[23]: gone", "%{SYSLOGLINE}", true)
ExtractGrokPatterns("fe80::1%eth0 2001:db8::7", "%{IPV6:a} ?%{IPV6:b}?", true)
ExtractGrokPatterns(attributes["url"], "%{URI:u}", true)
ParseCLF(attributes["clf"], "combined")
ParseCLF(attributes["clf"])
ParseCLF("1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] \\"-\\" 404 -")
ParseLEEF(attributes["leef"])
ParseLEEF("<13>Jan 18 11:07:53 192.168.1.1 LEEF:1.0|MS|MSExchange|4.0 SP1|15345|src=192.0.2.0\\tdst=172.50.123.1")
ParseLEEF("LEEF:2.0|Vendor|Product|1.0|EventID|key1=a|b")
ParseLEEF("LEEF:3.0|V|P|1|E|a=b")
UnixNano(Time("2023-07-01 12:00:00", "%Y-%m-%d %H:%M:%S", "Europe/Berlin"))
UnixNano(Time("2023-11-05 01:30:00", "%Y-%m-%d %H:%M:%S", "America/New_York"))
UnixNano(Time("2023-03-12 02:30:00", "%Y-%m-%d %H:%M:%S", "America/New_York"))
UnixNano(Time("2023-07-01 12:00:00 CEST", "%Y-%m-%d %H:%M:%S %Z", "Europe/Berlin"))
UnixNano(Time("2023-07-01 12:00:00 EST", "%Y-%m-%d %H:%M:%S %Z"))
UnixNano(Time("2023-07-01 12:00:00 PDT", "%Y-%m-%d %H:%M:%S %Z"))
UnixNano(Time("2023-07-01 12:00:00 UTC", "%Y-%m-%d %H:%M:%S %Z", "Asia/Tokyo"))
UnixNano(Time("2023-07-01", "%Y-%m-%d", "Asia/Kolkata"))
UnixNano(Time("Jan 02 15:04:05", "%b %d %H:%M:%S"))""".strip().splitlines()

CONDITIONS = """attributes["num"] == 42
attributes["num"] == 42.0
attributes["num"] != "42"
attributes["num"] > 10 and attributes["num"] < 100
attributes["num"] >= 42 or attributes["str"] == "other"
not (attributes["num"] == 42)
attributes["missing"] == nil
attributes["str"] != nil
attributes["none"] == nil
attributes["str"] < "a"
attributes["flag"] == true
attributes["flag"] > false
attributes["list"] == ["b", "a", "c"]
attributes["map"] == {"n": 7}
attributes["map"]["n"] <= 7
severity_number >= SEVERITY_NUMBER_ERROR
severity_number < SEVERITY_NUMBER_INFO2 and not IsMatch(severity_text, "debug")
IsMatch(body, "GET")
trace_id == TraceID(0x0102030405060708090a0b0c0d0e0f10)
span_id != SpanID(0x0000000000000000)
time > Time("2020-01-01", "%Y-%m-%d") == false or true
resource.attributes["host.name"] == "node-1"
scope.name == "other"
true
false
1 == 1
"a" == nil
Len(attributes["list"]) == 3
attributes["bytes"] == 0x00ff6162
IsString(attributes["str"]) and IsInt(attributes["num"])""".splitlines()
CONDITIONS.remove('time > Time("2020-01-01", "%Y-%m-%d") == false or true')

EDITORS = """set(severity_number, SEVERITY_NUMBER_FATAL4)
set(severity_text, "X")
set(severity_text, 5)
set(body, attributes["map"])
set(body, ["a", {"b": 1}])
set(body.string, "new")
set(body["a"]["b"], "changed")
set(body["new"], 1)
set(body[0], "first")
set(attributes, {"only": "this"})
set(attributes, resource.attributes)
set(attributes["map"]["x"], 1)
set(attributes["map"]["fresh"]["deep"], "v")
set(attributes["fresh"]["deep"]["er"], 1)
set(attributes["fresh"][2], "third")
set(attributes["list"][0], 0x0102)
set(attributes["list"][7], "out")
set(attributes["str"]["x"], "not a map")
set(attributes["copy"], attributes["map"])
set(attributes["time"], time)
set(attributes["id"], trace_id)
set(time_unix_nano, 5)
set(time, Unix(1, 2))
set(observed_time, time)
set(trace_id, TraceID("ffffffffffffffffffffffffffffffff"))
set(trace_id.string, "00000000000000000000000000000001")
set(trace_id.string, "short")
set(span_id, SpanID(0x0000000000000001))
set(span_id.string, "0000000000000002")
set(flags, 3)
set(dropped_attributes_count, 9)
set(event_name, "named")
set(resource.attributes["from.log"], attributes["str"])
set(resource.attributes, {"new": "all"})
set(resource.dropped_attributes_count, 7)
set(resource.schema_url, "s2")
set(scope.name, "renamed")
set(scope.version, Concat([scope.name, scope.version], "-"))
set(scope.attributes["s"], nil)
set(scope.schema_url, "s3")
append(attributes["list"], "d")
append(attributes["str"], values=["x", 1])
append(attributes["fresh"], 1)
delete_key(attributes, "str")
delete_key(attributes["map"], "x")
delete_key(attributes, "missing")
delete_key(attributes["str"], "x")
delete_index(attributes["list"], 1)
delete_index(attributes["list"], 0, 2)
delete_index(attributes["list"], 5)
delete_matching_keys(attributes, "^[a-m]")
keep_keys(attributes, ["str", "num", "zzz"])
keep_keys(attributes["map"], ["n"])
keep_keys(resource.attributes, ["service.name"])
keep_matching_keys(attributes, "(?i)^S")
limit(attributes, 3, ["str", "map"])
limit(attributes, 1000, [])
truncate_all(attributes, 4)
truncate_all(attributes, 2, false)
truncate_all(resource.attributes, 0)
stringify_all(attributes)
flatten(attributes)
flatten(attributes, "p")
flatten(attributes, depth=1)
flatten(attributes["map"], "q", 2)
flatten(attributes, resolve_conflicts=true)
flatten(body)
merge_maps(attributes, {"str": "merged", "add": 1}, "insert")
merge_maps(attributes, {"str": "merged", "add": 1}, "update")
merge_maps(attributes, {"str": "merged", "add": 1}, "upsert")
merge_maps(attributes, ParseJSON(attributes["json"]), "upsert")
merge_maps(attributes["map"], resource.attributes, "upsert")
replace_match(attributes["str"], "Hello*", "matched")
replace_match(body, "user*", "whole")
replace_match(severity_text, "{INFO,WARN}", "I")
replace_match(attributes["num"], "*", "x")
replace_all_matches(attributes, "*o*", "has o")
replace_all_matches(attributes, "10.?.2.[0-9]", "ip")
replace_pattern(attributes["str"], "(\\\\w+) (\\\\w+)", "$2 $1")
replace_pattern(attributes["str"], "World", "${0}!")
replace_pattern(attributes["str"], "(?P<first>\\\\w+)", "<$first>")
replace_pattern(attributes["str"], "World", "World", SHA256)
replace_pattern(attributes["str"], "(World)", "$1", function=ToUpperCase, replacement_format="[%s]")
replace_pattern(body, "\\\\d+", "N")
replace_pattern(attributes["missing"], "a", "b")
replace_all_patterns(attributes, "value", "[aeiou]", "_")
replace_all_patterns(attributes, "key", "^(s)tr$", "$1")
replace_all_patterns(attributes, "value", "World", "World", SHA1)
replace_all_patterns(attributes, "key", "m(.*)", "$1", ToUpperCase)
set(cache["a"], attributes["str"])
set(attributes["u"], UUID()) where false""".splitlines()

SPAN_STATEMENTS = """set(span.name, Concat([span.name, span.kind.string], " "))
set(span.kind, SPAN_KIND_CLIENT)
set(span.kind.string, "Producer")
set(span.kind.deprecated_string, "SPAN_KIND_CONSUMER")
set(span.attributes["kind"], span.kind.deprecated_string)
set(span.status.code, STATUS_CODE_OK) where span.status.code == STATUS_CODE_ERROR
set(span.status.message, "m")
set(span.attributes["code"], span.status.code)
set(span.attributes["dur"], span.end_time_unix_nano - span.start_time_unix_nano)
set(span.attributes["ms"], Milliseconds(span.end_time - span.start_time))
set(span.end_time, span.start_time + Duration("1s"))
set(span.trace_state, "k=v")
set(span.trace_state["vendor"], "new")
set(span.attributes["ts"], span.trace_state["other"])
set(span.parent_span_id, SpanID(0x0000000000000009))
set(span.attributes["root"], IsRootSpan())
set(span.attributes["events"], Len(span.events))
set(span.attributes["links"], Len(span.links))
set(span.dropped_events_count, 11)
set(span.flags, 5)
set(span.attributes["isroot"], true) where IsRootSpan()
replace_pattern(span.name, "/\\\\d+", "/{id}")
set(spanevent.name, "renamed") where spanevent.name == "first"
set(spanevent.attributes["span"], span.name)
set(spanevent.time_unix_nano, 1)
set(spanevent.dropped_attributes_count, 1)
set(span.attributes["from.event"], spanevent.name)
set(resource.attributes["r"], 1)
set(scope.version, "9")
delete_key(resource.attributes, "n")
keep_keys(span.attributes, ["str"])
set_semconv_span_name("1.37.0") where span.name != "x"
set_semconv_span_name("1.38.0", "old.name") where span.name != nil""".splitlines()

METRIC_STATEMENTS = """set(metric.name, Concat(["pre", metric.name], "."))
set(metric.description, "d") where metric.type == METRIC_DATA_TYPE_SUM
set(metric.unit, "s") where metric.unit == "ms"
set(metric.aggregation_temporality, AGGREGATION_TEMPORALITY_DELTA)
set(metric.is_monotonic, false)
set(metric.metadata["a"], "b")
set(metric.description, String(metric.type))
set(metric.description, String(Len(metric.data_points)))
set(datapoint.attributes["name"], metric.name)
set(datapoint.value_double, 9.5)
set(datapoint.value_int, 7)
set(datapoint.value_double, datapoint.value_double * 2) where metric.name == "temperature"
set(datapoint.attributes["v"], datapoint.value_int)
set(datapoint.count, 100)
set(datapoint.sum, 1.25)
set(datapoint.attributes["count"], datapoint.count)
set(datapoint.bucket_counts, [7, 8, 9])
set(datapoint.explicit_bounds, [1.5, 2.5])
set(datapoint.attributes["bounds"], datapoint.explicit_bounds)
set(datapoint.scale, -2)
set(datapoint.zero_count, 4)
set(datapoint.positive.offset, 5)
set(datapoint.positive.bucket_counts, [1, 2, 300])
set(datapoint.negative.offset, -5)
set(datapoint.flags, FLAG_NO_RECORDED_VALUE)
set(datapoint.time, datapoint.start_time)
set(datapoint.start_time_unix_nano, 3)
set(datapoint.attributes["q"], Len(datapoint.quantile_values))
set(datapoint.attributes["ex"], Len(datapoint.exemplars))
set(metric.name, "renamed") where datapoint.attributes["host"] == "b"
set(metric.is_monotonic, false) where datapoint.count == nil
delete_key(datapoint.attributes, "host")
keep_keys(datapoint.attributes, ["num"])
set(resource.attributes["seen"], metric.name)
set(scope.name, "x") where metric.name == "old\"""".replace('\\"', '"').splitlines()


METRIC_EDITORS = """copy_metric(name="copied") where name == "requests"
copy_metric(description="d", unit="u") where name == "latency" and unit != "u"
extract_count_metric(true)
extract_count_metric(false, ".n") where type == METRIC_DATA_TYPE_SUMMARY
extract_sum_metric(true)
extract_sum_metric(false, "") where name == "old"
extract_percentile_metric(50.0)
extract_percentile_metric(99.5, "_high")
extract_percentile_metric(1.0) where name == "spread"
convert_summary_quantile_val_to_gauge()
convert_summary_quantile_val_to_gauge("host", "_q")
aggregate_on_attributes("sum", ["host"]) where name == "cpu"
aggregate_on_attributes("mean", ["host"]) where name == "cpu"
aggregate_on_attributes("min", ["host"]) where name == "cpu"
aggregate_on_attributes("max", ["host"]) where name == "cpu"
aggregate_on_attributes("median", ["host"]) where name == "cpu"
aggregate_on_attributes("count", ["host"]) where name == "cpu"
aggregate_on_attributes("sum", []) where name == "latency"
aggregate_on_attributes("sum", ["host"]) where name == "duration"
aggregate_on_attributes("sum", ["missing"]) where name == "requests"
aggregate_on_attributes("mean", ["missing"]) where name == "temperature"
aggregate_on_attributes("sum") where name == "old"
aggregate_on_attribute_value("sum", "cpu", ["0", "1", "2"], "all") where name == "cpu"
aggregate_on_attribute_value("max", "cpu", ["0", "1"], "low") where name == "duration"
convert_exponential_histogram_to_histogram("upper", [0.0, 1.0, 5.0, 10.0])
convert_exponential_histogram_to_histogram("midpoint", [0.5, 1.5, 5.0])
convert_exponential_histogram_to_histogram("uniform", [1.0, 2.0, 3.0, 4.0, 8.0])""".splitlines()

POINT_EDITORS = """convert_summary_count_val_to_sum("delta", true)
convert_summary_count_val_to_sum("cumulative", false, ".c")
convert_summary_sum_val_to_sum("delta", true)
convert_summary_sum_val_to_sum("cumulative", false, "")
merge_histogram_buckets(10.0)
merge_histogram_buckets(20.0, "remove_explicit_bound")
merge_histogram_buckets(2, "limit_buckets")
merge_histogram_buckets(1.0, "limit_buckets")
merge_histogram_buckets(7.0)""".splitlines()


def transform(signal, statements, context=None, mode="ignore"):
    key = {"logs": "log_statements", "traces": "trace_statements", "metrics": "metric_statements"}[signal]
    group = {"statements": statements} | ({"context": context} if context else {})
    return [{"transform": {"error_mode": mode, key: [group]}}]


def filter_logs(*conditions, **more):
    return [{"filter": {"error_mode": "ignore", "logs": {"log_record": list(conditions)}} | more}]


def actions(*listed, **more):
    return [{"attributes": {"actions": list(listed)} | more}]


def attribute_cases():
    upsert = {"key": "new", "value": "v", "action": "upsert"}
    for key, raw in itertools.product(["str", "fresh"], ["text", 5, 1.5, True, ["a", 1], {"k": "v"}]):
        for action in ("insert", "update", "upsert"):
            yield actions({"key": key, "value": raw, "action": action})
    for key in ("str", "num", "dbl", "flag", "map", "missing", "digits", "float", "bool", "list"):
        yield actions({"key": key, "action": "hash"})
        yield actions({"key": key, "action": "delete"})
        yield actions({"key": "out", "from_attribute": key, "action": "upsert"})
        yield actions({"key": "out", "from_attribute": key, "default_value": "d", "action": "insert"})
        for target in ("int", "double", "string"):
            yield actions({"key": key, "converted_type": target, "action": "convert"})
    yield actions({"pattern": "^(str|n)", "action": "delete"})
    yield actions({"pattern": "^s", "action": "hash"})
    yield actions({"key": "str", "pattern": "^(?P<first>\\w+) (?P<second>\\w+)$", "action": "extract"})
    yield actions({"key": "url", "pattern": "^(?P<scheme>[a-z]+)://(?P<rest>.*)$", "action": "extract"})
    properties = [
        {"match_type": "strict", "attributes": [{"key": "str", "value": "Hello World"}]},
        {"match_type": "strict", "attributes": [{"key": "num"}]},
        {"match_type": "strict", "attributes": [{"key": "num", "value": 42}, {"key": "flag", "value": True}]},
        {"match_type": "strict", "attributes": [{"key": "num", "value": "42"}]},
        {"match_type": "regexp", "attributes": [{"key": "str", "value": "^H.*d$"}]},
        {"match_type": "regexp", "attributes": [{"key": "num", "value": "4\\d"}]},
        {"match_type": "strict", "resources": [{"key": "service.name", "value": "shop"}]},
        {"match_type": "regexp", "resources": [{"key": "host.name", "value": "node"}]},
        {"match_type": "strict", "libraries": [{"name": "lib", "version": "1.2"}]},
        {"match_type": "regexp", "libraries": [{"name": "^o"}]},
        {"match_type": "regexp", "log_bodies": ["GET", "^\\{"]},
        {"match_type": "strict", "log_severity_texts": ["INFO", "debug"]},
        {"match_type": "strict", "log_severity_number": {"min": 9, "match_undefined": True}},
    ]
    for listed in properties:
        yield actions(upsert, include=listed)
        yield actions(upsert, exclude=listed)


def log_cases():
    for name, key in itertools.product(UNARY, KEYS):
        yield transform("logs", [f'set(attributes["out"], {name}(attributes["{key}"]))'], "log")
    for expression in EXPRESSIONS:
        yield transform("logs", [f'set(attributes["out"], {expression})'], "log")
    for statement in EDITORS:
        yield transform("logs", [statement], "log")
    for condition in CONDITIONS:
        yield transform("logs", [f"set(attributes[\"hit\"], true) where {condition}"], "log")
        yield filter_logs(condition)
    yield transform("logs", ['set(cache["x"], attributes["str"])', 'set(attributes["y"], cache["x"])'], "log")
    yield transform("logs", ['set(attributes["x"], "r")'], "resource")
    yield transform("logs", ['set(attributes["x"], name)', "set(version, \"3\")"], "scope")
    yield transform("logs", ['set(log.attributes["a"], 1)', 'set(resource.attributes["b"], log.body)'])
    yield transform("logs", ['set(attributes["a"], 1 / 0)', 'set(attributes["b"], 1)'], "log", "propagate")
    yield transform("logs", ['set(attributes["a"], 1 / 0)', 'set(attributes["b"], 1)'], "log", "silent")
    yield [{"transform": {"log_statements": ['set(log.severity_text, "flat")', 'set(log.body, "b") where log.flags == 1']}}]
    # Who sent it.
    for statement in ('set(log.attributes["x"], otelcol.client.addr)',
                      'set(log.attributes["x"], otelcol.client.metadata["X-Team"])',
                      'set(log.attributes["x"], otelcol.client.metadata["x-team"][0])',
                      'set(log.attributes["x"], otelcol.client.metadata["x-team"][1])',
                      'set(log.attributes["x"], "y") where otelcol.client.metadata["x-nobody"] == nil',
                      'set(resource.attributes["x"], otelcol.client.metadata["x-team"][0])'):
        yield [{"transform": {"log_statements": [statement]}}]
    yield [{"filter": {"log_conditions": ['otelcol.client.metadata["x-team"][0] == "a" and log.flags == 1']}}]
    yield [{"transform": {"log_statements": [
        {"context": "log", "conditions": ["severity_number > 9", 'attributes["flag"] == true'], "statements": ['set(body, "c")']},
        {"statements": ['set(scope.name, "second")']}]}}]
    yield filter_logs('attributes["num"] == 42', 'severity_number == 0')
    yield [{"filter": {"logs": {"resource": ['attributes["service.name"] == nil'], "log_record": ["severity_number > 16"]}}}]
    yield [{"filter": {"log_conditions": ['log.severity_number > 9', 'resource.attributes["n"] == nil']}}]
    yield [{"filter": {"log_conditions": [{"conditions": ['scope.name == "lib"']}, {"conditions": ["log.body == nil"]}]}}]
    yield [{"filter": {"error_mode": "propagate", "logs": {"log_record": ['attributes["str"] + 1 == 2']}}}]
    for properties in (
        {"match_type": "strict", "severity_texts": ["INFO"]}, {"match_type": "regexp", "bodies": ["GET"]},
        {"match_type": "strict", "severity_number": {"min": "INFO", "match_undefined": False}},
        {"match_type": "strict", "record_attributes": [{"key": "num", "value": 42}]},
        {"match_type": "regexp", "resource_attributes": [{"key": "host.name", "value": "node-."}]},
    ):
        yield [{"filter": {"logs": {"include": properties}}}]
        yield [{"filter": {"logs": {"exclude": properties}}}]
    for action in ("insert", "update", "upsert"):
        for key in ("service.name", "fresh"):
            yield [{"resource": {"attributes": [{"key": key, "value": "v", "action": action}]}}]
    yield [{"resource": {"attributes": [{"key": "service.name", "action": "hash"}, {"pattern": "^h", "action": "delete"}]}}]
    yield [{"resource": {"attributes": [{"key": "n", "converted_type": "string", "action": "convert"}]}}]
    yield from attribute_cases()
    yield [{"groupbyattrs": {"keys": ["num", "str"]}}]
    yield [{"groupbyattrs": {}}]


def span_cases():
    for statement in SPAN_STATEMENTS:
        yield transform("traces", [statement])
    for condition in ('name == "root"', "kind == SPAN_KIND_SERVER", "status.code == STATUS_CODE_ERROR", "IsRootSpan()",
                      'attributes["num"] == 42 and parent_span_id == SpanID(0x2122232425262728)', 'trace_state["vendor"] == "x"'):
        yield [{"filter": {"traces": {"span": [condition]}}}]
    yield [{"filter": {"traces": {"spanevent": ['name == "first"', 'attributes["str"] == "e1"']}}}]
    yield [{"filter": {"trace_conditions": ['spanevent.name == "second"', 'span.name == "root"']}}]
    for properties in (
        {"match_type": "strict", "services": ["shop"]}, {"match_type": "regexp", "span_names": ["^GET", "oo"]},
        {"match_type": "strict", "span_kinds": ["SPAN_KIND_SERVER"]},
        {"match_type": "strict", "attributes": [{"key": "num", "value": 3}]},
    ):
        yield actions({"key": "new", "value": 1, "action": "insert"}, include=properties)
        yield [{"filter": {"spans": {"exclude": properties}}}]
        yield [{"filter": {"spans": {"include": properties}}}]
    yield [{"groupbyattrs": {"keys": ["str"]}}]
    for mode in ("hash_seed", "equalizing", "proportional"):
        for percentage in (0, 10, 50, 99.9, 100):
            yield [{"probabilistic_sampler": {"mode": mode, "sampling_percentage": percentage}}]
    yield [{"probabilistic_sampler": {"hash_seed": 22, "sampling_percentage": 40}}]


def metric_cases():
    for statement in METRIC_STATEMENTS:
        yield transform("metrics", [statement])
    for context, statements in (("metric", METRIC_EDITORS), ("datapoint", POINT_EDITORS)):
        for statement in statements:
            yield transform("metrics", [statement], context=context)
    yield transform("metrics", ['set(attributes["x"], "y")', 'convert_summary_sum_val_to_sum("delta", true)'], context="datapoint")
    yield transform("metrics", ['copy_metric(name="one") where name == "old"', 'copy_metric(name="two") where name == "one"'],
                    context="metric")
    for statements in (["convert_sum_to_gauge()"], ['convert_gauge_to_sum("delta", true)'], ["scale_metric(10.0)"],
                       ['convert_gauge_to_sum("cumulative", false) where name == "temperature"'],
                       ['scale_metric(0.001, "s") where unit == "ms"'],
                       ["convert_sum_to_gauge()", "set(description, String(type))"],
                       ['convert_gauge_to_sum("delta", false)', "convert_sum_to_gauge()", "scale_metric(2.0)"],
                       ['convert_gauge_to_sum("delta", false)', "set(is_monotonic, true)"]):
        yield transform("metrics", statements, context="metric")
    for condition in ('name == "requests"', "type == METRIC_DATA_TYPE_GAUGE", 'IsMatch(unit, "^m")', "is_monotonic == true",
                      'HasAttrOnDatapoint("host", "b")', 'HasAttrKeyOnDatapoint("num")', "aggregation_temporality == 1"):
        yield [{"filter": {"metrics": {"metric": [condition]}}}]
    for condition in ('attributes["host"] == "a"', "value_int == 5", "count > 5", 'metric.name == "old"', "flags == 1"):
        yield [{"filter": {"metrics": {"datapoint": [condition]}}}]
    yield [{"filter": {"metric_conditions": ["datapoint.count > 5", 'metric.name == "temperature"']}}]
    for properties in ({"match_type": "strict", "metric_names": ["requests", "old"]}, {"match_type": "regexp", "metric_names": ["^l"]},
                       {"match_type": "strict", "resource_attributes": [{"key": "service.name", "value": "shop"}]}):
        yield [{"filter": {"metrics": {"include": properties}}}]
        yield [{"filter": {"metrics": {"exclude": properties}}}]
    yield actions({"key": "new", "from_attribute": "host", "action": "upsert"})
    yield actions({"key": "host", "action": "hash"}, include={"match_type": "strict", "metric_names": ["requests"]})
    yield [{"groupbyattrs": {"keys": ["host"]}}]


CASES = {"logs": log_cases, "traces": span_cases, "metrics": metric_cases}


def normal(node):
    """A form in which order that means nothing and empty envelopes are gone."""
    if isinstance(node, dict):
        # An empty resource, scope, status or list of buckets says the same as none.
        node = {key: normal(element) for key, element in node.items()
                if not (key in ("resource", "scope", "status", "positive", "negative") and element == {})}
        for key in ("scopeLogs", "scopeSpans", "scopeMetrics", "resourceLogs", "resourceSpans", "resourceMetrics"):
            if key in node:
                node[key] = [child for child in node[key] if any(isinstance(part, list) and part for name, part in child.items()
                                                                 if name not in ("attributes",))]
        return node
    if isinstance(node, list):
        children = [normal(element) for element in node]
        if children and all(isinstance(child, dict) and "key" in child for child in children):
            children.sort(key=lambda child: child["key"])
        return children
    return node


class Sink:
    """Takes OTLP over HTTP and keeps what each case sent, by path."""

    def __init__(self, signal):
        self.got, message = {}, MESSAGES[signal]
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    told = normal(MessageToDict(message.FromString(body)))
                except DecodeError:
                    told = UNREADABLE
                sink.got.setdefault(self.path.split("/")[1], []).append(told)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            # All pipelines of a process may call at the same moment.
            request_queue_size = 2048

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def config(signal, cases, port, sink, extra):
    """One receiver, and for each case its processors and its exporter."""
    processors, exporters, pipelines = {}, {}, {}
    for index, chain in enumerate(cases):
        names = []
        for stage in chain:
            for kind, section in stage.items():
                names.append(f"{kind}/{index}")
                processors[names[-1]] = section
        exporters[f"otlphttp/{index}"] = {"endpoint": f"http://127.0.0.1:{sink}/c{index}", "compression": "none",
                                          "sending_queue": {"enabled": False}, "retry_on_failure": {"enabled": False}}
        pipelines[f"{signal}/{index}"] = {"receivers": ["otlp"], "processors": names, "exporters": [f"otlphttp/{index}"]}
    receiver = {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}", "include_metadata": True}}}
    service = {"telemetry": {"metrics": {"level": "none"}}, "pipelines": pipelines}
    return {"receivers": {"otlp": receiver}, "processors": processors, "exporters": exporters, "service": service} | extra


def outputs(name, binary, signal, cases, folder, start, extra):
    """What each case sends on when the data set goes in."""
    sink, port = Sink(signal), free_port()
    path = folder / f"{name}.json"
    # A literal $ is written twice in a config.
    path.write_text(json.dumps(config(signal, cases, port, sink.port, extra)).replace("$", "$$"))
    process = start(Process(name, [binary, "--config", path], folder))
    url = f"http://127.0.0.1:{port}/v1/{signal}"

    def listens():
        if process.child.poll() is not None:
            # Its config was refused: no use to wait.
            pytest.fail(f"{name} ended:\n{process.tail()}")
        return requests.post(url, json={}, timeout=2).status_code == 200

    wait_until(listens, f"{name} listens", seconds=240)
    # Pipelines with error_mode propagate refuse the request; the others have it all the same.
    requests.post(url, json=DATA[signal](), headers={"X-Team": "a"}, timeout=60)
    process.kill()
    sink.server.shutdown()
    return sink.got


@pytest.mark.parametrize("signal", sorted(CASES))
def test_every_case_gives_what_the_collector_gives(tmp_path, start, signal):
    cases = list(CASES[signal]())
    theirs = outputs("otelcol", peer("otelcol"), signal, cases, tmp_path, start, {})
    ours = outputs("tidegate", TARGET / "tidegate", signal, cases, tmp_path, start, {
        "server": {"prometheus": {"endpoint": "127.0.0.1:0"}, "loki": {"endpoint": "127.0.0.1:0"}},
        "storage": {"directory": str(tmp_path / "data")}})
    differing = [
        f"{json.dumps(chain)}\n  theirs {json.dumps(theirs.get(f'c{index}'))}\n  ours   {json.dumps(ours.get(f'c{index}'))}"
        for index, chain in enumerate(cases)
        if theirs.get(f"c{index}") != ours.get(f"c{index}") and theirs.get(f"c{index}") != [UNREADABLE]
    ]
    print(f"{signal}: {len(cases)} cases, {len(differing)} differ")
    assert not differing, "\n".join(differing[:20])


def test_the_cases_are_many():
    assert sum(len(list(cases())) for cases in CASES.values()) >= 300


def samples():
    """Sections of processors as the testdata folders of the Collector's own modules have them, good and bad."""
    modules = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True, check=True).stdout.strip()
    found = {}
    folders = ("github.com/open-telemetry/opentelemetry-collector-contrib", "go.opentelemetry.io/collector")
    paths = [pathlib.Path(modules, folder).glob("processor/*processor@v0.155.0/testdata/*.y*ml") for folder in folders]
    for path in sorted(itertools.chain(*paths)):
        for name, section in (yaml.safe_load(path.read_text()) or {}).items():
            kind = str(name).split("/")[0]
            if kind in ("attributes", "batch", "filter", "groupbyattrs", "memory_limiter", "probabilistic_sampler",
                        "resource", "transform"):
                found[f"{path.parent.parent.name.split('@')[0]}:{path.name}:{name}"] = (kind, section)
    return found


def other_samples():
    """The same of exporters and of the receivers that come with them, each whole section of its file by itself; where a
    file is one section without a name, that is it."""
    modules = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True, check=True).stdout.strip()
    contrib, core = "github.com/open-telemetry/opentelemetry-collector-contrib", "go.opentelemetry.io/collector"
    rows = [(core, "exporters", "otlp", "otlpexporter"), (core, "exporters", "otlphttp", "otlphttpexporter"),
            (core, "exporters", "debug", "debugexporter"), (contrib, "exporters", "file", "fileexporter"),
            (contrib, "exporters", "kafka", "kafkaexporter"), (core, "receivers", "otlp", "otlpreceiver"),
            (contrib, "exporters", "prometheusremotewrite", "prometheusremotewriteexporter"),
            (contrib, "receivers", "kafka", "kafkareceiver")]
    found = {}
    for folder, kinds, kind, module in rows:
        paths = pathlib.Path(modules, folder, kinds[:-1]).glob(f"{module}@v0.155.0/testdata/*.y*ml")
        for path in sorted(paths):
            whole = yaml.safe_load(path.read_text())
            if not isinstance(whole, dict):
                continue
            named = {name: section for name, section in whole.items() if str(name).split("/")[0] == kind}
            for name, section in (named or {kind: whole}).items():
                found[f"{module}:{path.name}:{name}"] = (kinds, kind, section)
    return found


def sample_configs():
    """Whole configs around the sections."""
    every = ["traces", "logs", "metrics"]
    receiver, exporter = {"otlp": {"protocols": {"http": None}}}, {"debug": None}
    for name, (kind, section) in samples().items():
        signals = ["traces", "logs"] if kind == "probabilistic_sampler" else every
        pipeline = {"receivers": ["otlp"], "processors": [kind], "exporters": ["debug"]}
        yield name, {"receivers": receiver, "processors": {kind: section}, "exporters": exporter,
                     "service": {"pipelines": {signal: pipeline for signal in signals}}}
    for name, (kinds, kind, section) in other_samples().items():
        signals = ["metrics"] if kind == "prometheusremotewrite" else every
        is_exporter = kinds == "exporters"
        pipeline = {"receivers": ["otlp" if is_exporter else kind], "exporters": [kind if is_exporter else "debug"]}
        yield name, {"receivers": receiver if is_exporter else {kind: section},
                     "exporters": {kind: section} if is_exporter else exporter,
                     "service": {"pipelines": {signal: pipeline for signal in signals}}}


# What the Collector takes in `validate` and refuses, or never sends, later.
LATER = ("authenticator not found in service::extensions", "is not a header name")

# Keys of older Collectors, which this one no longer knows and which still mean the same here.
OLDER = ("kafkareceiver:config.yaml:kafka/legacy_topic",)


def test_sample_configs_get_the_verdict_of_the_collector(tmp_path):
    def verdicts_of(indexed):
        index, (name, config) = indexed
        path = tmp_path / f"sample{index}.json"
        path.write_text(json.dumps(config, default=str).replace("$", "$$"))
        run = lambda binary: subprocess.run([binary, "validate", "--config", path], capture_output=True, text=True)
        return name, run(peer("otelcol")), run(TARGET / "tidegate")

    differing, counted, verdicts = [], 0, {True: 0, False: 0}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, theirs, ours in pool.map(verdicts_of, enumerate(sample_configs())):
            counted += 1
            verdicts[theirs.returncode == 0] += 1
            said = ours.stdout + ours.stderr
            # What is not there yet is refused by name.
            is_told = ours.returncode != 0 and any(part in said for part in ("not supported", "unknown type", *LATER))
            if (theirs.returncode == 0) != (ours.returncode == 0) and not is_told and name not in OLDER:
                differing.append(f"{name}\n  theirs {theirs.returncode} {theirs.stderr[-400:]}\n  ours {ours.returncode} {said[:400]}")
    print(f"{counted} configs, {verdicts[True]} good and {verdicts[False]} bad, {len(differing)} verdicts differ")
    assert counted >= 60
    assert not differing, "\n".join(differing)
