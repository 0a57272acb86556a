"""Files the bench offers over HTTP in the device's network, for a device that fetches what it is told to."""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler
from typing import Any

from harness.capture import Direction, NullTap, Tap
from harness.errors import BenchFault
from harness.links.base import Deadline
from harness.links.dialer import Dialer, resolve

__all__ = ["FileServer", "Fetched", "Offer", "serve"]

REQUEST_WITHIN = 10.0
"""Seconds a device gets to say what it wants, and to take the next piece."""
TRANSFER_WITHIN = 900.0
"""Seconds a device gets to take a whole file."""
MOST_CONNECTIONS = 16
"""Connections at a time; what is more is closed at once."""
MOST_NOTED = 1000
"""Requests that are kept; what is more is counted."""

_PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Offer:
    """A file. After `first` bytes its transfer is cut, or with `stall` held up until the server ends.

    `announced` is the length that is said instead of the file's own.
    """

    data: bytes
    first: int | None = None
    stall: bool = False
    announced: int | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """One request of the device: the path, and how many bytes of the file were sent up to now."""

    path: str
    sent: int


class FileServer:
    """A server that runs. `requests` are those that came, in order; `more` counts those beyond `MOST_NOTED`."""

    def __init__(self, host: str, port: int, stop: threading.Event) -> None:
        self.host = host
        self.port = port
        self.more = 0
        self._stop = stop
        self._changed = threading.Condition()
        self._requests: list[Fetched] = []

    @property
    def requests(self) -> tuple[Fetched, ...]:
        """What the device has asked for."""
        with self._changed:
            return tuple(self._requests)

    def url(self, path: str) -> str:
        """Return the address of a file, for the device."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{path}"

    def note(self, path: str) -> int:
        """Keep a request, of which nothing is sent yet; return its number for `sent`."""
        with self._changed:
            self._changed.notify_all()
            if len(self._requests) < MOST_NOTED:
                self._requests.append(Fetched(path, 0))
                return len(self._requests) - 1
            self.more += 1
            return MOST_NOTED

    def sent(self, number: int, count: int) -> None:
        """Say how many bytes were sent in answer to a request."""
        with self._changed:
            if number < len(self._requests):
                self._requests[number] = replace(self._requests[number], sent=count)

    def wait_asked(self, *, timeout: float) -> bool:
        """Wait until the device has asked for something; whether it has within `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._requests), timeout)

    def wait_stopped(self) -> None:
        """Wait until the server is stopped: the other end of a stalled transfer."""
        self._stop.wait()


@contextmanager
def serve(
    dialer: Dialer, host: str, files: Mapping[str, bytes | Offer], *, port: int = 0, tap: Tap | None = None
) -> Iterator[FileServer]:
    """Serve `files` (path → content) at the bench's address `host` for a block; the port is free unless given.

    Raises:
        BenchFault: the address is not one of the bench in that network, or the port is taken.
    """
    family, address = resolve(host, port)
    (listener,) = dialer.sockets(1, family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(8)
    except OSError as error:
        listener.close()
        raise BenchFault(
            f"files cannot be served at {host}: {error.strerror}", hint="set bench_address in the rig file"
        ) from error
    stop = threading.Event()
    running = FileServer(host, int(listener.getsockname()[1]), stop)
    server = _Server(listener, files, running, tap or NullTap())
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="file server", daemon=True)
    thread.start()
    try:
        yield running
    finally:
        stop.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(
        self, listener: socket.socket, files: Mapping[str, bytes | Offer], running: FileServer, tap: Tap
    ) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.files = files
        self.running = running
        self.tap = tap
        self._places = threading.Semaphore(MOST_CONNECTIONS)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Take a connection as long as there is a place for it."""
        return self._places.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Handle a connection, and give its place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A device that hangs up is no fault of the bench; everything else is shown."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_WITHIN
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        """Give the head as a whole its time; `timeout` is that of each read only."""
        super().setup()
        self._head = threading.Timer(REQUEST_WITHIN, self._cut)
        self._head.daemon = True
        self._head.start()

    def finish(self) -> None:
        """End the watch over a head that did not come."""
        self._head.cancel()
        super().finish()

    def do_GET(self) -> None:  # noqa: N802 - the name http.server calls
        self._head.cancel()
        self.close_connection = True
        self.server.tap.record(
            Direction.FROM_DEVICE, f"{self.requestline}\n{self.headers}".encode(errors="surrogateescape")
        )
        # Noted before anything is sent: a device that does not read must not hide that it asked.
        number = self.server.running.note(self.path)
        found = self.server.files.get(self.path)
        if found is None:
            self.send_error(404)
            return
        offer = found if isinstance(found, Offer) else Offer(found)
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(offer.data) if offer.announced is None else offer.announced))
        self.send_header("Connection", "close")
        self.end_headers()
        deadline = Deadline(TRANSFER_WITHIN)
        sent, end = 0, len(offer.data) if offer.first is None else offer.first
        try:
            while sent < end and not deadline.passed:
                piece = offer.data[sent : min(end, sent + _PIECE)]
                self.wfile.write(piece)
                sent += len(piece)
                self.server.running.sent(number, sent)
        except OSError:
            pass  # the device has had enough; how much it took is noted
        self.server.tap.record(Direction.TO_DEVICE, f"[{sent} of {len(offer.data)} bytes of {self.path}]".encode())
        if offer.stall and sent < len(offer.data):
            self.server.running.wait_stopped()

    def _cut(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name http.server calls
        """Keep quiet: what was asked for is in `requests`."""
