"""A proxy in front of a target of the load tester: it spoils one request in a hundred, holds answers back, and keeps its
own times."""

import contextlib
import http.client
import http.server
import re
import threading
import time

import cramjam

class Proxy:
    """Hands requests on to `port`; every hundredth is dropped, doubled, delayed or corrupted, and acknowledged all the
    same, or with "unanswered" handed on and not acknowledged. `hold` gives the seconds for which an answer is held back, by the number of its request. Keeps when each request
    of a connection came and when it was answered."""

    def __init__(self, port, fault=None, spoil=lambda body: body, hold=None, delay_seconds=3):
        self.port, self.fault, self.spoil, self.hold, self.delay_seconds = port, fault, spoil, hold, delay_seconds
        self.times, self.count, self.lock, self.later = {}, 0, threading.Lock(), []
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                came = time.monotonic()
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with proxy.lock:
                    number = proxy.count
                    proxy.count += 1
                status, answer = proxy.handle(number, self.path, body, dict(self.headers))
                if proxy.hold:
                    time.sleep(proxy.hold(number))
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                with proxy.lock:
                    proxy.times.setdefault(self.client_address, []).append((came, time.monotonic()))

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def handle(self, number, path, body, headers):
        if self.fault and number % 100 == 25:
            if self.fault == "drop":
                return 200, b""
            if self.fault == "double":
                self.forward(path, body, headers)
            elif self.fault == "delay":
                timer = threading.Timer(self.delay_seconds, self.forward, (path, body, headers))
                self.later.append(timer)
                timer.start()
                return 200, b""
            elif self.fault == "corrupt":
                body = self.spoil(body)
            elif self.fault == "unanswered":
                self.forward(path, body, headers)
                return 503, b""
        return self.forward(path, body, headers)

    def forward(self, path, body, headers):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(link):
            link.request("POST", path, body, {k: v for k, v in headers.items() if k.lower() not in ("host", "content-length")})
            answer = link.getresponse()
            return answer.status, answer.read()

    def close(self):
        for timer in self.later:
            timer.join()
        self.server.shutdown()
        self.server.server_close()


def spoil_line(body):
    """Another letter in the first line."""
    return body.replace(b"Mozilla", b"Mozzlla", 1).replace(b"request", b"rehuest", 1)


def spoil_snappy_line(body):
    """The same in a body of Loki's."""
    return bytes(cramjam.snappy.compress_raw(spoil_line(bytes(cramjam.snappy.decompress_raw(body)))))


def spoil_value(body):
    """Another value in the first sample of remote write: field 1 of a sample, 64 bits, then the time."""
    plain = bytearray(bytes(cramjam.snappy.decompress_raw(body)))
    at = plain.index(b"\x12\x10\x09") + 3
    plain[at + 6] ^= 1
    return bytes(cramjam.snappy.compress_raw(bytes(plain)))


def spoil_point(body):
    """Another value in the first data point of OTLP: 64 bits behind the time (field 3) or, as Go encodes, before it."""
    found = re.search(rb"\x19.{8}\x21(.{8})|\x21(.{8})\x19", body, re.DOTALL)
    at = found.start(found.lastindex) + 5
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


def spoil_span(body):
    """Another letter in the name of an event."""
    return body.replace(b"cache miss", b"cache mist", 1)
