"""The emulated SD-200 in a QEMU of its own: its four lines, its power, and its vendor protocol."""

from __future__ import annotations

import binascii
import json
import re
import select
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.control.base import Deadline

BUILT = Path(__file__).parents[2] / ".build" / "syringe-driver"
PATIENCE_S = 60.0
"""No claim of the device: a busy host may leave the emulator without a processor for seconds."""
PINS = {"operator": "417735", "service": "90265718"}
_LINK = re.compile(r"\{(\w+)_chardev\}")
_FRAME = re.compile(rb"([<!])(.*)\*([0-9A-F]{4})")


@dataclass(frozen=True)
class Answer:
    """What came back to one request."""

    ok: bool
    reason: str
    values: dict[str, str]
    items: list[str]


def frame(sequence: str, body: str) -> bytes:
    """A request as INTERFACES.md 2.1 wants it."""
    text = f"{sequence} {body}".encode()
    return b">" + text + b"*%04X\r" % binascii.crc_hqx(text, 0xFFFF)


def values_of(text: str) -> dict[str, str]:
    """The `name=value` words of an answer."""
    return dict(word.split("=", 1) for word in text.split() if "=" in word)


class Syringe:
    """One device on a copy of the delivered EEPROM in `folder`; `power_on` and `cut` as often as wanted."""

    def __init__(self, folder: Path, *, weaknesses: frozenset[str] = frozenset()) -> None:
        self.folder = folder
        self.description = json.loads((BUILT / "device.json").read_text())
        self.mask = sum(1 << self.description["weaknesses"][name]["bit"] for name in weaknesses)
        self.disk = folder / "disk.qcow2"
        shutil.copyfile(BUILT / "disk.qcow2", self.disk)
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: dict[str, socket.socket] = {}
        self.seen: dict[str, bytearray] = {}
        self._sequence = 0
        self.told = b""
        """What the console said from power-on until the device was up."""

    def __enter__(self) -> Self:
        self.power_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()

    def power_on(self, *, until: bytes = b"SD-200 up\r\n") -> None:
        """Start QEMU, connect every line before the first instruction, and wait until the console says `until`."""
        arguments = [*self.description["machine"], *self.description["arguments"]]
        links = _LINK.findall(" ".join(arguments))
        places = {"boot": str(BUILT / "boot.bin"), "disk": str(self.disk), "weakness_mask": str(self.mask)}
        places |= {f"{link}_chardev": link for link in links}
        chardevs = [f"socket,id={link},path={self.folder / link},server=on,wait=off" for link in links]
        self._process = subprocess.Popen(
            [
                self.description["qemu"],
                *("-S", "-nodefaults", "-no-user-config", "-display", "none", "-monitor", "stdio", "-nic", "none"),
                *(word for chardev in chardevs for word in ("-chardev", chardev)),
                *(re.sub(r"\{(\w+)\}", lambda match: places[match[1]], each) for each in arguments),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        banner = b""
        while b"(qemu)" not in banner:  # the lines are open when the monitor is
            assert (byte := self._process.stdout.read(1)), "QEMU did not start"
            banner += byte
        for link in links:
            self._sockets[link] = socket.socket(socket.AF_UNIX)
            self._sockets[link].connect(str(self.folder / link))
            self.seen[link] = bytearray()
        self.monitor("cont")
        self.told = self.expect("console", until)

    def monitor(self, command: str) -> None:
        """An order to QEMU itself: `system_reset` is the reset line."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        self._process.stdin.flush()

    def cut(self) -> None:
        """Take the power."""
        for each in self._sockets.values():
            each.close()
        self._sockets.clear()
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def send(self, link: str, data: bytes) -> None:
        """Bytes into the device."""
        self._sockets[link].sendall(data)

    def wait(self, met: Callable[[], bool], *, timeout: float, what: str) -> None:
        """Take in what the lines say until `met`."""
        deadline = Deadline(timeout)
        while not met():
            names = {each: name for name, each in self._sockets.items()}
            ready, _, _ = select.select(list(names), [], [], deadline.left())
            assert ready, f"no {what} within {timeout:g} s; seen: {self.seen}"
            for each in ready:
                self.seen[names[each]] += each.recv(65536)

    def silent(self, link: str, *, seconds: float) -> bytes:
        """What comes on `link` in that time."""
        deadline = Deadline(seconds)
        while deadline.left():
            if select.select([self._sockets[link]], [], [], deadline.left())[0]:
                self.seen[link] += self._sockets[link].recv(65536)
        said, self.seen[link] = bytes(self.seen[link]), bytearray()
        return said

    def expect(self, link: str, wanted: bytes, *, timeout: float = PATIENCE_S) -> bytes:
        """What came on `link` up to and with `wanted`, which is then used up."""
        self.wait(lambda: wanted in self.seen[link], timeout=timeout, what=repr(wanted))
        before, _, rest = bytes(self.seen[link]).partition(wanted)
        self.seen[link] = bytearray(rest)
        return before + wanted

    def line(self, *, timeout: float = PATIENCE_S) -> tuple[str, str]:
        """The next line on the vendor line: its mark and its text, the checksum checked."""
        raw = self.expect("vendor", b"\r\n", timeout=timeout)[:-2]
        found = _FRAME.fullmatch(raw)
        assert found, raw
        assert int(found[3], 16) == binascii.crc_hqx(found[2], 0xFFFF), raw
        return found[1].decode(), found[2].decode()

    def spoken(self, begin: str, *, timeout: float = PATIENCE_S) -> dict[str, str]:
        """The values of the next unasked line that begins so."""
        deadline = Deadline(timeout)
        while True:
            mark, text = self.line(timeout=deadline.left())
            if mark == "!" and text.startswith(begin):
                return values_of(text)

    def raw(self, data: bytes, *, timeout: float = PATIENCE_S) -> Answer:
        """Bytes as they are, and the answer to them."""
        self.send("vendor", data)
        items: list[str] = []
        deadline = Deadline(timeout)
        while True:
            mark, text = self.line(timeout=deadline.left())
            if mark == "!":
                continue
            _, kind, *rest = text.split(" ", 2)
            said = rest[0] if rest else ""
            if kind == "item":
                items.append(said)
                continue
            assert kind in ("ok", "error"), text
            return Answer(ok=kind == "ok", reason="" if kind == "ok" else said, values=values_of(said), items=items)

    def ask(self, body: str) -> Answer:
        """One request of the vendor line."""
        self._sequence = (self._sequence + 1) % 256
        return self.raw(frame(f"{self._sequence:02X}", body))

    def accept(self, body: str) -> Answer:
        """One request that must be accepted."""
        answer = self.ask(body)
        assert answer.ok, f"{body}: {answer.reason}"
        return answer

    def refuse(self, body: str) -> str:
        """One request that must be refused; its reason."""
        answer = self.ask(body)
        assert not answer.ok, body
        return answer.reason

    def log_in(self, account: str) -> None:
        """With the delivered PIN."""
        assert self.accept(f"login {account} {PINS[account]}").values == {"role": account}

    def modbus(self, pdu: bytes, *, unit: int = 1, timeout: float = PATIENCE_S) -> bytes:
        """One Modbus request; the PDU of the answer, its frame checked."""
        self.seen["modbus"].clear()
        self.send("modbus", rtu(pdu, unit=unit))
        received = self.seen["modbus"]
        self.wait(lambda: len(received) >= 5 and not crc16(bytes(received)), timeout=timeout, what="Modbus answer")
        assert received[0] == unit
        return bytes(received[1:-2])

    def registers(self, function: int, first: int, count: int) -> list[int]:
        """The values of registers that must be readable."""
        answer = self.modbus(bytes([function]) + first.to_bytes(2, "big") + count.to_bytes(2, "big"))
        assert answer[:2] == bytes([function, 2 * count]), answer
        return [int.from_bytes(answer[at : at + 2], "big") for at in range(2, len(answer), 2)]

    def weaknesses(self) -> str:
        """As the device itself tells the bench."""
        self.send("agent", b"weaknesses\n")
        return self.expect("agent", b"\n").decode().strip()

    def upload(self, content: bytes) -> Answer:
        """Send an image; the answer to the commit. A service session must be open."""
        self.accept(f"fw-begin {len(content)}")
        for offset in range(0, len(content), 128):
            self.accept(f"fw-data {offset} {content[offset : offset + 128].hex().upper()}")
        return self.ask("fw-commit")

    def install(self, name: str) -> None:
        """Upload a bundle that must be taken, and restart into it."""
        assert self.upload(bundle(name)).ok
        self.expect("console", b"update: ready -\r\n")
        self.accept("restart")
        self.expect("console", b"SD-200 boot loader")


MakeSyringe = Callable[..., Syringe]
"""Makes a device that is up, with the weaknesses named."""


def crc16(data: bytes) -> int:
    """CRC-16/MODBUS; over a frame with its CRC it is 0."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def rtu(pdu: bytes, *, unit: int = 1) -> bytes:
    """A Modbus RTU frame."""
    framed = bytes([unit]) + pdu
    return framed + crc16(framed).to_bytes(2, "little")


def bundle(name: str) -> bytes:
    """An image of the build."""
    return (BUILT / "bundles" / f"{name}.sdf").read_bytes()
