"""A proxy in front of an S3 server that spoils some of the requests: refused, answered with 500, 503 or half an answer, late,
or done without an answer. It can also hold back all but those about leases."""

import random
import socket
import threading

from tcp_proxy import TcpProxy

KINDS = ["500", "503", "reset before", "reset after", "half", "late"]
XML = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>spoiled</Message></Error>"


def read_head(stream):
    """Start line and headers, as bytes, and the length of what follows; None when the peer is gone."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return None
        head += line
    headers = {}
    for line in bytes(head).split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    return bytes(head), headers


def read_body(stream, headers):
    if b"content-length" in headers:
        return stream.read(int(headers[b"content-length"]))
    if headers.get(b"transfer-encoding", b"").lower() != b"chunked":
        return b""
    body = bytearray()
    while True:
        size = stream.readline()
        body += size
        length = int(size.split(b";")[0], 16)
        body += stream.read(length + 2)
        if length == 0:
            return bytes(body)


class Faults(TcpProxy):
    """Spoils a share of all requests, by a seed."""

    def __init__(self, target_port, seed, share=0.05, late_s=0.3):
        super().__init__(target_port)
        self.share, self.late_s, self.pick = share, late_s, random.Random(seed)
        self.counts = dict.fromkeys(KINDS, 0)
        self.requests = 0
        # While it is not set, only leases can be had.
        self.work = threading.Event()
        self.work.set()

    def roll(self):
        with self.lock:
            self.requests += 1
            kind = self.pick.choice(KINDS) if self.pick.random() < self.share else None
            if kind:
                self.counts[kind] += 1
            return kind, self.pick.random()

    def serve(self, client):
        try:
            with client, client.makefile("rb") as stream:
                while self.one(client, stream):
                    pass
        except OSError:
            pass

    def one(self, client, stream):
        """One request; whether the connection goes on."""
        found = read_head(stream)
        if found is None:
            return False
        head, headers = found
        if b"leases" not in head.split(b"\r\n", 1)[0]:
            self.work.wait()
        kind, where = self.roll()
        if kind == "reset before":
            return False
        if headers.get(b"expect", b"").lower() == b"100-continue":
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = read_body(stream, headers)
        if kind in ("500", "503"):
            text = XML.format(code="InternalError" if kind == "500" else "SlowDown").encode()
            reason = "Internal Server Error" if kind == "500" else "Service Unavailable"
            client.sendall(f"HTTP/1.1 {kind} {reason}\r\nContent-Type: application/xml\r\n"
                           f"Content-Length: {len(text)}\r\n\r\n".encode() + text)
            return True
        if kind == "late":
            threading.Event().wait(self.late_s)
        with socket.create_connection(("127.0.0.1", self.target_port)) as server, server.makefile("rb") as answers:
            # The server's connection ends with its answer; the client's does not.
            server.sendall(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1) + body)
            answer = answers.read()
        if kind == "reset after":
            return False
        answer = answer.replace(b"\r\nConnection: close", b"", 1)
        if kind == "half":
            client.sendall(answer[:int(len(answer) * where)])
            return False
        client.sendall(answer)
        # Without a length the end of the connection is the end of the answer.
        return b"content-length" in answer[:4096].lower() or b"chunked" in answer[:4096].lower() or b" 204 " in answer[:20]
