"""A line: one way into the pump, between the peer's bytes and the honest handler, with the wire in the middle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Wire(Protocol):
    """How faithfully lines carry; the honest one is here, the lying ones in `wires.py`."""

    answers_ssh: bool
    """A new SSH connection reaches the SSH server; otherwise it is a plain line of kind `tcp`."""

    answers_tls: bool
    """A new HTTPS connection gets a TLS handshake; otherwise it is a plain line of kind `tcp`."""

    transport_alive: bool
    """The SSH transport itself still sends."""

    def received(self, line: Line, data: bytes, /) -> None:
        """Bytes (on CAN: one packed frame) from the peer."""

    def send(self, line: Line, data: bytes, broadcast: bool, /) -> None:
        """Bytes from the pump; `broadcast` when nobody asked for them."""

    def hang_up(self, line: Line, /) -> None:
        """The pump ends a connection, after what it has sent."""

    def tick(self, lines: list[Line], /) -> None:
        """Called ten times a second with all open lines."""


class HonestWire:
    """Carries everything, at once."""

    answers_ssh = True
    answers_tls = True
    transport_alive = True

    def received(self, line: Line, data: bytes, /) -> None:
        """Give it to the handler."""
        line.deliver(data)

    def send(self, line: Line, data: bytes, _broadcast: bool, /) -> None:
        """Give it to the peer."""
        line.write(data)

    def hang_up(self, line: Line, /) -> None:
        """At once."""
        line.hang_up()

    def tick(self, lines: list[Line], /) -> None:
        """Nothing happens by itself."""


def _nobody(_data: bytes) -> None:
    """Where bytes go while no application runs."""


class Line:
    """One interface or connection.

    `kind` is `console`, `can`, `rtu`, `modbus`, `ssh` (inside the session), `https` (inside TLS)
    or `tcp` (raw). `deliver` is the
    honest handler, set by the pump; `write` puts bytes out; `hang_up` ends a connection.
    """

    def __init__(
        self,
        kind: str,
        *,
        wire: Callable[[], Wire],
        write: Callable[[bytes], None],
        counted: Callable[[], None],
        hang_up: Callable[[], None] = lambda: None,
    ) -> None:
        self.kind = kind
        self.write = write
        self.hang_up = hang_up
        self.deliver: Callable[[bytes], None] = _nobody
        self._wire = wire
        self._counted = counted

    def received(self, data: bytes) -> None:
        """The peer sent something."""
        self._wire().received(self, data)
        self._counted()

    def send(self, data: bytes, *, broadcast: bool = False) -> None:
        """The pump sends something."""
        self._wire().send(self, data, broadcast)

    def end(self) -> None:
        """The pump ends the connection, after what it has sent."""
        self._wire().hang_up(self)

    def disconnect_handler(self) -> None:
        """From now on nobody listens."""
        self.deliver = _nobody
