"""The sham VP-1: behaves on its interfaces like the pump of VP1-ICD, or lies. See README.md.

Start it in a private network namespace that has the addresses:

    python tests/sham/device.py --run-dir DIR --address 192.0.2.10 --address6 2001:db8::10

It prints `ready` when all interfaces are there, and ends with its standard signals.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine
from functools import cache
from pathlib import Path

import paramiko
from lies import LIES
from lines import Line
from ports import Agent, CanHub, Hub, Stream, TcpPort, listen_unix
from pump import Pump
from ssh_server import SshServer
from state import WEAKNESSES
from unit_keys import tls_context

KEYS = Path(__file__).parent / "keys"
MODBUS_CONNECTIONS = 8
HTTPS_CONNECTIONS = 16
HANDSHAKE_S = 30.0
GREETING = b"vp1 debug 0.9\r\n> "


class KeptContext:
    """The TLS context of the key there is now, made anew only when the key is another."""

    def __init__(self, key: Callable[[], str]) -> None:
        self._key = key
        self._made = cache(tls_context)

    @property
    def now(self) -> ssl.SSLContext:
        """The context."""
        return self._made(self._key())


class Network:
    """The TCP ports, and what an accepted connection becomes."""

    def __init__(self, pump: Pump, *, addresses: list[str], ssh: SshServer) -> None:
        self._pump = pump
        self._ssh = ssh
        self._tasks: set[asyncio.Task[object]] = set()
        self._ports = [
            TcpPort(22, addresses=addresses, accepted=self._accept_ssh),
            TcpPort(443, addresses=addresses, accepted=self._accept_https),
            TcpPort(502, addresses=addresses, accepted=self._accept_modbus),
        ]
        if "undeclared-port" in pump.weaknesses:
            self._ports.append(TcpPort(2323, addresses=addresses, accepted=self._accept_undeclared))
        self._patch_port = TcpPort(8023, addresses=addresses, accepted=self._accept_undeclared)
        pump.on_ports = self._set
        self._tls = KeptContext(lambda: pump.key("tls"))
        self._https_open = 0

    def _set(self, is_open: bool) -> None:
        for port in self._ports:
            if is_open:
                port.open()
            else:
                port.close()
        if is_open and "patch-opens-port" in self._pump.weaknesses and self._pump.patched:
            self._patch_port.open()
        else:
            self._patch_port.close()

    def _accept_ssh(self, connection: socket.socket, peer: str) -> None:
        if self._pump.wire.answers_ssh:
            self._ssh.accept(connection, peer)
        else:
            self._stream(connection, "tcp", peer)

    def _accept_https(self, connection: socket.socket, peer: str) -> None:
        if not self._pump.wire.answers_tls:
            self._stream(connection, "tcp", peer)
        elif self._https_open >= HTTPS_CONNECTIONS:
            connection.close()
        else:
            self._https_open += 1
            self._keep(self._serve_https(connection, peer))

    async def _serve_https(self, connection: socket.socket, peer: str) -> None:
        closed = asyncio.Event()

        def over(line: Line) -> None:
            self._pump.disconnect(line)
            closed.set()

        stream = Stream(
            opened=lambda write, end: self._pump.connect("https", name=peer, write=write, hang_up=end), closed=over
        )
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: stream,
                connection,
                ssl=self._tls.now,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=1.0,
            )
            await closed.wait()
        except OSError:
            pass  # no TLS, or the client went away
        finally:
            self._https_open -= 1

    def _accept_modbus(self, connection: socket.socket, peer: str) -> None:
        if self._pump.connections("modbus") >= MODBUS_CONNECTIONS:
            connection.close()
        else:
            self._stream(connection, "modbus", peer)

    def _accept_undeclared(self, connection: socket.socket, peer: str) -> None:
        self._stream(connection, "tcp", peer, greeting=GREETING)

    def _stream(
        self,
        connection: socket.socket,
        kind: str,
        peer: str,
        *,
        greeting: bytes = b"",
    ) -> None:
        def opened(write: Callable[[bytes], None], hang_up: Callable[[], None]) -> Line:
            line = self._pump.connect(kind, name=peer, write=write, hang_up=hang_up)
            if greeting:
                line.send(greeting)
            return line

        stream = Stream(opened=opened, closed=self._pump.disconnect)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        self._keep(loop.connect_accepted_socket(lambda: stream, connection))

    def _keep(self, work: Coroutine[object, object, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def agent_answer(pump: Pump, line: str, *, lie_file: Path | None) -> str:
    """Answer one line of the bench agent's."""
    match line.split():
        case ["ping"]:
            return "pong"
        case ["weaknesses"]:
            return "weaknesses: " + (",".join(sorted(pump.weaknesses)) or "-")
        case ["sync"]:
            pump.sync()
        case ["reseed", seed]:
            pump.rng.seed(seed)
        case ["clock", moment] if moment.replace(".", "", 1).isdigit():
            pump.clock.set_chip(float(moment))
        case ["control", "lie", mode] if mode in LIES:
            pump.set_lie(mode)
            if lie_file is not None:
                lie_file.write_text(mode, encoding="utf-8")
        case ["control", "lie-after", count] if count.isdigit():
            pump.mute_after(int(count))
        case ["break", "console" | "rtu"]:
            pass  # the pump ignores a break
        case ["control", "mode"]:
            return f"mode: {pump.lie}"
        case ["control", "storage"]:
            return str(pump.storage.resolve()) if pump.storage else "error: no storage, started without --data"
        case ["control", "power-cycle"]:
            pump.power_on()
        case ["control", "restore"]:
            pump.restore()
        case _:
            return "error: unknown request"
    return "ok"


async def serve(arguments: argparse.Namespace) -> None:
    """Run until a signal says stop."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    client_key = paramiko.Ed25519Key.from_private_key_file(str(KEYS / "client_ed25519"))
    pump = Pump(
        loop=loop,
        rng=random.Random(arguments.seed),
        weaknesses=arguments.weakness,
        data_path=arguments.data,
        authorised_key=client_key.asbytes(),
    )
    ssh = SshServer(pump, loop=loop)
    addresses = [address for address in (arguments.address, arguments.address6) if address]
    network = Network(pump, addresses=addresses, ssh=ssh)
    hubs = {
        "console.sock": Hub(pump.console),
        "rtu.sock": Hub(pump.rtu),
        "can.sock": CanHub(pump.can),
        "agent.sock": Agent(lambda line: agent_answer(pump, line, lie_file=arguments.lie_file)),
    }
    servers = [await listen_unix(arguments.run_dir / name, hub) for name, hub in hubs.items()]
    lie = arguments.lie
    if arguments.lie_file is not None and arguments.lie_file.exists():
        lie = arguments.lie_file.read_text(encoding="utf-8").strip()
    pump.set_lie(lie)
    pump.power_on()
    pump.run()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await stop.wait()
    del network, servers


def _weaknesses(text: str) -> frozenset[str]:
    names = frozenset(name for name in text.split(",") if name not in ("", "-"))
    if unknown := names - WEAKNESSES:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return names


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="Sham VP-1 infusion pump, honest or lying.")
    parser.add_argument("--run-dir", type=Path, required=True, help="where its unix sockets go")
    parser.add_argument("--address", default="192.0.2.10")
    parser.add_argument("--address6", default="2001:db8::10", help="empty for none")
    parser.add_argument("--lie", choices=LIES, default="honest")
    parser.add_argument(
        "--lie-file", type=Path, metavar="FILE", help="keeps the lie told by the agent between starts; wins over --lie"
    )
    parser.add_argument("--weakness", type=_weaknesses, default=frozenset(), metavar="NAME,…")
    parser.add_argument("--seed", type=int, help="of everything random; default: the host's entropy")
    parser.add_argument("--data", type=Path, metavar="FILE", help="keeps the data partition between starts")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
