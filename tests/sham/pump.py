"""One sham pump: power, console, bus and network, the application that runs on it, and the lie that is on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Set
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from application import Application, Outside
from boot import KERNEL, LOADER, NO_KERNEL, BootLoader
from can_bus import CanNode, pack
from console import Dialogue, Timer
from fetch import fetch
from http_framing import HttpFraming
from http_message import BUNDLE_LIMIT
from lies import HONEST, LIES
from lines import Line, Wire
from mind import KeyOffer, Memory, Mind
from modbus import RtuFraming, TcpFraming
from rehearsal import rehearse
from state import TICK_S, Clock, Data, Identity
from unit_keys import delivered, fresh
from users import Role

RESTART_S = 0.7
"""How long the application is away when it restarts."""

REBOOT_S, WATCHDOG_S = 0.3, 0.5
"""How long a restart of the pump takes, and after how long one that hangs is restarted; the pump takes far longer."""

ANSWER_FIRST_S = 0.05
"""Between the answer to a request and the restart that it asked for."""


class Handler(Protocol):
    """What is behind a line while the application runs."""

    def feed(self, data: bytes, /) -> None:
        """Bytes from the line."""

    def close(self) -> None:
        """The application ends or the connection is gone."""


class Pump:
    """A pump with power on or restarting.

    The three permanent lines outlive the application; connections over the network do not. `on_ports` is told
    whether the TCP ports are to be open, whenever that changes.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        rng: random.Random,
        weaknesses: Set[str],
        data_path: Path | None,
        authorised_key: bytes,
    ) -> None:
        self._loop = loop
        self.rng = rng
        self.weaknesses = weaknesses
        self.clock = Clock()
        self._data = Data.load(data_path, weaknesses)
        self._authorised_key = authorised_key
        self._memory = Memory()
        self._app: Application | None = None
        self._mind: Mind | None = None
        self._boot_loader: BootLoader | None = None
        self._pending: Timer | None = None
        self._slot = "A"
        self._fetching: set[asyncio.Task[bytes | None]] = set()
        self._tick = 0
        self._mute_after: int | None = None
        self._connections: dict[Line, Handler | None] = {}
        self.on_ports: Callable[[bool], None] = lambda _open: None
        self._lie = LIES[HONEST]
        self._wire: Wire = self._lie.wire(rng, loop.call_later)
        self._permanent: dict[Line, Handler | None] = {}
        self.console = self._permanent_line("console")
        self.can = self._permanent_line("can")
        self.rtu = self._permanent_line("rtu")

    # -- lines ------------------------------------------------------------------------------------------------

    @property
    def wire(self) -> Wire:
        """The wire of the lie that is on."""
        return self._wire

    def _permanent_line(self, kind: str) -> Line:
        line = Line(kind, wire=lambda: self._wire, write=lambda _data: None, counted=self._count)
        self._permanent[line] = None
        return line

    def connect(self, kind: str, *, name: str, write: Callable[[bytes], None], hang_up: Callable[[], None]) -> Line:
        """A new connection over the network: `modbus`, `ssh` (in its session), `https` (in TLS), `tcp` (raw)."""
        line = Line(kind, wire=lambda: self._wire, write=write, counted=self._count, hang_up=hang_up)
        self._connections[line] = None
        if self._app is None and kind != "tcp":
            hang_up()
        elif kind == "modbus":
            framing = TcpFraming(mind=self._the_mind, write=line.send, hang_up=hang_up, later=self._loop.call_later)
            self._attach(line, framing, among=self._connections)
        elif kind == "https":
            http = HttpFraming(
                mind=self._the_mind, write=line.send, hang_up=line.end, later=self._loop.call_later, connection=name
            )
            self._attach(line, http, among=self._connections)
        elif kind == "ssh":
            dialogue = self._dialogue(line, surface="ssh", connection=name)
            self._attach(line, dialogue, among=self._connections)
            dialogue.open()
        return line

    def disconnect(self, line: Line) -> None:
        """The peer of a connection has gone."""
        handler = self._connections.pop(line, None)
        line.disconnect_handler()
        if isinstance(handler, Dialogue | HttpFraming) and self._mind is not None:
            handler.peer_gone()
        if handler is not None:
            handler.close()

    def connections(self, kind: str) -> int:
        """How many connections of a kind are open."""
        return sum(line.kind == kind for line in self._connections)

    def _attach(self, line: Line, handler: Handler, *, among: dict[Line, Handler | None]) -> None:
        among[line] = handler
        line.deliver = handler.feed

    def _dialogue(self, line: Line, *, surface: str, connection: str) -> Dialogue:
        over_ssh = surface == "ssh"
        return Dialogue(
            mind=self._the_mind,
            write=line.send,
            later=self._loop.call_later,
            surface=surface,
            connection=connection,
            barred=frozenset({Role.OPERATOR}) if over_ssh else frozenset(),
            hang_up=line.hang_up if over_ssh else None,
        )

    def _the_mind(self) -> Mind:
        if self._mind is None:
            raise RuntimeError("a line is still attached although no application runs")
        return self._mind

    def ssh_allows(self, offer: KeyOffer) -> bool:
        """Judge an SSH authentication."""
        return self._mind is not None and self._mind.ssh(offer)

    # -- power and application --------------------------------------------------------------------------------

    def power_on(self) -> None:
        """Boot; also from running, as a power cycle."""
        self._stop()
        self._print(LOADER)
        if "bootloader-prompt" in self.weaknesses:
            self._boot_loader = BootLoader(
                write=lambda data: self.console.send(data, broadcast=True),
                later=self._loop.call_later,
                boot=self._boot,
                reset=self.power_on,
            )
            self.console.deliver = self._boot_loader.feed
        else:
            self._boot()

    def restore(self) -> None:
        """Back to the state as delivered, at once."""
        self._stop()
        self._slot = "A"
        self._data = Data(path=self._data.path, weaknesses=self.weaknesses)
        self._data.save()
        self._start("power-on")

    @property
    def patched(self) -> bool:
        """Whether the software that runs, or is about to, has a patch number that is not 0."""
        return self._data.software.version(self._slot)[2] != 0

    def sync(self) -> None:
        """Write the data partition."""
        self._data.save()

    @property
    def storage(self) -> Path | None:
        """Where the data partition lies, None where nowhere."""
        return self._data.path

    def key(self, name: str) -> str:
        """The unit's private key for `tls` or `ssh`, in PEM."""
        return self._data.keys.get(name) or delivered(name)

    def run(self) -> None:
        """Begin the beat of 0.1 s, on an absolute schedule."""
        self._next = self._loop.time()
        self._beat()

    def _beat(self) -> None:
        if self._app is not None:
            self._app.tick()
        if self._mind is not None:
            for identifier, data in self._mind.status(self._tick):
                self.can.send(pack(identifier, data), broadcast=True)
            self._tick += 1
        self._wire.tick([*self._permanent, *self._connections])
        self._next += TICK_S
        self._loop.call_at(self._next, self._beat)

    def _print(self, text: str) -> None:
        self.console.send(text.encode(), broadcast=True)

    def _boot(self) -> None:
        self._boot_loader = None
        self._slot = self._data.software.choose()
        self._data.save()
        fault = self._data.software.images[self._slot]["fault"]
        if fault == "boot":
            self._print(NO_KERNEL)
            self._pending = self._loop.call_later(REBOOT_S, self.power_on)
            return
        self._print(KERNEL)
        if fault == "hang":
            self._pending = self._loop.call_later(WATCHDOG_S, self.power_on)
            return
        self._start("power-on")

    def _start(self, started_by: str) -> None:
        self.clock.restart()
        self._app = Application(
            clock=self.clock,
            data=self._data,
            rng=self.rng,
            weaknesses=self.weaknesses,
            identity=self._identity(),
            authorised_key=self._authorised_key,
            started_by=started_by,
            outside=self._outside(),
        )
        self._mind = self._lie.mind(self._app, self._memory)
        self._tick = 0
        dialogue = self._dialogue(self.console, surface="console", connection="console")
        node = CanNode(mind=self._the_mind, send=self.can.send, later=self._loop.call_later)
        rtu = RtuFraming(mind=self._the_mind, write=self.rtu.send, later=self._loop.call_later)
        for line, handler in ((self.console, dialogue), (self.can, node), (self.rtu, rtu)):
            self._attach(line, handler, among=self._permanent)
        self._announce_ports()  # before the log-in prompt, which says that the pump is up
        dialogue.open()

    def _outside(self) -> Outside:
        return Outside(
            reset=self._reset,
            reboot=self._reboot,
            crash=self._crash,
            erase=self._erase,
            fetch=self._fetch,
            log_off=self._log_off,
            show=self._show,
        )

    def _identity(self) -> Identity:
        return replace(self._lie.identity, version=self._data.software.version(self._slot), slot=self._slot)

    def _fetch(self, port: int, path: str, received: Callable[[bytes | None], None]) -> None:
        task = self._loop.create_task(fetch(port, path, limit=BUNDLE_LIMIT))
        self._fetching.add(task)
        task.add_done_callback(self._fetching.discard)
        task.add_done_callback(lambda done: None if done.cancelled() else received(done.result()))

    def _show(self, line: str) -> None:
        self._print(f"\r\n{line}\r\n")

    def _log_off(self, user: str | None) -> None:
        for handler in [*self._permanent.values(), *self._connections.values()]:
            if isinstance(handler, Dialogue):
                handler.log_off(user)

    def _stop(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
        if self._boot_loader is not None:
            self._boot_loader.close()
        for fetching in self._fetching:
            fetching.cancel()
        self._boot_loader = self._pending = self._app = self._mind = None
        for line, handler in self._permanent.items():
            line.disconnect_handler()
            if handler is not None:
                handler.close()
            self._permanent[line] = None
        self._hang_up_all()
        self._announce_ports()

    def _hang_up_all(self) -> None:
        for line in list(self._connections):
            self.disconnect(line)
            line.hang_up()

    def _announce_ports(self) -> None:
        self.on_ports(self._app is not None and self._lie.ports_open)

    def _reset(self) -> None:
        self._pending = self._loop.call_later(ANSWER_FIRST_S, self._restart, "restarting", "restart")

    def _reboot(self) -> None:
        self._pending = self._loop.call_later(ANSWER_FIRST_S, self._power_off_and_on)

    def _power_off_and_on(self) -> None:
        self._stop()
        self._pending = self._loop.call_later(REBOOT_S, self.power_on)

    def _erase(self) -> None:
        self._pending = self._loop.call_later(ANSWER_FIRST_S, self._start_over)

    def _start_over(self) -> None:
        self._stop()
        old = self.key("tls") + self.key("ssh")
        keys = fresh(self._lie.identity.serial, self.weaknesses, old=old)
        self._data = self._data.erased(keys=keys)
        self._data.save()
        self._pending = self._loop.call_later(REBOOT_S, self.power_on)

    def _crash(self) -> None:
        self._restart("terminated by signal 11", "signal-11")

    def _restart(self, message: str, started_by: str) -> None:
        self._stop()
        self._print(f"\r\nvp1d: {message}\r\n")
        self._pending = self._loop.call_later(RESTART_S, self._start, started_by)

    # -- lies -------------------------------------------------------------------------------------------------

    @property
    def lie(self) -> str:
        """The mode it is in."""
        return next(mode for mode, lie in LIES.items() if lie is self._lie)

    def set_lie(self, mode: str) -> None:
        """Begin to lie in another way, at once; `honest` ends it."""
        self._mute_after = None
        self._lie = lie = LIES[mode]
        if lie.plays_back:
            rehearse(self._memory, rng=self.rng, authorised_key=self._authorised_key)
        self._wire = lie.wire(self.rng, self._loop.call_later)
        if self._app is not None:
            self._app.identity = self._identity()
            self._mind = lie.mind(self._app, self._memory)
        if not lie.ports_open:
            self._hang_up_all()
        self._announce_ports()

    def mute_after(self, messages: int) -> None:
        """Turn mute once so many more messages (chunks, frames) have been received on any line."""
        self._mute_after = messages
        if messages <= 0:
            self.set_lie("mute")

    def _count(self) -> None:
        if self._mute_after is not None:
            self.mute_after(self._mute_after - 1)
