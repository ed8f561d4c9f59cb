"""python-logging-loki, a handler of Python's `logging` that pushes each record: its lines come back with its labels."""

import logging

import logging_loki
import pytest


@pytest.mark.parametrize("path, version", [("/loki/api/v1/push", "1"), ("/api/prom/push", "0")])
def test_records_of_pythons_logging_come_back(gateway, path, version):
    handler = logging_loki.LokiHandler(url=gateway.loki_url(path), tags={"application": "till"}, version=version)
    # The handler swallows its errors unless told otherwise; here one ends the test.
    handler.handleError = lambda record: pytest.fail(f"{record.msg} was not taken")
    logger = logging.Logger("shop.orders")
    logger.addHandler(handler)
    for number in range(50):
        logger.warning("order %d: größer", number)
    logger.error("declined", extra={"tags": {"card-kind": "visa"}})
    handler.emitter.close()
    found = gateway.lines('{application="till"}', direction="forward")
    warnings = [(labels, line) for labels, _, line in found if labels["severity"] == "warning"]
    assert [line for _, line in warnings] == [f"order {number}: größer" for number in range(50)]
    assert all(labels["logger"] == "shop.orders" and labels["detected_level"] == "warn" for labels, _ in warnings)
    [(labels, _, line)] = [entry for entry in found if entry[0]["severity"] == "error"]
    assert line == "declined" and labels["card_kind"] == "visa"
