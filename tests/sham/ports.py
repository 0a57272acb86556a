"""The outside of the lines: unix sockets for console, RTU, CAN and agent, TCP ports."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path

from can_bus import EXTENDED, REMOTE, pack, unpack
from lines import Line

BACKLOG_LIMIT = 65536
"""Console bytes kept for the first client, so that it sees the boot messages."""

UNREAD_LIMIT = 1 << 20
"""Bytes kept for a client that does not read; more are dropped, as on a wire."""


def put(transport: asyncio.BaseTransport | None, data: bytes) -> None:
    """Write unless the peer has gone or does not read."""
    if not isinstance(transport, asyncio.WriteTransport) or transport.is_closing():
        return
    if transport.get_write_buffer_size() < UNREAD_LIMIT:
        transport.write(data)


class Client(asyncio.Protocol):
    """One client of a hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.transport: asyncio.BaseTransport | None = None
        self.text = b""
        self.raw_mode = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._hub.joined(self)

    def data_received(self, data: bytes) -> None:
        self._hub.received(self, data)

    def connection_lost(self, _reason: Exception | None) -> None:
        self._hub.clients.discard(self)

    def write(self, data: bytes) -> None:
        """To this client."""
        put(self.transport, data)


class Hub:
    """A byte line with any number of clients; what they send is one stream, what comes out goes to all."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.clients: set[Client] = set()
        self._backlog: bytearray | None = bytearray()
        line.write = self.send

    def joined(self, client: Client) -> None:
        """A client connected; the first gets what was said before."""
        self.clients.add(client)
        if self._backlog is not None:
            client.write(bytes(self._backlog))
            self._backlog = None

    def received(self, _client: Client, data: bytes) -> None:
        """A client sent something."""
        self.line.received(data)

    def send(self, data: bytes) -> None:
        """Something came out of the line."""
        if self._backlog is not None:
            self._backlog += data
            del self._backlog[:-BACKLOG_LIMIT]
        for client in self.clients:
            client.write(data)


class CanHub(Hub):
    """A CAN bus behind the socketcand text protocol.

    The adapter is the bench's, not the pump's: its handshake is answered whatever lie is on. Frames of one client
    reach the others too, as on a bus.
    """

    def joined(self, client: Client) -> None:
        """Greet."""
        self.clients.add(client)
        client.write(b"< hi >")

    def received(self, client: Client, data: bytes) -> None:
        """Commands, each in angle brackets; what is no command is answered with an error."""
        client.text += data
        while b">" in client.text:
            command, client.text = client.text.split(b">", 1)
            words = command.decode("latin-1").strip().removeprefix("<").split()
            self._command(client, words)
        client.text = client.text[-4096:]

    def send(self, data: bytes) -> None:
        """A frame from the pump."""
        self._show(data, to=self.clients)

    def _command(self, client: Client, words: list[str]) -> None:
        if words[:1] == ["open"] and len(words) == 2:
            client.write(b"< ok >")
        elif words == ["rawmode"]:
            client.raw_mode = True
            client.write(b"< ok >")
        elif words == ["echo"]:
            client.write(b"< echo >")
        elif words[:1] == ["send"]:
            try:
                frame = parse_send(words[1:])
            except ValueError:
                client.write(b"< error could not parse send >")
                return
            self._show(frame, to=self.clients - {client})
            self.line.received(frame)
        else:
            client.write(b"< error unknown command >")

    def _show(self, frame: bytes, *, to: set[Client]) -> None:
        identifier, data = unpack(frame)
        # As socketcand: eight digits are extended, nine a standard identifier with flags.
        width = 8 if identifier & EXTENDED else 9 if identifier & REMOTE else 3
        name = f"{identifier & ~EXTENDED:0{width}X}"
        text = f"< frame {name} {time.time():.6f} {data.hex().upper()} >".encode()
        for client in to:
            if client.raw_mode:
                client.write(text)


def parse_send(words: list[str]) -> bytes:
    """The frame in `ID DLC B0 B1 …` (hexadecimal).

    Up to three digits are a standard identifier, eight an extended one; other lengths are the word of Linux, flags
    and all, so that remote and error frames get through to a pump that ignores them.

    Raises:
        ValueError: not a frame.
    """
    if len(words) < 2:
        raise ValueError("identifier and length expected")
    word, length = int(words[0], 16), int(words[1], 16)
    data = bytes(int(each, 16) for each in words[2:])
    if len(words[0]) == 8:
        word |= EXTENDED
    remote = bool(word & REMOTE) and not data
    highest = 0x7FF if len(words[0]) <= 3 else 0xFFFF_FFFF
    if not 0 <= word <= highest or not 0 <= length <= 8 or (len(data) != length and not remote):
        raise ValueError("identifier or length out of range")
    return pack(word, data)


class Agent(Hub):
    """The bench agent: one answer a line, whatever lie is on."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        self.clients = set()
        self._answer = answer

    def joined(self, client: Client) -> None:
        """Nothing is said before it is asked."""
        self.clients.add(client)

    def received(self, client: Client, data: bytes) -> None:
        """Requests, one a line."""
        client.text += data
        while b"\n" in client.text:
            line, client.text = client.text.split(b"\n", 1)
            client.write(self._answer(line.decode("latin-1").strip()).encode() + b"\n")


async def listen_unix(path: Path, hub: Hub) -> asyncio.AbstractServer:
    """Serve a hub on a unix socket."""
    path.unlink(missing_ok=True)
    return await asyncio.get_running_loop().create_unix_server(lambda: Client(hub), path)


class TcpPort:
    """One TCP port on one or more addresses, opened and closed at run time."""

    def __init__(self, port: int, *, addresses: list[str], accepted: Callable[[socket.socket, str], None]) -> None:
        self._port = port
        self._addresses = addresses
        self._accepted = accepted
        self._listeners: list[socket.socket] = []

    def open(self) -> None:
        """Listen. Raises OSError where the address is not there or taken."""
        if self._listeners:
            return
        for address in self._addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = socket.create_server((address, self._port), family=family, backlog=64)
            listener.setblocking(False)
            self._listeners.append(listener)
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def close(self) -> None:
        """Stop listening."""
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        self._listeners.clear()

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, peer = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        self._accepted(connection, f"{peer[0]}:{peer[1]}")


class Stream(asyncio.Protocol):
    """One TCP connection. `opened` makes its line."""

    def __init__(
        self,
        *,
        opened: Callable[[Callable[[bytes], None], Callable[[], None]], Line],
        closed: Callable[[Line], None],
    ) -> None:
        self._opened = opened
        self._closed = closed
        self._line: Line | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._line = self._opened(lambda data: put(transport, data), transport.close)

    def data_received(self, data: bytes) -> None:
        if self._line is not None:
            self._line.received(data)

    def connection_lost(self, _reason: Exception | None) -> None:
        if self._line is not None:
            self._closed(self._line)
