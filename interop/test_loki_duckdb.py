"""Data files of the log store, read by DuckDB: their rows are what LogQL answers."""

import time

import duckdb
import requests
from loki_corpus import SECOND, SPAN, corpus
from test_loki_differential import push

FIXED = {"timestamp", "stream_id", "body", "metadata_shape", "metadata"}
LINES = 4000


def rows_of(files):
    """Every row as (labels and metadata, ns, line)."""
    found = duckdb.connect().sql(f"select epoch_ns(timestamp) as ns, * from read_parquet('{files}', union_by_name = true)")
    names = found.columns
    rows = []
    for values in found.fetchall():
        row = dict(zip(names, values))
        labels = {name: value for name, value in row.items() if name not in FIXED | {"ns"} and value is not None}
        rows.append((labels | row["metadata"], row["ns"], row["body"]))
    return rows


def sorted_rows(rows):
    return sorted(rows, key=lambda row: (row[1], row[2], sorted(row[0].items())))


def test_duckdb_reads_the_rows_that_logql_answers(gateway, tmp_path):
    begin = (time.time_ns() // (SPAN * SECOND) - 2) * SPAN * SECOND
    # A label and a metadata of one name are told apart by LogQL with another name, by the file with another column.
    streams = [(labels, [(at, line, {name: value for name, value in metadata.items() if name not in labels}) for at, line, metadata in entries])
               for labels, entries in corpus(5, 60, LINES, begin)]
    push(gateway.loki_url("/loki/api/v1/push"), streams)
    requests.post(gateway.loki_url("/flush"), timeout=60)
    files = f"{tmp_path}/tidegate-data/logs/data/**/*.parquet"

    found = sorted_rows(rows_of(files))
    answered = sorted_rows(gateway.lines('{app=~".+"}', start=begin, end=begin + SPAN * SECOND))
    assert len(found) == sum(len(entries) for _, entries in streams) > LINES * 0.99
    assert found == answered

    counted = duckdb.connect().sql(f"""select app, count(*), sum(strlen(body)) from read_parquet('{files}', union_by_name = true)
                                       where body like '%level%' group by app order by app""").fetchall()
    sums = []
    for function in ("count_over_time", "bytes_over_time"):
        query = f'sum by (app) ({function}({{app=~".+"}} |= "level" [1h]))'
        parameters = {"query": query, "time": begin + SPAN * SECOND}
        answer = requests.get(gateway.loki_url("/loki/api/v1/query"), params=parameters, timeout=30).json()
        sums.append({one["metric"]["app"]: int(one["value"][1]) for one in answer["data"]["result"]})
    assert counted == [(app, sums[0][app], sums[1][app]) for app in sorted(sums[0])]
