"""A proxy in a thread that serves a server below a path, as nginx does, and can cut or hold back what passes."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Proxy:
    """Use it as a context; `url` is where it listens, without the prefix. Nothing comes back from below `holds`."""

    def __init__(self, port, prefix="", holds=None):
        self.port = port
        self.prefix = prefix
        self.holds = holds
        self._ends = threading.Event()
        self.asked = []
        self._passing = set()
        self._is_up = threading.Event()
        self._is_up.set()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                proxy.pass_on(self)

            def do_POST(self):
                proxy.pass_on(self)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def pass_on(self, asked):
        asked.close_connection = True
        if not self._is_up.is_set() or not asked.path.startswith(self.prefix + "/"):
            return
        self.asked.append(asked.path)
        if self.holds and asked.path.startswith(self.prefix + self.holds):
            self._ends.wait()
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self.port)
        body = asked.rfile.read(int(asked.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in asked.headers.items() if name not in {"Host", "Connection"}}
        if "Origin" in headers:
            headers["Origin"] = f"http://127.0.0.1:{self.port}"
        with contextlib.suppress(OSError, http.client.HTTPException):  # either side may leave
            upstream.request(asked.command, asked.path.removeprefix(self.prefix), body, headers)
            self._passing.add(upstream.sock)
            answer = upstream.getresponse()
            asked.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"transfer-encoding", "connection", "date"}:
                    asked.send_header(name, value)
            asked.send_header("Connection", "close")
            asked.end_headers()
            while data := answer.read1(65536):
                asked.wfile.write(data)
                asked.wfile.flush()
        self._passing.discard(upstream.sock)
        upstream.close()

    def cut(self):
        """Cut what passes now, and let nothing pass until `mend`."""
        self._is_up.clear()
        for passing in list(self._passing):
            with contextlib.suppress(OSError):
                passing.shutdown(socket.SHUT_RDWR)

    def mend(self):
        self._is_up.set()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._ends.set()
        self._server.shutdown()
        self.cut()
        self._server.server_close()
        self._thread.join()
