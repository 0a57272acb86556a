"""A lab on loopback: labgrid's own coordinator, exporter and client, a power unit of ours with a socket, and a
multiplexer whose tool is reached by OpenSSH, as labgrid reaches every exporter.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import select
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".labgrid/bin"
"""labgrid's own environment; `make labgrid` makes it."""
CLIENT = BIN / "labgrid-client"

EXPORTED = """\
pump:
  NetworkPowerPort: {{model: rest, host: 'http://127.0.0.1:{port}/relay/{{index}}/value', index: 3}}
desk:
  NetworkPowerPort: {{model: rest, host: 'http://127.0.0.1:{port}/relay/{{index}}/value', index: 4}}
card:
  NetworkUSBSDMuxDevice:
    {{host: lab, busnum: 1, devnum: 2, path: '1-2', vendor_id: 1060, model_id: 16449, control_path: /dev/mux-7}}
  NetworkLXAUSBMux: {{host: lab, busnum: 1, devnum: 3, path: '1-3', vendor_id: 13171, model_id: 65}}
"""

MUX = """\
#!/bin/sh
# The tool of a multiplexer: the medium is at its path on this computer, or it is not.
echo "$(basename "$0") $*" >> {folder}/mux.log
[ -e {folder}/stuck ] && exit 0
case "$*" in
*\\ host|*--host-device) ln -sfn {folder}/medium.bin {folder}/card ;;
*\\ dut|*--dut-device) rm -f {folder}/card ;;
*) echo "not switched: $*" >&2; exit 1 ;;
esac
"""


class PowerUnit:
    """A power unit with a socket: the interface `rest` of labgrid. `switched` is called before it answers.

    `lie`: `stuck` answers and does nothing, `broken` answers with an error, `mute` not at all.
    """

    def __init__(self) -> None:
        self.on = {3: True, 4: True}
        self.lie = ""
        self.told: list[tuple[int, bool]] = []
        self.switched: Callable[[int, bool], None] = lambda port, on: None
        self.gone = threading.Event()
        unit = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:  # noqa: N802 - called by this name
                on = self.rfile.read(int(self.headers["Content-Length"])) == b"1"
                port = int(self.path.split("/")[2])
                unit.told.append((port, on))
                if not unit.lie:
                    unit.on[port] = on
                    unit.switched(port, on)
                self._answer(b"")

            def do_GET(self) -> None:  # noqa: N802
                self._answer(b"1" if unit.on[int(self.path.split("/")[2])] else b"0")

            def _answer(self, body: bytes) -> None:
                if unit.lie == "mute":
                    unit.gone.wait(30)
                self.send_response(500 if unit.lie == "broken" else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.gone.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class Lab:
    """One lab; its places are `pump` and `desk`, each with a power port, the first with two multiplexers."""

    def __init__(self, folder: Path) -> None:
        assert CLIENT.exists(), "labgrid's environment is not there: make labgrid"
        self.folder = folder
        self.unit = PowerUnit()
        self.medium = folder / "medium.bin"
        self.card = folder / "card"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LG_")},
            "PATH": f"{folder / 'shims'}:{os.environ['PATH']}",
            "no_proxy": "127.0.0.1,localhost",
        }
        self._running: list[subprocess.Popen[bytes]] = []
        self._serve_ssh()
        coordinator = self._start("coordinator", "-l", "127.0.0.1:0")
        self.coordinator = self._says(coordinator, rb"listening on (127\.0\.0\.1:\d+)").decode()
        (folder / "exported.yaml").write_text(EXPORTED.format(port=self.unit.port))
        at = ("-c", self.coordinator, "-n", "lab", "--hostname", "lab", "exported.yaml")
        self._says(self._start("exporter", *at), rb"(Exporter ready)")
        for place, groups in {"pump": ("pump", "card"), "desk": ("desk",)}.items():
            self.client(place, "create")
            self.client(place, "add-match", *(f"lab/{group}/*" for group in groups))

    def client(self, place: str, *command: str, user: str = "", check: bool = True) -> str:
        """What somebody at another shell does with labgrid's client; what it says."""
        environment = self.environment | ({"LG_USERNAME": user} if user else {})
        done = subprocess.run(
            [CLIENT, "-x", self.coordinator, "-p", place, *command],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0 or not check, done.stdout
        return done.stdout

    def owner(self, place: str = "pump") -> str:
        """Who has a place: host/user, or `None`."""
        said = re.search(r"(?m)^  acquired: (.+)$", self.client(place, "show"))
        assert said is not None
        return said[1]

    def switched(self) -> list[str]:
        """What the tools of the multiplexers were told, since the last time."""
        log = self.folder / "mux.log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def close(self) -> None:
        self.unit.close()
        for process in reversed(self._running):
            process.terminate()
            try:
                process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()

    def _start(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{name}.log").open("wb")
        with log:
            process = subprocess.Popen(
                [BIN / f"labgrid-{name}", *options],
                cwd=self.folder, env={**self.environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._running.append(process)
        return process

    def _says(self, process: subprocess.Popen[bytes], pattern: bytes) -> bytes:
        log = self.folder / ("coordinator.log" if len(self._running) == 2 else "exporter.log")
        deadline = time.monotonic() + 60
        while (found := re.search(pattern, log.read_bytes())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            select.select([], [], [], 0.05)
        return found[1]

    def _serve_ssh(self) -> None:
        """OpenSSH's server on loopback, and an `ssh` that knows the exporter's host name, `lab`, by it."""
        folder = self.folder
        keys = {name: _make_key(folder / name) for name in ("host", "user")}
        (folder / "authorized_keys").write_text(keys["user"])
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        tools = folder / "tools"
        tools.mkdir()
        for tool in ("usbsdmux", "usbmuxctl"):
            (tools / tool).write_text(MUX.format(folder=folder))
            (tools / tool).chmod(0o755)
        (folder / "sshd.conf").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
            f"AuthorizedKeysFile {folder}/authorized_keys\nPermitRootLogin yes\nSetEnv PATH={tools}:/usr/bin:/bin\n"
        )
        (folder / "known_hosts").write_text(f"lab {keys['host']}")
        (folder / "ssh.conf").write_text(
            f"Host lab\n HostName 127.0.0.1\n HostKeyAlias lab\n Port {port}\n User {getpass.getuser()}\n"
            f" IdentityFile {folder}/user\n IdentitiesOnly yes\n UserKnownHostsFile {folder}/known_hosts\n"
        )
        shims = folder / "shims"
        shims.mkdir()
        (shims / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh.conf "$@"\n')
        (shims / "ssh").chmod(0o755)
        Path("/run/sshd").mkdir(exist_ok=True)
        program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program is not None, "openssh-server is not installed"
        with (folder / "sshd.log").open("wb") as log:
            self._running.append(subprocess.Popen([program, "-D", "-e", "-f", str(folder / "sshd.conf")], stderr=log))
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            assert time.monotonic() < deadline, (folder / "sshd.log").read_text()
            select.select([], [], [], 0.05)


def _make_key(path: Path) -> str:
    key = ed25519.Ed25519PrivateKey.generate()
    kind = serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(*kind))
    path.chmod(0o600)
    public = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return key.public_key().public_bytes(*public).decode() + "\n"
