"""`tail` as a WebSocket client meets it: what was there, what comes, and how the conversation ends."""

import base64
import json
import os
import socket
import struct
import time
import urllib.parse

import pytest
import requests

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
NORMAL = 1000


class Tail:
    """A WebSocket client of one conversation (RFC 6455), which answers pings."""

    def __init__(self, gateway, **parameters):
        self.socket = socket.create_connection(("127.0.0.1", gateway.loki), timeout=30)
        self.rest = b""
        self.socket.sendall(
            (f"GET /loki/api/v1/tail?{urllib.parse.urlencode(parameters)} HTTP/1.1\r\nHost: tail\r\nUpgrade: websocket\r\n"
             f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.rest:
            self.more()
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        assert head.split()[1] == b"101", head

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError("the connection was closed")
        self.rest += data

    def take(self, count):
        while len(self.rest) < count:
            self.more()
        data, self.rest = self.rest[:count], self.rest[count:]
        return data

    def frame(self):
        """The next frame that is no ping: its kind and what it holds."""
        while True:
            kind, length = self.take(2)
            if length == 126:
                [length] = struct.unpack(">H", self.take(2))
            elif length == 127:
                [length] = struct.unpack(">Q", self.take(8))
            payload = self.take(length)
            if kind & 15 != PING:
                return kind & 15, payload
            self.send(PONG, payload)

    def send(self, kind, payload):
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self.socket.sendall(bytes([0x80 | kind, 0x80 | len(payload)]) + mask + masked)

    def lines(self, count):
        """The next lines, at least `count` of them."""
        found = []
        while len(found) < count:
            kind, payload = self.frame()
            assert kind == TEXT, (kind, payload)
            found += [value[1] for stream in json.loads(payload)["streams"] for value in stream["values"]]
        return found


def push(gateway, app, lines):
    values = [[str(time.time_ns() + number), line] for number, line in enumerate(lines)]
    answer = requests.post(gateway.loki_url("/loki/api/v1/push"),
                           json={"streams": [{"stream": {"app": app}, "values": values}]}, timeout=30)
    assert answer.status_code == 204, answer.text


# More than a query may give is no reason to refuse a tail.
@pytest.mark.parametrize("limit", [100, 6000])
def test_a_tail_gives_what_is_there_and_what_comes_and_says_goodbye(gateway, limit):
    app = f"tail-{limit}"
    push(gateway, app, ["one", "two"])
    tail = Tail(gateway, query=f'{{app="{app}"}}', limit=limit)
    assert tail.lines(2) == ["one", "two"]
    push(gateway, app, ["three"])
    assert tail.lines(1) == ["three"]
    tail.send(CLOSE, struct.pack(">H", NORMAL) + b"enough")
    kind, payload = tail.frame()
    assert (kind, struct.unpack(">H", payload[:2])) == (CLOSE, (NORMAL,))
    with pytest.raises(EOFError):
        tail.frame()
