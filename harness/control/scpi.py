"""Control by a laboratory supply that speaks SCPI, over any VISA resource. It is not believed: what it was told to do
is read back and measured, and power that is off but still shows a voltage is a fault of the bench.

Sources: SCPI-1999 (`OUTPut`, `MEASure`, `SYSTem:ERRor`), IEEE 488.2 (`*IDN?`, `*CLS`).
"""

from __future__ import annotations

import contextlib
import math
import re
import select
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pyvisa
from pyvisa.resources import MessageBasedResource, SerialInstrument, TCPIPSocket

from harness.clean import show_text
from harness.control.base import Capability, ControlEvent, Deadline, EventKind, EventLog, Incapable
from harness.errors import ControlFault
from harness.rig.control_specs import Limits, ScpiControlSpec

__all__ = ["Reading", "ScpiControl"]

_LONGEST_ANSWER = 1024
_POLL_S = 0.05  # no supply announces that its output has settled
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([Ee][+-]?\d+)?")
_BEYOND = 9e36  # SCPI-1999 7.2.1.4, 7.2.1.5: 9.9E37 is infinity, 9.91E37 is not a number
_OUTPUT = {"1": True, "ON": True, "0": False, "OFF": False}


@dataclass(frozen=True, slots=True)
class Reading:
    """What the supply says of its output, and what it measures there: volts, amperes (None where not asked for)."""

    output: bool
    volts: float
    amps: float | None

    def __str__(self) -> str:
        amps = "" if self.amps is None else f", {self.amps:g} A"
        return f"output {'ON' if self.output else 'OFF'}, {self.volts:g} V{amps}"


class ScpiControl(Incapable):
    """Switches power by a supply, whose identity is asked for before every command.

    A session lasts for one operation, so that no late answer is taken for another one's. `note` is told what the
    supply is and what it measured: an event and its fields.
    """

    kind = "scpi"

    def __init__(self, spec: ScpiControlSpec, *, note: Callable[[str, dict[str, Any]], None]) -> None:
        self._spec = spec
        self._note = note
        self._events = EventLog()
        self._visa = pyvisa.ResourceManager("@py")
        self._known = ""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Power; an output that is switched off is a cut, too: nothing reaches the device before."""
        return frozenset({Capability.POWER, Capability.CUT})

    @property
    def events(self) -> tuple[ControlEvent, ...]:
        """Only what was asked: a supply sees nothing of the device."""
        return self._events.all()

    def power_on(self) -> None:
        """Switch the output on; returns when voltage and current are within their limits.

        Raises:
            ControlFault: they are not in time (the output is switched off again), or the supply misbehaves.
        """
        with self._session() as supply:
            try:
                self._switch(supply, on=True)
            except ControlFault:
                with contextlib.suppress(ControlFault):
                    supply.tell(self._spec.power_off)
                    supply.ask(self._spec.output)  # once it answers, it has read the command before
                raise

    def power_off(self) -> None:
        """Switch the output off; returns when the voltage is gone.

        Raises:
            ControlFault: it is not in time, or the supply misbehaves.
        """
        with self._session() as supply:
            self._switch(supply, on=False)
        self._events.add(EventKind.SHUTDOWN, asked=True, detail="output off")

    def cut(self) -> None:
        """The same as `power_off`."""
        self.power_off()

    def alive(self) -> bool:
        """Whether the device has power, as measured.

        Raises:
            ControlFault: what the supply says and what it measures do not fit together, or it misbehaves.
        """
        with self._session() as supply:
            reading = self._read(supply)
        if wrong := self._wrong(reading, on=reading.output):
            raise self._fault(wrong)
        return reading.output

    def close(self) -> None:
        """Leaves the output as it is."""
        self._visa.close()

    def _switch(self, supply: _Session, *, on: bool) -> None:
        supply.tell(self._spec.power_on if on else self._spec.power_off)
        if self._spec.errors is not None:
            said = supply.ask(self._spec.errors)
            if not re.match(r"[+-]?0+(\D|$)", said):
                raise self._fault(f"refused to switch the output {'on' if on else 'off'}: {show_text(said, limit=200)}")
        deadline = Deadline(self._spec.settle)
        while wrong := self._wrong(reading := self._read(supply), on=on):
            if not deadline.left():
                raise self._fault(
                    f"was told to switch the output {'on' if on else 'off'}, but {self._spec.settle:g} s later {wrong}"
                )
            select.select([], [], [], min(_POLL_S, deadline.left()))
        self._note("power on" if on else "power off", asdict(reading))

    def _read(self, supply: _Session) -> Reading:
        said = supply.ask(self._spec.output)
        output = _OUTPUT.get(said.upper())
        if output is None:
            raise self._fault(f"answered {self._spec.output} with {show_text(said, limit=200)!r}, not 0 or 1")
        volts = self._number(self._spec.voltage, supply.ask(self._spec.voltage))
        amps = None
        if self._spec.on_amps is not None:
            amps = self._number(self._spec.current, supply.ask(self._spec.current))
        return Reading(output, volts, amps)

    def _number(self, command: str, said: str) -> float:
        value = float(said) if _NUMBER.fullmatch(said) else math.nan
        if not abs(value) < _BEYOND:
            raise self._fault(f"answered {command} with {show_text(said, limit=200)!r}, not with a number")
        return value

    def _wrong(self, reading: Reading, *, on: bool) -> str:
        """What keeps the power from being on (or off), in words; empty when it is."""
        if reading.output != on:
            return f"it says the output is {'ON' if reading.output else 'OFF'} ({reading})"
        if not on:
            # A voltage against the usual sign is a voltage.
            return "" if abs(reading.volts) <= self._spec.off_volts else f"it still measures a voltage ({reading})"
        if not _within(reading.volts, self._spec.on_volts):
            return f"the voltage is not within {_shown(self._spec.on_volts)} V ({reading})"
        if self._spec.on_amps is not None and (reading.amps is None or not _within(reading.amps, self._spec.on_amps)):
            return f"the current is not within {_shown(self._spec.on_amps)} A ({reading})"
        return ""

    def _fault(self, what: str) -> ControlFault:
        return ControlFault(
            f"power supply {self._spec.resource}: {what}",
            hint="look at its front panel and wiring, and at the commands and limits under `control`",
        )

    @contextlib.contextmanager
    def _session(self) -> Iterator[_Session]:
        """A session with the right supply, its error queue empty and the output selected."""
        spec = self._spec
        try:
            opened = self._visa.open_resource(
                spec.resource,
                open_timeout=round(spec.timeout * 1000),
                timeout=round(spec.timeout * 1000),
            )
        except Exception as error:  # noqa: BLE001  (pyvisa-py raises a plain Exception where it cannot connect)
            raise self._fault(f"cannot be opened: {error}") from error
        with contextlib.closing(opened):
            if not isinstance(opened, MessageBasedResource):
                raise self._fault("carries no commands")
            if isinstance(opened, SerialInstrument):
                opened.baud_rate = spec.baudrate
            supply = _Session(opened, timeout=spec.timeout, fault=self._fault)
            identity = supply.ask("*IDN?")
            if not re.search(spec.identity, identity):
                shown = show_text(identity, limit=200)
                raise self._fault(f"another instrument answers: {shown!r} does not match {spec.identity!r}")
            if identity != self._known:
                self._known = identity
                self._note("supply", {"identity": show_text(identity, limit=200)})
            supply.tell("*CLS")
            if spec.select is not None:
                supply.tell(spec.select)
            yield supply


class _Session:
    """Lines to and from one instrument."""

    def __init__(
        self, instrument: MessageBasedResource, *, timeout: float, fault: Callable[[str], ControlFault]
    ) -> None:
        self._instrument = instrument
        self._timeout = timeout
        self._fault = fault
        # A socket or serial line has no end of message but this.
        instrument.read_termination = instrument.write_termination = "\n"
        self._streams = isinstance(instrument, TCPIPSocket | SerialInstrument)

    def tell(self, command: str) -> None:
        """Send a command."""
        try:
            self._instrument.write(command)
        except (pyvisa.Error, OSError) as error:
            raise self._fault(f"{command}: {error}") from error

    def ask(self, command: str) -> str:
        """Send a question and return the answer, without the white space around it.

        Raises:
            ControlFault: no whole line in time, or one that is too long or no ASCII.
        """
        self.tell(command)
        deadline = Deadline(self._timeout)
        line = bytearray()
        # Byte by byte from a stream: pyvisa-py's time begins anew with each piece that arrives, ours does not.
        piece = 1 if self._streams else _LONGEST_ANSWER
        while not line.endswith(b"\n"):
            self._instrument.timeout = max(1, round(deadline.left() * 1000))
            try:
                line += self._instrument.read_bytes(piece, break_on_termchar=True)
            except (pyvisa.Error, OSError) as error:
                raise self._fault(f"did not answer {command} within {self._timeout:g} s: {error}") from error
            if not deadline.left() or len(line) >= _LONGEST_ANSWER:
                raise self._fault(f"sent {len(line)} bytes without an end as the answer to {command}")
            if not self._streams:
                break
        try:
            return line.decode("ascii").strip()
        except UnicodeDecodeError:
            raise self._fault(f"answered {command} with {bytes(line[:60])!r}, which is no text") from None


def _within(value: float, limits: Limits) -> bool:
    return limits.least <= value <= limits.most


def _shown(limits: Limits) -> str:
    return f"{limits.least:g} … {limits.most:g}"
