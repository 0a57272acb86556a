"""A small infusion controller with a vendor's line protocol, on a pseudo-terminal: honest, weak or lying.

    python device.py --tty PATH [--weakness A,B] [--lie MODE] [--after N]

A message is `!`, the text, `|`, the CRC-16/IBM-3740 of all that in four capital hexadecimal digits, CR. It prints
`ready` when the pseudo-terminal stands at PATH. After N messages it begins to lie.
"""

from __future__ import annotations

import argparse
import binascii
import os
import re
import select
import time
import tty
from pathlib import Path

LONGEST = 120
LOCK_AFTER, LOCKED_S, IDLE_S = 3, 3.0, 3.0
USERS = {"nurse": ("7305-n", "nurse"), "tech": ("9128-t", "technician")}
ROLES = {"STATUS": {"nurse", "technician"}, "RATE": {"nurse", "technician"}, "NAME": {"technician"}}


def framed(text: str) -> bytes:
    """Return a whole message."""
    body = f"!{text}|".encode()
    return body + b"%04X\r" % binascii.crc_hqx(body, 0xFFFF)


class Device:
    """The application: what it answers to the text of a message."""

    def __init__(self, weaknesses: set[str]) -> None:
        self.weaknesses = weaknesses
        self.started = time.monotonic()
        self.user = ""
        self.rate, self.name = 25, "bed 4"
        self.failed = dict.fromkeys(USERS, 0)
        self.locked_until = dict.fromkeys(USERS, 0.0)
        self.used = 0.0

    def answer(self, text: str) -> str:
        """Carry out a request."""
        self.used = time.monotonic()
        word, *args = text.split("^")
        if word == "LOGIN" and len(args) == 2:
            return self.log_in(*args)
        if word not in ("LOGOUT", "ID", "UPTIME", *ROLES):
            return "?^NAK^COMMAND"
        if not self.user and "no-log-in" not in self.weaknesses:
            return f"{word}^NAK^LOGIN"
        if word == "LOGOUT":
            self.user = ""
            return "LOGOUT^OK"
        role = USERS[self.user][1] if self.user else "technician"
        if word in ROLES and role not in ROLES[word] and "no-roles" not in self.weaknesses:
            return f"{word}^NAK^ROLE"
        return self.carry_out(word, args)

    def log_in(self, user: str, pin: str) -> str:
        """Judge a log-in."""
        now = time.monotonic()
        if user in USERS and now < self.locked_until[user]:
            return "LOGIN^NAK^LOCKED"
        if user in USERS and pin == USERS[user][0]:
            self.user, self.failed[user] = user, 0
            return f"LOGIN^OK^{USERS[user][1]}"
        if user in USERS:
            self.failed[user] += 1
            if self.failed[user] >= LOCK_AFTER and "no-lockout" not in self.weaknesses:
                self.failed[user], self.locked_until[user] = 0, now + LOCKED_S
        return "LOGIN^NAK^CREDENTIALS"

    def carry_out(self, word: str, args: list[str]) -> str:
        """What a logged-in user asked for."""
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
    """The framing, and the lies."""

    def __init__(self, device: Device, descriptor: int, *, lie: str, after: int) -> None:
        self.device, self.descriptor, self.lie, self.after = device, descriptor, lie, after
        self.data = bytearray()
        self.too_long = False
        self.messages = 0
        self.recorded: dict[str, bytes] = {}

    @property
    def lying(self) -> bool:
        return bool(self.lie) and self.messages > self.after

    def send(self, data: bytes) -> None:
        """Put bytes on the line; what nobody takes is lost."""
        try:
            os.write(self.descriptor, data)
        except BlockingIOError:
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
        """One line."""
        self.messages += 1
        text, bar, checksum = data[1:].rpartition(b"|")
        if self.lying and self.lie == "mute":
            return
        if self.lying and self.lie == "echo":
            self.send(data + b"\r")
            return
        answer = self.judged(data, text, bar, checksum, too_long=too_long)
        if self.lying:
            answer = self.lied(text.decode("latin-1"), answer)
        else:
            self.recorded[text.decode("latin-1").split("^")[0]] = framed(answer)
        self.send(answer if isinstance(answer, bytes) else framed(answer))

    def judged(self, data: bytes, text: bytes, bar: bytes, checksum: bytes, *, too_long: bool) -> str:
        right = b"%04X" % binascii.crc_hqx(b"!" + text + bar, 0xFFFF)
        if not data.startswith(b"!"):
            return "?^NAK^FRAME"
        if too_long:
            return "?^NAK^LENGTH"
        if checksum != right and "no-checksum" not in self.device.weaknesses:
            return "?^NAK^CHECKSUM"
        if any(byte < 0x20 or byte > 0x7E for byte in text) and "control-bytes" not in self.device.weaknesses:
            return "?^NAK^TEXT"
        clean = bytes(byte for byte in text if 0x20 <= byte < 0x7F)
        return self.device.answer(clean.decode("latin-1"))

    def lied(self, text: str, answer: str) -> str | bytes:
        """What a liar says instead; what it is asked for is carried out all the same."""
        word = text.split("^")[0]
        if self.lie == "refuse":
            return f"{word}^NAK^ROLE"
        if self.lie == "replay":
            return self.recorded.get(word, framed("?^NAK^COMMAND"))
        if self.lie == "bad-checksum":
            return framed(answer)[:-5] + b"0000\r"
        genuine = answer if "^OK" in answer else f"{word}^OK"
        return {"LOGIN": "LOGIN^OK^nurse", "RATE": "RATE^OK^25", "NAME": "NAME^OK^x"}.get(word, genuine)

    def tick(self) -> None:
        """Log off who does nothing."""
        device = self.device
        idle = device.user and time.monotonic() - device.used > IDLE_S
        if idle and "no-log-off" not in device.weaknesses:
            device.user = ""
            if not self.lying:
                self.send(framed("EVENT^LOGOFF"))


def main() -> None:
    """Run until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tty", type=Path, required=True)
    parser.add_argument("--weakness", default="")
    parser.add_argument("--lie", default="")
    parser.add_argument("--after", type=int, default=0)
    given = parser.parse_args()
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    given.tty.unlink(missing_ok=True)
    given.tty.symlink_to(os.ttyname(slave))
    line = Line(Device(set(given.weakness.split(","))), master, lie=given.lie, after=given.after)
    print("ready", flush=True)  # noqa: T201
    while True:
        if select.select([master], [], [], 0.02)[0]:
            line.received(os.read(master, 4096))
        line.tick()


if __name__ == "__main__":
    main()
