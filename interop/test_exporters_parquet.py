"""Parquet files of the `parquet` exporter, read by DuckDB: the rows are what was sent."""

import time

import duckdb
import requests
from test_exporters_delivery import Gateway


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
