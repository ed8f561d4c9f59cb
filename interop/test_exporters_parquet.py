"""Parquet files of the `parquet` exporter, read by DuckDB: the rows are what was sent."""

import json
import time

import duckdb
import requests
from conftest import wait_until
from test_exporters_delivery import Gateway
from thanos_bucket import S3


def send(gateway, signal, body):
    answer = requests.post(f"http://127.0.0.1:{gateway.http}/v1/{signal}", json=body, timeout=10)
    assert answer.status_code == 200, answer.text


def attribute(key, **value):
    return {"key": key, "value": value}


def test_duckdb_reads_the_rows_that_were_sent(tmp_path, start):
    out = tmp_path / "parquet"
    queue = {"storage": "file_storage", "batch": {"flush_timeout": "100ms"}}
    gateway = start(Gateway(tmp_path, "parquet", {"directory": str(out), "sending_queue": queue}))
    now = time.time_ns()
    resource = {"attributes": [attribute("service.name", stringValue="shop")]}
    sent_logs, sent_points = [], []
    for batch in range(20):
        numbers = range(batch * 10, batch * 10 + 10)
        records = [
            {
                "timeUnixNano": str(now + number),
                "body": {"stringValue": f"line {number}"},
                "severityNumber": 9,
                "traceId": f"{number + 1:032x}",
                "attributes": [attribute("n", intValue=str(number)), attribute("odd ü", boolValue=True)],
            }
            for number in numbers
        ]
        send(gateway, "logs", {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]})
        sent_logs += [
            (now + number, f"line {number}", 9, f"{number + 1:032x}", {"n": str(number), "odd ü": "true"},
             {"service.name": "shop"})
            for number in numbers
        ]
        points = [{"timeUnixNano": str(now + number), "count": "3", "sum": number / 2, "bucketCounts": ["1", "2"],
                   "explicitBounds": [0.5]} for number in numbers]
        metric = {"name": "latency", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": points}}
        send(gateway, "metrics", {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]})
        sent_points += [(now + number, "latency", "histogram", "s", "cumulative", 3, number / 2, [1, 2], [0.5])
                        for number in numbers]
    assert gateway.stop() == 0, "what is queued is written at the stop"

    rows = lambda query: duckdb.connect().sql(query).fetchall()
    logs = rows(f"""select epoch_ns(time), body, severity_number, trace_id, attributes, resource_attributes
                    from read_parquet('{out}/logs/**/*.parquet', hive_partitioning = true) order by 1""")
    assert logs == sent_logs
    points = rows(f"""select epoch_ns(time), name, type, unit, temporality, count, sum, bucket_counts, explicit_bounds
                      from read_parquet('{out}/metrics/**/*.parquet', hive_partitioning = true) order by 1""")
    assert points == sent_points
    hours = rows(f"select distinct date, hour from read_parquet('{out}/logs/**/*.parquet', hive_partitioning = true)")
    assert len(hours) in (1, 2), "an hour may have ended meanwhile"


def test_every_kind_of_point_and_whole_spans_are_rows_that_duckdb_reads(tmp_path, start):
    out = tmp_path / "parquet"
    gateway = start(Gateway(tmp_path, "parquet", {"directory": str(out), "sending_queue": {"enabled": False}}))
    now = time.time_ns()
    around = {"attributes": [attribute("host", stringValue="a")], "startTimeUnixNano": str(now - 5), "timeUnixNano": str(now)}
    exemplar = {"timeUnixNano": str(now - 1), "asDouble": 1.5, "traceId": "01" * 16, "spanId": "02" * 8}
    exponential = {"count": "9", "sum": 4.5, "scale": 3, "zeroCount": "2", "zeroThreshold": 0.25, "min": -2.5, "max": 3.5,
                   "positive": {"offset": -1, "bucketCounts": ["3", "4"]}, "negative": {"offset": 2, "bucketCounts": ["0"]}}
    kinds = {
        "a": {"unit": "By", "description": "d", "gauge": {"dataPoints": [around | {"asInt": "-7", "flags": 1}]}},
        "b": {"gauge": {"dataPoints": [around | {"asDouble": -3.25, "exemplars": [exemplar]}]}},
        "c": {"sum": {"aggregationTemporality": 1, "isMonotonic": True, "dataPoints": [around | {"asDouble": 2.5}]}},
        "d": {"exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [around | exponential]}},
        "e": {"summary": {"dataPoints": [around | {"count": "3", "sum": 9.0, "quantileValues": [
            {"quantile": 0.5, "value": 2.0}, {"quantile": 1.0, "value": 4.0}]}]}},
    }
    send(gateway, "metrics", {"resourceMetrics": [{"scopeMetrics": [
        {"scope": {"name": "lib"}, "metrics": [{"name": name} | kind for name, kind in kinds.items()]}]}]})
    link = {"traceId": "03" * 16, "spanId": "04" * 8, "traceState": "x=y", "attributes": [attribute("l", intValue="1")], "flags": 3}
    spans = [{"traceId": f"{number + 1:032x}", "spanId": f"{number + 1:016x}", "parentSpanId": "0a" * 8, "name": f"span {number}",
              "traceState": "a=b", "kind": 1 + number % 5, "startTimeUnixNano": str(now + number), "flags": 257,
              "endTimeUnixNano": str(now + number + 1000), "attributes": [attribute("n", doubleValue=number / 2)],
              "events": [{"timeUnixNano": str(now), "name": "event", "attributes": [attribute("e", boolValue=True)]}],
              "links": [link], "status": {"code": 2, "message": "boom"}, "droppedEventsCount": 4} for number in range(200)]
    resource = {"attributes": [attribute("service.name", stringValue="shop")]}
    for begin in range(0, len(spans), 50):
        scope = {"scope": {"name": "lib", "version": "2"}, "spans": spans[begin:begin + 50]}
        send(gateway, "traces", {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]})
    assert gateway.stop() == 0

    def rows(signal, columns, order):
        source = f"read_parquet('{out}/{signal}/**/*.parquet', hive_partitioning = true)"
        return duckdb.connect().sql(f"select {columns} from {source} order by {order}").fetchall()

    point = lambda *cells: (now - 5, now, {"host": "a"}, *cells)
    columns = """epoch_ns(start_time), epoch_ns(time), attributes, name, type, unit, description, temporality, is_monotonic, flags,
                 value_int, value_double, count, sum, min, max, quantiles, quantile_values"""
    assert rows("metrics", columns, "name") == [
        point("a", "gauge", "By", "d", None, None, 1, -7, None, None, None, None, None, [], []),
        point("b", "gauge", None, None, None, None, 0, None, -3.25, None, None, None, None, [], []),
        point("c", "sum", None, None, "delta", True, 0, None, 2.5, None, None, None, None, [], []),
        point("d", "exponential_histogram", None, None, "cumulative", None, 0, None, None, 9, 4.5, -2.5, 3.5, [], []),
        point("e", "summary", None, None, None, None, 0, None, None, 3, 9.0, None, None, [0.5, 1.0], [2.0, 4.0]),
    ]
    columns = "scale, zero_count, zero_threshold, positive_offset, positive_bucket_counts, negative_offset, negative_bucket_counts"
    assert rows("metrics", columns, "name")[3] == (3, 2, 0.25, -1, [3, 4], 2, [0])
    exemplars = [json.loads(text) for text, in rows("metrics", "exemplars", "name") if text]
    assert exemplars == [[{"time_unix_nano": now - 1, "value": 1.5, "trace_id": "01" * 16, "span_id": "02" * 8, "attributes": {}}]]
    columns = """trace_id, span_id, parent_span_id, trace_state, name, kind, epoch_ns(start_time), epoch_ns(end_time), attributes,
                 flags, status_code, status_message, dropped_events_count, resource_attributes, scope_name, scope_version"""
    assert rows("traces", columns, "start_time") == [
        (span["traceId"], span["spanId"], "0a" * 8, "a=b", span["name"], span["kind"], now + number, now + number + 1000,
         {"n": f"{number / 2:g}"}, 257, 2, "boom", 4, {"service.name": "shop"}, "lib", "2") for number, span in enumerate(spans)]
    for events, links in rows("traces", "events, links", "start_time"):
        assert json.loads(events) == [{"time_unix_nano": now, "name": "event", "attributes": {"e": "true"},
                                       "dropped_attributes_count": 0}]
        assert json.loads(links) == [{"trace_id": "03" * 16, "span_id": "04" * 8, "trace_state": "x=y", "attributes": {"l": "1"},
                                      "dropped_attributes_count": 0, "flags": 3}]


def test_rows_come_whole_into_a_real_s3_server_that_is_killed_and_comes_back(tmp_path, start):
    """Behind a queue on disk: what was acknowledged before, while and after the server was away is in the bucket, and
    DuckDB reads it from the objects."""
    s3 = start(S3(tmp_path, bucket="telemetry"))
    queue = {"storage": "file_storage", "batch": {"flush_timeout": "100ms"}}
    settings = {"bucket": s3.config() | {"prefix": "parquet"}, "sending_queue": queue,
                "retry_on_failure": {"initial_interval": "100ms", "max_interval": "500ms", "max_elapsed_time": 0}}
    gateway = start(Gateway(tmp_path, "parquet", settings))
    now = time.time_ns()

    def send_lines(first, count):
        for start_at in range(first, first + count, 50):
            records = [{"timeUnixNano": str(now + number), "body": {"stringValue": f"line {number}"},
                        "attributes": [attribute("n", intValue=str(number))]} for number in range(start_at, start_at + 50)]
            send(gateway, "logs", {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]})

    objects = s3.root / "telemetry" / "parquet"
    send_lines(0, 500)
    wait_until(lambda: list(objects.glob("logs/**/*.parquet")), "the first file comes")
    s3.kill()
    send_lines(500, 500)
    s3.start()
    send_lines(1000, 500)
    read = f"read_parquet('{objects}/logs/**/*.parquet', hive_partitioning = true)"
    query = f"select distinct epoch_ns(time), body, attributes from {read} order by 1"

    def rows():
        return duckdb.connect().sql(query).fetchall()

    wait_until(lambda: len(rows()) == 1500, "everything comes", 30)
    assert gateway.stop() == 0
    assert rows() == [(now + number, f"line {number}", {"n": str(number)}) for number in range(1500)]
    copies = duckdb.connect().sql(f"select count(*) from {read}").fetchall()[0][0]
    print(f"1500 rows, {copies - 1500} of them twice")
