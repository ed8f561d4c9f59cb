"""What proxies in front of a server have in common: a listener on loopback, and a thread for each client."""

import socket
import threading


class TcpProxy:
    """Stands in front of `target_port`; a subclass says in `serve` what is done with a client."""

    def __init__(self, target_port):
        self.target_port, self.lock = target_port, threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def start(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def kill(self):
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()
