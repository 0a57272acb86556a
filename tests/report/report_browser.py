"""Pages opened in real Chromium, all of whose requests go to a proxy on the loopback that writes them down."""

from __future__ import annotations

import re
import shutil
import socketserver
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

HOST = "report.test"

#: What Chromium asks for on its own account, whatever page is open.
_CHROMIUM_ITSELF = re.compile(r"(^|\.)(google(apis)?|gvt1|gstatic)\.com(:\d+)?$")


@dataclass(frozen=True)
class Visit:
    """What a page became, and which hosts it asked for beside its own."""

    dom: str
    foreign: tuple[str, ...]

    @property
    def owned(self) -> bool:
        """Whether a script of the hostile device ran."""
        return "data-owned" in self.dom[: self.dom.index(">", self.dom.index("<html"))]


def visit(page: Path, *, fragment: str = "") -> Visit:
    """Open `page` as http://report.test/ and return what became of it."""
    program = shutil.which("chromium")
    assert program, "chromium is not installed: run `make setup`"
    with _Proxy(page) as proxy, tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [
                program,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                f"--user-data-dir={profile}",
                f"--proxy-server=127.0.0.1:{proxy.server_address[1]}",
                "--proxy-bypass-list=<-loopback>",
                "--virtual-time-budget=6000",
                "--dump-dom",
                f"http://{HOST}/{'#' + fragment if fragment else ''}",
            ],
            capture_output=True,
            timeout=60,
            check=True,
        )
    asked = {host for host in proxy.asked if host != HOST and not _itself(host)}
    return Visit(done.stdout.decode(), tuple(sorted(asked)))


def _itself(host: str) -> bool:
    """Chromium's own calls home; www.googletagmanager.com, which Allure asks for, is not among them."""
    return bool(_CHROMIUM_ITSELF.search(host))


class _Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, page: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.page = page.read_bytes()
        self.asked: list[str] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> _Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join(5)
        self.server_close()


class _Handler(socketserver.StreamRequestHandler):
    timeout = 10
    server: _Proxy

    def handle(self) -> None:
        line = self.rfile.readline(10_000).decode("latin-1").split()
        if len(line) < 2:
            return
        method, target = line[:2]
        host = target if method == "CONNECT" else target.split("/")[2]
        self.server.asked.append(host)
        while self.rfile.readline(10_000).strip():
            pass
        if host == HOST and target.endswith(f"{HOST}/"):
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(self.server.page)}\r\n\r\n"
            self.wfile.write(head.encode() + self.server.page)
        else:
            self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
