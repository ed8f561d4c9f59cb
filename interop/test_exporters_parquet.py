"""Parquet files of the `parquet` exporter, read by DuckDB: the rows are what was sent."""

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
