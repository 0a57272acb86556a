"""A small infusion controller with a vendor's line protocol, on a pseudo-terminal or over TCP: honest, weak or lying.

    python device.py (--tty PATH | --tcp ADDRESS:PORT) [--style A,B] [--weakness A,B] [--lie MODE] [--after N]

A message is `!`, the text, `|`, the CRC-16/IBM-3740 of all that in four capital hexadecimal digits, CR. It prints
`ready` when its interface is there. In the style `pin` people log in by PIN alone and a lock is one for all; in the
style `quiet` it does not say that it logged somebody off; in the style `counts` it numbers the log-ins that it refuses
for wrong credentials; in the style `sliding` each log-in while locked begins the lock anew; in the style `long` a lock
lasts longer; in the style `stutters` one answer is late. After N messages it begins to lie.
"""

from __future__ import annotations

import argparse
import binascii
import os
import re
import select
import socket
import time
import tty
from pathlib import Path

LONGEST = 120
LOCK_AFTER, LOCKED_S, IDLE_S = 3, 3.0, 4.0
USERS = {"nurse": ("7305-n", "nurse"), "tech": ("9128-t", "technician")}
ROLES = {"STATUS": {"nurse", "technician"}, "RATE": {"nurse", "technician"}, "NAME": {"technician"}}


def framed(text: str) -> bytes:
    """Return a whole message."""
    body = f"!{text}|".encode()
    return body + b"%04X\r" % binascii.crc_hqx(body, 0xFFFF)


class Device:
    """What all lines share: settings, and who is locked."""

    def __init__(self, *, weaknesses: set[str], styles: set[str], lie: str, after: int) -> None:
        self.weaknesses, self.styles, self.lie, self.after = weaknesses, styles, lie, after
        self.started = time.monotonic()
        self.rate, self.name = 25, "bed 4"
        self.failed: dict[str, int] = dict.fromkeys(["", *USERS], 0)
        self.locked_until: dict[str, float] = dict.fromkeys(["", *USERS], 0.0)
        self.messages = self.refused = 0
        self.recorded: dict[str, bytes] = {}

    @property
    def lying(self) -> bool:
        """Whether it lies by now."""
        return bool(self.lie) and self.messages > self.after

    def log_in(self, args: list[str]) -> tuple[str, str]:
        """Judge a log-in; return the user and the answer."""
        now = time.monotonic()
        if "pin" in self.styles:
            user = next((name for name, (pin, _) in USERS.items() if args == [pin]), "")
            right, counted = bool(user), ""
        else:
            user, pin = args
            right, counted = user in USERS and pin == USERS[user][0], user
        if now < self.locked_until.get(counted, 0.0):
            if "sliding" in self.styles:
                self.locked_until[counted] = now + LOCKED_S
            return "", "LOGIN^NAK^LOCKED"
        if right:
            self.failed[counted] = 0
            return user, f"LOGIN^OK^{USERS[user][1]}"
        if counted in self.failed:
            self.failed[counted] += 1
            if self.failed[counted] >= LOCK_AFTER and "no-lockout" not in self.weaknesses:
                longer = 4.0 if "long" in self.styles else 0.0
                self.failed[counted], self.locked_until[counted] = 0, now + LOCKED_S + longer
        if user not in USERS and "tells-users" in self.weaknesses:
            return "", "LOGIN^NAK^USER"
        self.refused += 1
        return "", f"LOGIN^NAK^CREDENTIALS{self.refused if 'counts' in self.styles else ''}"

    def carry_out(self, word: str, args: list[str]) -> str:
        """What somebody asked for who may."""
        match word, args:
            case "ID", []:
                return "ID^OK^LC-7^LC7-0042^1.4.2"
            case "UPTIME", []:
                return f"UPTIME^OK^{(time.monotonic() - self.started) * 1000:.0f}"
            case "STATUS", []:
                return f"STATUS^OK^rate={self.rate};name={self.name}"
            case "RATE", [number] if re.fullmatch(r"\d{1,3}", number) and int(number) <= 500:
                self.rate = int(number)
                return f"RATE^OK^{self.rate}"
            case "NAME", [name] if re.fullmatch(r"[A-Za-z0-9 ]{1,16}", name):
                self.name = name
                return f"NAME^OK^{name}"
        return f"{word}^NAK^ARGUMENT"


class Line:
    """One line or connection: its framing, its session, and the lies."""

    def __init__(self, device: Device, descriptor: int) -> None:
        self.device, self.descriptor = device, descriptor
        self.user = ""
        self.used = 0.0
        self.data = bytearray()
        self.too_long = False

    def send(self, data: bytes) -> None:
        """Put bytes on the line; what nobody takes is lost."""
        try:
            os.write(self.descriptor, data)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return

    def received(self, data: bytes) -> None:
        """Bytes from the bench. A start begins a message anew."""
        for byte in data:
            if byte == ord("!"):
                self.data[:], self.too_long = b"!", False
            elif byte == ord("\r"):
                whole, too_long = bytes(self.data), self.too_long
                self.data.clear()
                self.too_long = False
                self.message(whole, too_long=too_long)
            elif len(self.data) < LONGEST:
                self.data.append(byte)
            else:
                self.too_long = True

    def message(self, data: bytes, *, too_long: bool) -> None:
        """One message, whole as far as its end goes."""
        device = self.device
        device.messages += 1
        text, bar, checksum = data[1:].rpartition(b"|")
        word = text.decode("latin-1").split("^")[0]
        if device.lying and device.lie in ("mute", "echo"):
            self.send(data + b"\r" if device.lie == "echo" else b"")
            return
        answer = self.judged(data, text, bar, checksum, too_long=too_long)
        if device.lying:
            self.send(self.lied(word, answer))
            return
        if "stutters" in device.styles and "sleep 2" in text.decode("latin-1"):
            device.styles.remove("stutters")
            time.sleep(2.2)
        device.recorded[word] = framed(answer)
        self.send(framed(answer))

    def judged(self, data: bytes, text: bytes, bar: bytes, checksum: bytes, *, too_long: bool) -> str:
        """Look at the framing, then at what is asked."""
        right = b"%04X" % binascii.crc_hqx(b"!" + text + bar, 0xFFFF)
        weaknesses = self.device.weaknesses
        if not data.startswith(b"!"):
            return "?^NAK^FRAME"
        if too_long:
            return "?^NAK^LENGTH"
        if checksum != right and "no-checksum" not in weaknesses:
            return "?^NAK^CHECKSUM"
        if any(byte < 0x20 or byte > 0x7E for byte in text) and "control-bytes" not in weaknesses:
            return "?^NAK^TEXT"
        return self.answer(bytes(byte for byte in text if 0x20 <= byte < 0x7F).decode())

    def answer(self, text: str) -> str:
        """Carry out a request."""
        self.used = time.monotonic()
        word, *args = text.split("^")
        if word == "LOGIN" and len(args) == (1 if "pin" in self.device.styles else 2):
            user, said = self.device.log_in(args)
            self.user = user or self.user
            return said
        if word not in ("LOGOUT", "ID", "UPTIME", *ROLES):
            return "?^NAK^COMMAND"
        weaknesses = self.device.weaknesses
        if not self.user and "no-log-in" not in weaknesses:
            return f"{word}^NAK^LOGIN"
        if word == "LOGOUT":
            self.user = "" if "no-log-out" not in weaknesses else self.user
            return "LOGOUT^OK"
        role = USERS[self.user][1] if self.user else "technician"
        if word in ROLES and role not in ROLES[word] and "no-roles" not in weaknesses:
            return f"{word}^NAK^ROLE"
        return self.device.carry_out(word, args)

    def lied(self, word: str, answer: str) -> bytes:
        """What a liar says instead; what it is asked for is carried out all the same."""
        match self.device.lie:
            case "refuse":
                return framed(f"{word}^NAK^ROLE")
            case "replay":
                return self.device.recorded.get(word, framed("?^NAK^COMMAND"))
            case "bad-checksum":
                return framed(answer)[:-5] + b"0000\r"
            case "twice":
                return framed(answer) * 2
        genuine = answer if "^OK" in answer else f"{word}^OK"
        return framed({"LOGIN": "LOGIN^OK^nurse", "RATE": "RATE^OK^40", "NAME": "NAME^OK^bay 12"}.get(word, genuine))

    def tick(self) -> None:
        """Log off who does nothing."""
        idle = self.user and time.monotonic() - self.used > IDLE_S
        if idle and "no-log-off" not in self.device.weaknesses:
            self.user = ""
            if "quiet" not in self.device.styles and not self.device.lying:
                self.send(framed("EVENT^LOGOFF"))


def open_terminal(path: Path) -> int:
    """Make a pseudo-terminal that stands at `path`; return its other end."""
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    path.unlink(missing_ok=True)
    path.symlink_to(os.ttyname(slave))
    return master


def main() -> None:
    """Run until killed."""
    parser = argparse.ArgumentParser()
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--tty", type=Path)
    where.add_argument("--tcp")
    parser.add_argument("--style", default="")
    parser.add_argument("--weakness", default="")
    parser.add_argument("--lie", default="")
    parser.add_argument("--after", type=int, default=0)
    given = parser.parse_args()
    device = Device(
        weaknesses=set(given.weakness.split(",")), styles=set(given.style.split(",")), lie=given.lie, after=given.after
    )
    lines: dict[int, Line] = {}
    server: socket.socket | None = None
    connections: dict[int, socket.socket] = {}
    if given.tcp:
        host, port = given.tcp.split(":")
        server = socket.create_server((host, int(port)))
    else:
        master = open_terminal(given.tty)
        lines[master] = Line(device, master)
    print("ready", flush=True)  # noqa: T201
    while True:
        for ready in select.select([*lines, *([server] if server else [])], [], [], 0.02)[0]:
            if isinstance(ready, socket.socket):
                made, _ = ready.accept()
                connections[made.fileno()] = made
                lines[made.fileno()] = Line(device, made.fileno())
                continue
            try:
                data = os.read(ready, 4096)
            except ConnectionResetError:
                data = b""
            if data:
                lines[ready].received(data)
            else:
                del lines[ready]
                connections.pop(ready).close()
        for line in lines.values():
            line.tick()


if __name__ == "__main__":
    main()
