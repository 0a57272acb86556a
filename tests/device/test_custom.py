"""A surface of one's own: the class in the documentation as an installed package, and packages of the wrong shape."""

from __future__ import annotations

import os
import re
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.readiness import check_ready
from harness.rig.loading import load_rig
from harness.verdict import EXIT_INCONCLUSIVE, EXIT_USAGE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/custom-surface.md").read_text(encoding="utf-8")
DEVICE = """\
device: beacon
manufacturer: B
model: beacon
kind: beacon
version: '1.0'
identity: beacon
links: [line]
surfaces:
  beacon:
    type: custom
    link: line
    entry_point: beacon
    options: {greeting: HELLO}
claims:
  VERSION:
    type: version
    surfaces: [beacon]
    pattern: '\\d\\.\\d'
    source: {document: D, revision: '1', section: '1'}
    status: approved
"""
LOG_IN = """\
  door:
    type: custom-log-in
    link: line
    entry_point: door
    accounts: []
    actions: {}
    fields: {}
"""
RIG = """\
rig: beacon
device: device.yaml
item: {serial: B7, grade: emulated}
targets: [127.0.0.1]
answer_within: 2
control: {type: command, power_on: [touch, powered], power_off: [rm, powered]}
links:
  line: {type: tcp, host: 127.0.0.1, port: PORT}
"""
TESTCASE = """\
from harness.case import Case
from harness.rig.claims import VersionClaim
from harness.testcase import About, each_surface, testcase, verifies
import re

@testcase("VERSION-SHOWN", title="The version is shown", tags=[verifies("NMPA-2022/VER-RULE")],
          about=About(property="integrity", phase="design", method="function", threat="none"))
@each_surface(VersionClaim)
def test_version(case: Case, claim_id: str, surface: str) -> None:
    case.attack(surface, "a read")
    version = case.value(case.bench.surface(surface).read("version"), "the version")
    case.check("the version", held=version == "1.0", expected="1.0", observed=version, claim=claim_id)
"""
MODULE = """\
from pydantic import BaseModel
from harness.device.custom import CustomLogInSurface, CustomSurface

class Half(CustomSurface):
    def read(self, field): ...

class Other(CustomSurface):
    def __init__(self, port): ...
    def read(self, field): ...
    def contrast(self): ...

class Door(CustomLogInSurface):
    def words(self, outcome): ...

number = 7
"""

PANEL = """\
import re
from harness.device.answer import Answer
from harness.device.custom import CustomLogInSurface
from harness.device.log_in import Entrance, Session
from harness.device.outcomes import Accepted, NoAnswer, Refused, SessionRefused, Unintelligible

class Panel(CustomLogInSurface):
    announces_log_off = False

    def try_log_in(self, user, password):
        entrance = self.enter()
        outcome = entrance.attempt(user, password)
        if not isinstance(outcome, Accepted):
            entrance.close()
        return outcome

    def enter(self):
        return Hall(self)

    def words(self, outcome):
        return outcome.received

    def denied(self, outcome):
        return None

    def ended(self, outcome):
        return None

    def ask(self, stream, text):
        sent, since = text.encode() + b"\\n", stream.mark()
        stream.send(sent)
        found = stream.expect(re.compile(rb"[^\\n]*\\n"), since=since, timeout=self.wiring.answer_within)
        if found is None:
            return NoAnswer(sent=sent)
        said = re.fullmatch(rb"(OK|NO)((?: \\w+=[\\w.]+)*)\\n", found.data)
        if said is None:
            return Unintelligible(sent=sent, received=found.data)
        if said[1] == b"NO":
            return SessionRefused("refused", sent=sent, received=found.data)
        values = tuple(tuple(pair.split("=")) for pair in said[2].decode().split())
        return Accepted(Answer(lines=values, text=found.data), sent=sent, received=found.data)

class Hall(Entrance):
    def __init__(self, surface):
        self.surface = surface
        self.stream = surface.wiring.open_stream(surface.spec.link)

    def attempt(self, user, password=None):
        password = self.surface.accounts[user].password if password is None else password
        said = self.surface.ask(self.stream, f"LOGIN {user} {password}")
        outcome = Accepted(Inside(self, user), said.sent, said.received) if isinstance(said, Accepted) else said
        self.surface.observe(f"log in {user}", outcome)
        return outcome

    def do(self, action):
        return self.surface.ask(self.stream, action)

    def close(self):
        self.surface.wiring.close_stream(self.surface.spec.link, self.stream)

class Inside(Session):
    def __init__(self, hall, account):
        self.hall, self.account = hall, account

    def do(self, action, *args, octets=None, **named):
        outcome = self.hall.do(action)
        self.hall.surface.observe(action, outcome)
        return outcome

    def unknown(self):
        return self.do("xyzzy")

    def log_out(self):
        said = self.do("logout")
        self.drop()
        return Accepted(None, said.sent, said.received) if isinstance(said, Accepted) else said

    def drop(self):
        self.hall.close()

    def wait_logged_off(self, *, timeout):
        return None

    def over(self, *, within):
        return isinstance(self.do("status"), Refused)
"""
PANEL_DEVICE = """\
device: panel
manufacturer: B
model: panel
kind: panel
version: '1.0'
identity: panel
accounts: {ann: {role: boss, password: right-horse-7}}
links: [line]
surfaces:
  panel:
    type: custom-log-in
    link: line
    entry_point: panel
    accounts: [ann]
    actions: {status: {}}
    fields:
      model: {action: status, name: model}
      serial: {action: status, name: serial}
      version: {action: status, name: version}
      uptime: {action: status, name: uptime, scale: 0.001}
claims:
  VERSION:
    type: version
    surfaces: [panel]
    pattern: '\\d\\.\\d'
    source: {document: D, revision: '1', section: '1'}
    status: approved
"""


class Beacon(socketserver.StreamRequestHandler):
    """The device of the documentation; `lie` is what it says instead."""

    server: BeaconServer

    def handle(self) -> None:
        inside = False
        for line in self.rfile:
            if self.server.lie is None and line.split() != [b"HELLO"]:
                inside = line == b"LOGIN ann right-horse-7\n" or (inside and line != b"logout\n")
                self.wfile.write(self.said_to(line) if inside or line == b"logout\n" else b"NO\n")
                continue
            uptime = round((time.monotonic() - self.server.since) * 1000)
            right = b"BEACON B7 1.0 %d\n" % uptime if line == b"HELLO\n" else b"NO\n"
            self.wfile.write(right if self.server.lie is None else self.server.lie)

    def said_to(self, line: bytes) -> bytes:
        """What the panel answers to somebody who is logged in."""
        uptime = round((time.monotonic() - self.server.since) * 1000)
        status = b"OK model=panel serial=B7 version=1.0 uptime=%d\n" % uptime
        return {b"status\n": status, b"xyzzy\n": b"NO\n"}.get(line, b"OK\n")


class BeaconServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    lie: bytes | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Beacon)
        self.since = time.monotonic()


@pytest.fixture
def beacon() -> Iterator[BeaconServer]:
    server = BeaconServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def place(tmp_path: Path, beacon: BeaconServer) -> Path:
    """A folder with rig, device file and testcase, and a folder `site` with the packages installed."""
    (tmp_path / "device.yaml").write_text(DEVICE)
    (tmp_path / "rig.yaml").write_text(RIG.replace("PORT", str(beacon.server_address[1])))
    (tmp_path / "test_version.py").write_text(TESTCASE)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib -p no:cacheprovider\n")
    code = re.search(r"(?ms)^```python\n(.*?)^```", PAGE)
    declared = re.search(r"(?ms)^```toml\n\[project\.entry-points\.\"(.+?)\"\]\n(\w+) = \"(.+?)\"\n```", PAGE)
    assert code
    assert declared
    install(tmp_path / "site", "beacon", code[1], f"[{declared[1]}]\n{declared[2]} = {declared[3]}\n")
    wrong = {"half": "wrong:Half", "other": "wrong:Other", "number": "wrong:number", "gone": "nowhere:X"}
    wrong |= {"missing": "wrong:Missing", "door": "wrong:Door", "broken": "broken:X"}
    entries = "".join(f"{name} = {value}\n" for name, value in wrong.items())
    install(tmp_path / "site", "wrong", MODULE, f"[proofrig.surfaces]\n{entries}")
    (tmp_path / "site/broken.py").write_text("raise SystemError('half of it is missing')\n")
    return tmp_path


def install(site: Path, name: str, code: str, entry_points: str) -> None:
    """Leave in `site` what an installer leaves of a package with one module."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{name}.py").write_text(code)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


def proofrig(place: Path, *words: str) -> tuple[int, str]:
    """Run the command where the packages are installed; return exit code and output, in lines as they are."""
    environment = {**os.environ, "PYTHONPATH": str(place / "site"), "COLUMNS": "400", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", *words],
        cwd=place, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_the_class_of_the_documentation_is_a_surface(place: Path) -> None:
    code, output = proofrig(place, "rig", "check", "rig.yaml")
    assert code == 0, output
    assert "read uptime" in output
    assert "refused" in output
    assert "identity: beacon B7 1.0" in output


def test_a_testcase_passes_on_it(place: Path) -> None:
    code, output = proofrig(place, "run", "rig.yaml", "test_version.py", "--no-html")
    assert code == 0, output
    assert "PASS" in output


def test_people_log_in_on_a_class_of_ones_own(place: Path) -> None:
    install(place / "site", "panel", PANEL, "[proofrig.surfaces]\npanel = panel:Panel\n")
    (place / "device.yaml").write_text(PANEL_DEVICE)
    code, output = proofrig(place, "rig", "check", "rig.yaml")
    assert code == 0, output
    assert "log in ann" in output
    assert "identity: panel B7 1.0" in output
    code, output = proofrig(place, "run", "rig.yaml", "test_version.py", "--no-html")
    assert code == 0, output


@pytest.mark.parametrize(
    "lie", [b"NO\n", b"BEACON B7 1.0 7\n", b"HELLO\n", b""], ids=["refuse", "stale", "echo", "mute"]
)
def test_a_liar_does_not_pass_on_it(place: Path, beacon: BeaconServer, lie: bytes) -> None:
    beacon.lie = lie
    code, output = proofrig(place, "run", "rig.yaml", "test_version.py", "--no-html")
    assert code == EXIT_INCONCLUSIVE, output


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "words"),
    [
        ("entry_point: beacon", "entry_point: becon", 12, "entry_point", "did you mean 'beacon'?"),
        ("entry_point: beacon", "entry_point: gone", 12, "entry_point", "nowhere:X cannot be imported"),
        ("entry_point: beacon", "entry_point: broken", 12, "entry_point", "half of it is missing"),
        ("entry_point: beacon", "entry_point: missing", 12, "entry_point", "wrong:Missing cannot be imported"),
        ("entry_point: beacon", "entry_point: number", 12, "entry_point", "no class that derives from"),
        ("entry_point: beacon", "entry_point: door", 12, "entry_point", "harness.device.custom.CustomSurface"),
        ("entry_point: beacon", "entry_point: half", 12, "entry_point", "does not define contrast"),
        ("entry_point: beacon", "entry_point: other", 12, "entry_point", "cannot be made"),
        ("greeting: HELLO", "greting: HELLO", 13, "options", "greeting"),
        ("greeting: HELLO", "greeting: 7", 13, "options.greeting", "string"),
        ("greeting: HELLO", "greeting: HELLO, colour: red", 13, "options.colour", "unknown option 'colour'"),
        ("claims:\n", f"{LOG_IN}claims:\n", 17, "surfaces.door.entry_point", "does not define denied, ended, enter"),
    ],
)
def test_what_has_the_wrong_shape_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, line: int, key: str, words: str
) -> None:
    monkeypatch.syspath_prepend(place / "site")
    for module in ("beacon", "wrong", "broken"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    text = (place / "device.yaml").read_text()
    assert old in text
    (place / "device.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        check_ready(load_rig(place / "rig.yaml"))
    said = str(caught.value).splitlines()[0]
    assert said.startswith(f"{place / 'device.yaml'}:{line}: ")
    assert key in said
    assert words in said


@pytest.mark.parametrize("command", [["rig", "check", "rig.yaml"], ["run", "rig.yaml", "test_version.py", "--no-html"]])
def test_it_is_said_before_any_power(place: Path, command: list[str]) -> None:
    text = (place / "device.yaml").read_text()
    (place / "device.yaml").write_text(text.replace("entry_point: beacon", "entry_point: half"))
    code, output = proofrig(place, *command)
    assert code == EXIT_USAGE, output
    assert "device.yaml:12: surfaces.beacon.entry_point: wrong:Half does not define contrast" in output
    assert "Traceback" not in output
    assert not (place / "powered").exists()
