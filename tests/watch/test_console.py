"""Death strings on a real line: split over reads, and echoed payloads that only spell one."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

from harness.capture import NullTap
from harness.links.serial import open_serial
from harness.watch import ConsoleWatch, IncidentKind


def watched(folder: str, exchange: list[tuple[bytes, list[bytes]]]) -> list[str]:
    """Let a peer answer on a unix socket what is sent; return the details of the incidents."""
    path = f"{folder}/c.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(1)
        stream = open_serial(f"unix:{path}", baudrate=115200, name="console", tap=NullTap())
        peer, _ = server.accept()
        watch = ConsoleWatch(stream, patterns=["Kernel panic", "terminated by signal"], sent=lambda: stream.sent_lately)
        with peer:
            for sent, answers in exchange:
                if sent:
                    stream.send(sent)
                for answer in answers:
                    mark = stream.mark()
                    peer.sendall(answer)
                    stream.read_at_least(len(answer), since=mark, timeout=5)
            deadline = time.monotonic() + 2
            while watch.report().samples < sum(len(a) for _, answers in exchange for a in answers):
                assert time.monotonic() < deadline
            report = watch.report()
        stream.close()
    assert {incident.kind for incident in report.incidents} <= {IncidentKind.DEATH}
    return [incident.detail for incident in report.incidents]


def test_a_death_string_is_seen_once_even_split(tmp_path: object) -> None:
    assert watched(str(tmp_path), [(b"", [b"boot\r\nKernel pa", b"nic - not syncing\r\n", b"more\r\n"])]) == [
        "Kernel panic - not syncing"
    ]


def test_an_echo_of_what_was_sent_is_no_death(tmp_path: object) -> None:
    assert watched(str(tmp_path), [(b"Kernel panic\r", [b"Kernel panic\r\nerror: unknown command\r\n"])]) == []


def test_a_file_on_the_line_is_nothing_the_device_says(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(1)
        stream = open_serial(f"unix:{path}", baudrate=115200, name="console", tap=NullTap())
        peer, _ = server.accept()
    watch = ConsoleWatch(stream, patterns=["Kernel panic"], sent=lambda: b"")

    def say(text: bytes) -> list[str]:
        wanted = watch.report().samples + len(text)
        peer.sendall(text)
        deadline = time.monotonic() + 5
        while watch.report().samples < wanted:
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)
        return [incident.detail for incident in watch.report().incidents]

    with peer:
        with stream.file_transfer():
            assert say(b"log: Kernel panic of last year, Kernel ") == []
        assert say(b"panic\r\n") == []
        assert say(b"Kernel panic\r\n") == ["Kernel panic"]
        stream.close()


def test_ordinary_output_is_no_incident(tmp_path: object) -> None:
    assert watched(str(tmp_path), [(b"status\r", [b"status\r\nstate: infusing\r\nok\r\nVP-1> "])]) == []
