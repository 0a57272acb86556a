"""Small raw clients with which the sham's own tests look at it; none of them is used by the harness."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paramiko
from modbus import with_crc
from unit_keys import delivered
from users import PASSWORDS

from harness.control.process import ProcessControl

HERE = Path(__file__).parent
CLIENT_KEY = HERE / "keys" / "client_ed25519"
ADDRESS, ADDRESS6 = "192.0.2.10", "2001:db8::10"
WAIT_S = 2.0


class Wire:
    """A socket with a buffer and deadlines. Silence is a TimeoutError, loss an EOFError."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.pending = b""

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.socket.sendall(data)

    def until(self, found: Callable[[bytes], int], *, wait: float = WAIT_S) -> bytes:
        """What came up to where `found` says (its length; 0 for not yet)."""
        deadline = time.monotonic() + wait
        while not (length := found(self.pending)):
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                raise TimeoutError(f"only {self.pending[-200:]!r} came") from None
            if not data:
                raise EOFError(f"closed after {self.pending[-200:]!r}")
            self.pending += data
        taken, self.pending = self.pending[:length], self.pending[length:]
        return taken

    def until_text(self, marker: str, *, wait: float = WAIT_S) -> str:
        """What came up to and with a text."""
        wanted = marker.encode()
        return self.until(lambda got: got.find(wanted) + len(wanted) if wanted in got else 0, wait=wait).decode(
            "latin-1"
        )

    def everything_for(self, seconds: float) -> bytes:
        """All that comes within a time."""
        with contextlib.suppress(TimeoutError, EOFError):
            self.until(lambda _got: 0, wait=seconds)
        taken, self.pending = self.pending, b""
        return taken


class Terminal(Wire):
    """The dialogue of console and SSH menu."""

    def log_in(self, user: str, password: str) -> str:
        """Answer both prompts; the line that judges."""
        self.send(user.encode() + b"\r")
        self.until_text("password: ")
        self.send(password.encode() + b"\r")
        answer = self.until(lambda got: max(got.rfind(end) + len(end) for end in (b"login: ", b"VP-1> ")) * _ended(got))
        return answer.decode("latin-1").strip().splitlines()[0]

    def ask(self, line: str) -> list[str]:
        """The answer's lines to one command."""
        self.send(line.encode() + b"\r")
        text = self.until_text("VP-1> ")
        return text.removesuffix("VP-1> ").removeprefix(line).strip("\r\n").split("\r\n")

    def fields(self, line: str) -> dict[str, str]:
        """The answer's `name: value` lines."""
        return dict(each.split(": ", 1) for each in self.ask(line) if ": " in each)


def _ended(got: bytes) -> int:
    return int(got.endswith((b"login: ", b"VP-1> ")))


class CanBus(Wire):
    """Frames over socketcand."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(connected)
        self.until_text("< hi >")
        self.send(b"< open can1 >")
        self.until_text("< ok >")
        self.send(b"< rawmode >")
        self.until_text("< ok >")

    def put(self, identifier: int, data: bytes) -> None:
        """Send one frame."""
        words = " ".join(f"{byte:X}" for byte in data)
        self.send(f"< send {identifier:X} {len(data):X} {words} >".encode())

    def next(self, *, wait: float = WAIT_S) -> tuple[int, bytes]:
        """The next frame, whatever it is."""
        words = self.until_text(">", wait=wait).split()
        return int(words[2], 16), bytes.fromhex("".join(words[4:-1]))

    def of(self, identifier: int, *, wait: float = WAIT_S) -> bytes:
        """The data of the next frame with an identifier."""
        deadline = time.monotonic() + wait
        while (left := deadline - time.monotonic()) > 0:
            got, data = self.next(wait=left)
            if got == identifier:
                return data
        raise TimeoutError(f"no frame 0x{identifier:X}")

    def uds(self, request: bytes, *, wait: float = WAIT_S) -> bytes:
        """One UDS request and its answer, both of any length."""
        if len(request) <= 7:
            self.put(0x7E0, bytes([len(request)]) + request)
        else:
            self.put(0x7E0, struct.pack(">H", 0x1000 | len(request)) + request[:6])
            assert self.of(0x7E8, wait=wait)[:3] == b"\x30\x00\x00"
            for index, start in enumerate(range(6, len(request), 7), start=1):
                self.put(0x7E0, bytes([0x20 | index & 0x0F]) + request[start : start + 7])
        first = self.of(0x7E8, wait=wait)
        if first[0] >> 4 == 0:
            return first[1 : 1 + first[0]]
        length, answer = struct.unpack(">H", first[:2])[0] & 0xFFF, first[2:]
        self.put(0x7E0, b"\x30\x00\x00")
        while len(answer) < length:
            answer += self.of(0x7E8, wait=wait)[1:]
        return answer[:length]


class ModbusTcp(Wire):
    """PDUs over TCP."""

    def ask(self, pdu: bytes, *, transaction: int = 7) -> tuple[int, bytes]:
        """Transaction identifier and PDU of the answer."""
        self.send(struct.pack(">HHHB", transaction, 0, len(pdu) + 1, 1) + pdu)
        frame = self.until(lambda got: len(got) >= 7 and 6 + int.from_bytes(got[4:6], "big"))
        return int.from_bytes(frame[:2], "big"), frame[7:]


class ModbusRtu(Wire):
    """PDUs over the second serial port."""

    def ask(self, pdu: bytes) -> bytes:
        """The PDU of the answer."""
        self.send(with_crc(b"\x01" + pdu))
        frame = self.until(_rtu_length)
        assert with_crc(frame[:-2]) == frame
        return frame[1:-2]


class Web:
    """The management API over one connection; `token` is that of the last log-in."""

    def __init__(self, connected: socket.socket, certificate: str) -> None:
        """`certificate` in PEM is the one that the pump must have; empty: any but the one it was delivered with."""
        context = ssl.create_default_context(cadata=certificate or None)
        context.check_hostname = False
        if not certificate:
            context.verify_mode = ssl.CERT_NONE
        self.http = http.client.HTTPConnection("192.0.2.10")
        self.http.sock = context.wrap_socket(connected)
        shown = ssl.DER_cert_to_PEM_cert(self.http.sock.getpeercert(binary_form=True) or b"")
        assert certificate or shown not in delivered("tls")
        self.token = ""

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Status and body of the answer; a body that is not bytes goes and comes as JSON."""
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        shown = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            shown.setdefault("Authorization", f"Bearer {self.token}")
        self.http.request(method, path, body=sent, headers=shown)
        answer = self.http.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if "json" in answer.headers["Content-Type"] else content

    def log_in(self, user: str, password: str = "") -> int:
        """Log in, with the password as delivered unless another is given; the status."""
        content = {"user": user, "password": password or PASSWORDS[user].decode()}
        status, answer = self.ask("POST", "/api/login", content)
        self.token = answer.get("token", "")
        return status


class Sham:
    """One running sham device, in a private network."""

    def __init__(self, log: Path, *options: str) -> None:
        argv = [sys.executable, str(HERE / "device.py"), "--run-dir", "{run_dir}", "--address", "{address}", *options]
        self._open: list[socket.socket | paramiko.Transport] = []
        self.control = ProcessControl(argv, log=log)
        try:
            self.control.power_on()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it."""
        self.hang_up()
        self.control.close()

    def hang_up(self) -> None:
        """Close all connections made so far."""
        for each in self._open:
            each.close()
        self._open.clear()

    def agent(self, line: str) -> str:
        """Ask the bench agent."""
        wire = self._unix("agent")
        wire.send(line.encode() + b"\n")
        return wire.until_text("\n").strip()

    def console(self) -> Terminal:
        """The console, at the log-in prompt (or what is there)."""
        return Terminal(self._unix("console").socket)

    def can(self) -> CanBus:
        """The CAN bus."""
        return CanBus(self._unix("can").socket)

    def rtu(self) -> ModbusRtu:
        """The second serial port."""
        return ModbusRtu(self._unix("rtu").socket)

    def tcp(self, port: int, *, address: str = ADDRESS) -> Wire:
        """A TCP connection. Raises OSError when refused."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        [connection] = self.control.holder.sockets(1, family)
        self._open.append(connection)
        connection.settimeout(WAIT_S)
        connection.connect((address, port))
        return Wire(connection)

    def modbus(self, *, address: str = ADDRESS) -> ModbusTcp:
        """Modbus TCP."""
        return ModbusTcp(self.tcp(502, address=address).socket)

    def fresh_web(self) -> Web:
        """The management API of a pump that has made keys of its own."""
        return Web(self.tcp(443).socket, "")

    def web(self, user: str = "", *, address: str = ADDRESS) -> Web:
        """The management API, logged in where a user is given."""
        web = Web(self.tcp(443, address=address).socket, delivered("tls"))
        assert not user or web.log_in(user) == 200
        return web

    def ssh(self, *, authenticated: bool = False) -> paramiko.Transport:
        """An SSH transport, keys exchanged. Raises SSHException when there is no server."""
        transport = paramiko.Transport(self.tcp(22).socket)
        self._open.append(transport)
        transport.banner_timeout = transport.auth_timeout = WAIT_S
        transport.start_client(timeout=WAIT_S)
        if authenticated:
            transport.auth_publickey("service", client_key())
        return transport

    def menu(self) -> Terminal:
        """The SSH menu at its log-in prompt."""
        return self.session(self.ssh(authenticated=True))

    def session(self, transport: paramiko.Transport) -> Terminal:
        """A session on an authenticated transport."""
        channel = transport.open_session(timeout=WAIT_S)
        channel.invoke_shell()
        terminal = Terminal(channel)  # type: ignore[arg-type]  # a channel is socket enough
        terminal.until_text("login: ")
        return terminal

    def _unix(self, name: str) -> Wire:
        connection = socket.socket(socket.AF_UNIX)
        self._open.append(connection)
        connection.settimeout(WAIT_S)
        connection.connect(os.fspath(self.control.run_dir / f"{name}.sock"))
        return Wire(connection)


def _rtu_length(got: bytes) -> int:
    if len(got) < 5:
        return 0
    if got[1] & 0x80:
        return 5
    return 5 + got[2] if got[1] in (3, 4) else 8


def client_key() -> paramiko.PKey:
    """The key the pump knows."""
    return paramiko.Ed25519Key.from_private_key_file(os.fspath(CLIENT_KEY))


def wait_for(web: Web, *states: str) -> dict[str, Any]:
    """The first answer of `GET /api/update` in one of these states."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        status, about = web.ask("GET", "/api/update")
        assert status == 200
        if about["state"] in states:
            return dict(about)
        threading.Event().wait(0.05)
    raise TimeoutError(f"still {about}")
