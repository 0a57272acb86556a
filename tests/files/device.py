"""A small pump whose console takes updates and gives backups as files; a pseudo-terminal, and an SSH server if asked.

    python device.py --tty PATH --data FOLDER [--sshd CONFIG --address ADDRESS] [--weakness A,B] [--lie MODE]

On the line a file travels by lrzsz: `load` takes an update by XMODEM, `save` and `restore` carry a backup by YMODEM.
Over SSH an update is put at `update.bin` in the folder, a backup fetched from `backup.bin`; `install`, `save-file` and
`restore-file` go with them. An update is `LDR1`, three bytes of version, the length of the image in four bytes, the
image, and an Ed25519 signature of all that. It prints `ready` when its interfaces are there.

Weakness `no-signature` takes an update from anybody, `no-roles` lets everybody do everything. Lies `nak`, `silent`,
`endless` and `cancel` are about the transfer of an update or a backup on the line.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import hmac
import os
import select
import shutil
import socket
import subprocess
import time
import tty
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MAKER = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"maker of the loader's updates").digest())
UNIT_KEY = b"of this family"
USERS = {"nurse": ("Quay-7305", "nurse"), "tech": ("Quay-9128", "technician")}
MAY_ALL = {"version", "status", "config", "exit"}
RESTART_S = 0.5


def update(version: str, *, key: Ed25519PrivateKey = MAKER, image: bytes = b"image" * 700) -> bytes:
    """Return an update as its maker makes it."""
    body = b"LDR1" + bytes(map(int, version.split("."))) + len(image).to_bytes(4) + image
    return body + key.sign(body)


class Refused(Exception):
    """Why a command is not carried out."""


class Device:
    """What outlives a restart, and the session on the console."""

    def __init__(self, folder: Path, *, weaknesses: set[str], lie: str) -> None:
        self.folder, self.weaknesses, self.lie = folder, weaknesses, lie
        self.version, self.target, self.name = "1.0.0", "", "bed 4"
        self.started = time.monotonic()
        self.restart_at: float | None = None
        self.role = ""

    def install(self, data: bytes) -> None:
        """Check an update and keep it for the restart; XMODEM has filled it up."""
        size = int.from_bytes(data[7:11])
        body, signature = data[: 11 + size], data[11 + size : 11 + size + 64]
        if not data.startswith(b"LDR1") or len(signature) != 64:
            raise Refused("damaged")
        try:
            MAKER.public_key().verify(signature, body)
        except InvalidSignature:
            if "no-signature" not in self.weaknesses:
                raise Refused("signature") from None
        version = ".".join(map(str, data[4:7]))
        if [*data[4:7]] <= [*map(int, self.version.split("."))]:
            raise Refused("version")
        self.target = version

    def backup(self, passphrase: str) -> bytes:
        """Return the settings under a passphrase: magic, salt, length, text, seal."""
        if len(passphrase) < 12:
            raise Refused("passphrase too short")
        salt, text = os.urandom(16), self.name.encode()
        stream = hashlib.shake_256(salt + passphrase.encode()).digest(len(text))
        body = b"LBK1" + salt + len(text).to_bytes(2) + bytes(a ^ b for a, b in zip(text, stream, strict=True))
        return body + hmac.digest(UNIT_KEY + passphrase.encode(), body, "sha256")

    def restore(self, passphrase: str, data: bytes) -> None:
        """Take the settings of a backup."""
        body, seal = data[:-32], data[-32:]
        if not data.startswith(b"LBK1") or len(body) < 22:
            raise Refused("no backup")
        if not hmac.compare_digest(seal, hmac.digest(UNIT_KEY + passphrase.encode(), body, "sha256")):
            raise Refused("damaged or wrong passphrase")
        text = body[22:]
        stream = hashlib.shake_256(body[4:20] + passphrase.encode()).digest(len(text))
        self.name = bytes(a ^ b for a, b in zip(text, stream, strict=True)).decode()

    def tick(self) -> bool:
        """Restart when it is time; returns whether it did."""
        if self.restart_at is None or time.monotonic() < self.restart_at:
            return False
        # The clock runs from the reset on, before the console is there again.
        self.started, self.role = self.restart_at - RESTART_S / 2, ""
        self.version, self.target, self.restart_at = self.target or self.version, "", None
        return True


class Console:
    """The console: prompts, echo, commands, and files on the line."""

    def __init__(self, device: Device, line: int) -> None:
        self.device, self.line = device, line
        self.user: str | None = None
        self.data = bytearray()
        self.ask()

    def say(self, text: str) -> None:
        """Print."""
        data = text.replace("\n", "\r\n").encode()
        while data:
            select.select([], [self.line], [], 1)
            data = data[os.write(self.line, data) :]

    def ask(self) -> None:
        """Print the prompt that stands."""
        self.say("loader> " if self.device.role else "login: " if self.user is None else "password: ")

    def received(self, data: bytes) -> None:
        """Characters from the bench."""
        for byte in data:
            if byte == ord("\r"):
                text = bytes(self.data).decode(errors="replace")
                self.data.clear()
                self.say("\n")
                self.entered(text)
                self.ask()
            elif 0x20 <= byte < 0x7F and len(self.data) < 200:
                self.data.append(byte)
                if self.user is None or self.device.role:
                    self.say(chr(byte))

    def entered(self, text: str) -> None:
        """One line."""
        if self.device.role:
            try:
                self.command(*text.split(" "))
            except Refused as refused:
                self.say(f"error: {refused}\n")
            except TypeError:
                self.say("error: argument\n")
        elif self.user is None:
            self.user = text or None
        else:
            password, role = USERS.get(self.user, ("", ""))
            right = bool(role) and text == password
            self.device.role = role if right else ""
            self.user = None
            self.say("ok: welcome\n" if right else "error: not let in\n")

    def command(self, word: str = "", *args: str) -> None:
        """Carry out a command."""
        device = self.device
        known = {name.removeprefix("do_").replace("_", "-") for name in dir(self) if name.startswith("do_")}
        if word not in known:
            raise Refused("command")
        if word not in MAY_ALL and device.role != "technician" and "no-roles" not in device.weaknesses:
            raise Refused("role")
        getattr(self, "do_" + word.replace("-", "_"))(*args)
        self.say("ok\n")

    def do_exit(self) -> None:
        self.device.role = ""

    def do_version(self) -> None:
        self.say(f"model: LD-1\nserial: LD1-0007\nversion: {self.device.version}\n")

    def do_status(self) -> None:
        state = "ready" if self.device.target else "idle"
        uptime = (time.monotonic() - self.device.started) * 1000
        self.say(f"uptime_ms: {uptime:.0f}\nstate: {state}\nversion: {self.device.version}\n")
        self.say(f"target: {self.device.target}\n")

    def do_config(self) -> None:
        self.say(f"name: {self.device.name}\n")

    def do_name(self, *words: str) -> None:
        self.device.name = " ".join(words)[:32]

    def do_reboot(self) -> None:
        self.device.restart_at = time.monotonic() + RESTART_S

    # Files on the line

    def do_load(self) -> None:
        self.say("send the update by XMODEM now\n")
        self.device.install(self.take("rx", "-c", "taken.bin", lies=True))

    def do_save(self, *words: str) -> None:
        (self.device.folder / "given.bin").write_bytes(self.device.backup(" ".join(words)))
        self.say("receive the backup by YMODEM now\n")
        self.run("sb", "given.bin", lies=True)

    def do_restore(self, *words: str) -> None:
        self.say("send the backup by YMODEM now\n")
        self.device.restore(" ".join(words), self.take("rb", "-y"))

    def take(self, *command: str, lies: bool = False) -> bytes:
        """Take a file from the line."""
        self.run(*command, lies=lies)
        taken = self.device.folder / "taken.bin"
        if not taken.is_file():
            raise Refused("transfer")
        data = taken.read_bytes()
        taken.unlink()
        return data

    def run(self, *command: str, lies: bool) -> None:
        """Run a program of lrzsz on the line."""
        if lies and self.device.lie:
            self.lie()
        ours, its = socket.socketpair()
        program = subprocess.Popen(command, stdin=its, stdout=its, stderr=subprocess.DEVNULL, cwd=self.device.folder)
        its.close()
        with ours:
            while True:
                for ready in select.select([ours, self.line], [], [], 1)[0]:
                    if ready is not ours:
                        ours.sendall(os.read(self.line, 4096))
                        continue
                    data = ours.recv(4096)
                    if not data:
                        program.wait()
                        return
                    while data:
                        select.select([], [self.line], [], 1)
                        data = data[os.write(self.line, data) :]

    def lie(self) -> None:
        """Do something else instead of the transfer, for ever where it does not end by itself."""
        if self.device.lie == "cancel":
            os.write(self.line, b"\x18" * 5)
            raise Refused("no room")
        says = {"nak": b"\x15", "endless": os.urandom(512), "silent": b""}[self.device.lie]
        while True:
            for _ in select.select([self.line], [], [], 0.05)[0]:
                os.read(self.line, 4096)
            if says and select.select([], [self.line], [], 0)[1]:
                os.write(self.line, says)

    # Files over SSH

    def do_install(self) -> None:
        self.device.install((self.device.folder / "update.bin").read_bytes())

    def do_save_file(self, *words: str) -> None:
        (self.device.folder / "backup.bin").write_bytes(self.device.backup(" ".join(words)))

    def do_restore_file(self, *words: str) -> None:
        self.device.restore(" ".join(words), (self.device.folder / "backup.bin").read_bytes())


def listens(address: str) -> bool:
    """Whether the SSH server is there."""
    with contextlib.suppress(OSError):
        socket.create_connection((address, 22), timeout=1).close()
        return True
    return False


def main() -> None:
    """Run until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tty", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sshd", default="")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--weakness", default="")
    parser.add_argument("--lie", default="")
    given = parser.parse_args()
    given.data.mkdir(exist_ok=True)
    if given.sshd:
        program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        subprocess.Popen([str(program), "-D", "-e", "-f", given.sshd])
        deadline = time.monotonic() + 8
        while not listens(given.address) and time.monotonic() < deadline:
            time.sleep(0.05)
    line, slave = os.openpty()
    tty.setraw(slave)
    given.tty.unlink(missing_ok=True)
    given.tty.symlink_to(os.ttyname(slave))
    device = Device(given.data, weaknesses=set(given.weakness.split(",")), lie=given.lie)
    console = Console(device, line)
    print("ready", flush=True)  # noqa: T201
    while True:
        if select.select([line], [], [], 0.02)[0]:
            console.received(os.read(line, 4096))
        if device.tick():
            console.user = None
            console.say("\nLoader 1\n")
            console.ask()


if __name__ == "__main__":
    main()
