"""The surface of framed messages against a peer that answers what a test tells it, over TCP and over a shared line."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.device import make_surface
from harness.device.framing import Codec
from harness.device.messages import MessageSession, MessageSurface
from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, Unintelligible
from harness.errors import UsageError
from harness.links.dialer import HostDialer
from harness.rig.loading import load_rig
from harness.rig.message_surface import Checksum, Framing
from harness.wiring import RigWiring

CODEC = Codec(Framing(start="$", end="\r\n", checksum=Checksum(algorithm="xor8", separator="*")))

DEVICE = """
device: toy
manufacturer: m
model: T-1
kind: toy
version: "1"
identity: line
accounts: {ann: {role: user, password: 8812-a}, bob: {role: user, password: 4410-b}}
links: [line]
surfaces:
  line:
    type: messages
    link: line
    accounts: [ann, bob]
    framing: {start: $, end: "\\r\\n", longest: 60, charset: utf-8, checksum: {algorithm: xor8, separator: '*'}}
    login:
      send: 'IN {account} {password}'
      accepted_when: IN OK
      refused_when: IN NO.*
      locked_when: IN LOCKED
      full_when: IN FULL
      logged_off_when: BYE
      log_out: OUT
    accepted_when: '\\w+ OK.*'
    refused_when: '\\w+ NO ?(?P<reason>.*)'
    denied_when: '\\w+ NO ROLE'
    over_when: '\\w+ NO LOGIN'
    unasked: 'EVENT.*'
    part: 'ROW (?P<row>.*)'
    values: '(?P<name>log)=(?P<value>[^;]*)'
    actions:
      uptime: {send: UP, accepted_when: 'UP OK (?P<s>\\d+)'}
      log: {send: LOG}
      rows: {send: ROWS}
      help: {send: HELP, open: true}
      ward: {send: 'WARD {ward} {bed} {serial}', args: {ward: A}}
    fields:
      uptime: {action: uptime, name: s, scale: 1}
      log: {action: log, name: log}
claims: {}
"""
RIG = """
rig: toy
device: device.yaml
item: {serial: "7", grade: emulated}
targets: [127.0.0.1]
answer_within: 0.3
links:
  line: LINK
"""
LINKS = {"tcp": "{type: tcp, host: 127.0.0.1, port: PORT}", "line": "{type: serial, port: 'socket://127.0.0.1:PORT'}"}

ANSWERS: dict[str, bytes] = {
    "IN ann 8812-a": CODEC.frame(b"IN OK"),
    "IN bob 4410-b": CODEC.frame(b"IN OK"),
    "IN ann locked": CODEC.frame(b"IN LOCKED"),
    "IN ann full": CODEC.frame(b"IN FULL"),
    "IN ann hm": CODEC.frame(b"IN PERHAPS"),
    "OUT": CODEC.frame(b"OUT OK"),
    "UP": CODEC.frame(b"UP OK 12"),
    "LOG": CODEC.frame("LOG OK log=1 café;log=2 b".encode()),
    "WARD A 3 7": CODEC.frame(b"WARD OK"),
}
HALF = CODEC.frame(b"UP OK 12")


class Peer(socketserver.ThreadingTCPServer):
    """Answers by text; `IN` with anything else is refused, so is every other message."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Talk)
        self.answers = dict(ANSWERS)
        self.asked: list[str] = []
        self.hang_up: set[str] = set()


class Talk(socketserver.StreamRequestHandler):
    server: Peer

    def handle(self) -> None:
        for line in self.rfile:
            found = CODEC.first(line)
            text = found.body.decode() if found and not found.fault else "?"
            self.server.asked.append(text)
            if text in self.server.hang_up:
                return
            refusal = b"IN NO" if text.startswith("IN ") else b"X NO SUCH"
            self.wfile.write(self.server.answers.get(text, CODEC.frame(refusal)))


@pytest.fixture
def peer() -> Iterator[Peer]:
    server = Peer()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def make(peer: Peer, tmp_path: Path) -> Iterator[Callable[[str], MessageSurface]]:
    (tmp_path / "device.yaml").write_text(DEVICE)
    wirings: list[RigWiring] = []

    def of(link: str) -> MessageSurface:
        text = RIG.replace("LINK", LINKS[link]).replace("PORT", str(peer.server_address[1]))
        (tmp_path / "rig.yaml").write_text(text)
        rig = load_rig(tmp_path / "rig.yaml")
        wirings.append(
            RigWiring(rig, dialer=HostDialer(), port_of=str, break_of=lambda _: None, captures=tmp_path, prefix=link)
        )
        surface = make_surface("line", wirings[-1], device=rig.device)
        assert isinstance(surface, MessageSurface)
        return surface

    yield of
    for wiring in wirings:
        wiring.close()


@pytest.fixture(params=list(LINKS))
def door(request: pytest.FixtureRequest, make: Callable[[str], MessageSurface]) -> MessageSurface:
    return make(request.param)


def inside(outcome: Outcome[MessageSession]) -> MessageSession:
    assert isinstance(outcome, Accepted), outcome
    return outcome.value


def test_a_session_from_log_in_to_log_out(door: MessageSurface, peer: Peer) -> None:
    session = inside(door.log_in("ann"))
    uptime = door.read_in(session, "uptime")
    assert isinstance(uptime, Accepted)
    assert uptime.value == 12.0
    log = session.do("log")
    assert isinstance(log, Accepted)
    assert log.value.all("log") == ["1 café", "2 b"]
    assert isinstance(session.do("ward", bed="3"), Accepted)
    assert isinstance(session.unknown(), Refused)
    assert isinstance(session.log_out(), Accepted)
    assert peer.asked[-6:] == ["IN ann 8812-a", "UP", "LOG", "WARD A 3 7", "XYZZY", "OUT"]
    assert isinstance(door.probe(), Accepted)


def test_log_ins_are_told_apart(door: MessageSurface) -> None:
    for password, reason in (("no", "refused"), ("locked", "locked"), ("full", "full")):
        outcome = door.try_log_in("ann", password)
        assert isinstance(outcome, Refused)
        assert outcome.reason == reason
    assert isinstance(door.try_log_in("ann", "hm"), Unintelligible)


@pytest.mark.parametrize(
    ("answer", "kind", "denied", "over"),
    [
        (b"UP NO ROLE", "ROLE", True, False), (b"UP NO LOGIN", "LOGIN", False, True),
        (b"UP NO WAY", "WAY", False, False),
        (b"UP NO", "refused", False, False),
    ],
)  # fmt: skip
def test_refusals_are_told_apart(
    door: MessageSurface, peer: Peer, answer: bytes, kind: str, denied: bool, over: bool
) -> None:
    session = inside(door.log_in("ann"))
    peer.answers["UP"] = CODEC.frame(answer)
    outcome = session.do("uptime")
    assert isinstance(outcome, Refused)
    assert (outcome.reason, door.denied(outcome), door.ended(outcome)) == (kind, denied, over)
    assert session.over(within=0) == over


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (CODEC.frame(b"UP OK 12", checksum=b"00"), "checksum"),
        (CODEC.frame(b"UP OK 12") * 2, "more than one"),
        (CODEC.frame(b"UP OK"), "neither"),
        (CODEC.frame(b"LOG OK log=1"), "neither"),
        (CODEC.frame(b"\xff\xfe"), "not utf-8"),
        (HALF[:-3], "no whole message"),
        (b"noise without a start\r\n", "no whole message"),
        (b"$" + b"A" * 5000, "without an end"),
        (CODEC.frame(b"UP OK 1" + b"0" * 60), "instead of 60"),
        (b"UP\r\n" * 20_000, "no answer"),
        (CODEC.frame(b"UP"), "neither"),
    ],
    ids=["checksum", "two", "wrong pattern", "another action's", "charset", "half", "no start", "endless", "too long",
         "babble", "echo"],
)  # fmt: skip
def test_what_is_no_answer_is_unintelligible(door: MessageSurface, peer: Peer, answer: bytes, words: str) -> None:
    session = inside(door.log_in("ann"))
    peer.answers["UP"] = answer
    outcome = session.do("uptime")
    assert isinstance(outcome, Unintelligible), outcome
    assert words in outcome.reason
    # The next answer is the next request's.
    assert isinstance(session.do("log"), Accepted)


def test_silence_is_no_answer_and_a_late_one_is_not_the_next(door: MessageSurface, peer: Peer) -> None:
    session = inside(door.log_in("ann"))
    peer.answers["UP"] = b""
    assert isinstance(session.do("uptime"), NoAnswer)
    assert isinstance(session.do("log"), Accepted)


def test_messages_nobody_asked_for_are_no_answers(door: MessageSurface, peer: Peer) -> None:
    session = inside(door.log_in("ann"))
    event = CODEC.frame(b"EVENT 1")
    peer.answers["UP"] = event + CODEC.frame(b"UP OK 12") + event
    outcome = session.do("uptime")
    assert isinstance(outcome, Accepted), outcome
    assert outcome.value.get("s") == "12"


def test_two_refusals_are_alike_whatever_the_device_says_by_itself(door: MessageSurface, peer: Peer) -> None:
    """A status message beside one of them, whole or only begun, made a device tell its accounts apart."""
    event, refusal = CODEC.frame(b"EVENT 3"), CODEC.frame(b"IN NO")
    peer.answers |= {
        "IN ann no": event + refusal + event[:4],
        "IN eve no": refusal + event,
        "IN mal no": b"?" + event + refusal,
        "IN who no": CODEC.frame(b"IN NO SUCH"),
    }
    ann, eve, mal, who = (door.words(door.try_log_in(user, "no")) for user in ("ann", "eve", "mal", "who"))
    ends = door.exchange.asked_for(event + b"\r\n" + refusal + b"\r\n" + event)
    assert ends == refusal
    assert door.exchange.asked_for(b"no such user\r\n") == b"no such user\r\n"
    assert ann == eve == refusal
    assert mal == b"?" + refusal
    assert who == CODEC.frame(b"IN NO SUCH")


def test_an_answer_may_come_in_parts(door: MessageSurface, peer: Peer) -> None:
    session = inside(door.log_in("ann"))
    rows = [CODEC.frame(b"ROW log=%d" % number) for number in (1, 2)]
    peer.answers["ROWS"] = rows[0] + CODEC.frame(b"EVENT 1") + rows[1] + CODEC.frame(b"ROWS OK")
    outcome = session.do("rows")
    assert isinstance(outcome, Accepted), outcome
    assert outcome.value.all("row") == ["log=1", "log=2"]
    assert outcome.value.all("log") == ["1", "2"]
    peer.answers["ROWS"] = rows[0]  # and its last message never comes
    assert isinstance(session.do("rows"), NoAnswer)


def test_what_the_device_says_by_itself_is_silence(door: MessageSurface, peer: Peer) -> None:
    session = inside(door.log_in("ann"))
    peer.answers["UP"] = CODEC.frame(b"EVENT 1") + b"\r\n"
    assert isinstance(session.do("uptime"), NoAnswer)
    peer.answers["UP"] = CODEC.frame(b"EVENT 1") + CODEC.frame(b"UP OK 12")[:-1]
    assert isinstance(session.do("uptime"), Unintelligible)


def test_what_tells_whether_somebody_is_logged_in(door: MessageSurface) -> None:
    assert door.inside_action == "uptime"
    door.spec.actions["uptime"] = door.spec.actions["uptime"].model_copy(update={"open": True})
    assert door.inside_action == "log", "what is open to anybody tells nothing"
    for name, action in door.spec.actions.items():
        door.spec.actions[name] = action.model_copy(update={"open": True})
    with pytest.raises(UsageError, match="needs a log-in"):
        _ = door.inside_action


def test_a_log_off_is_heard(door: MessageSurface, peer: Peer) -> None:
    session = inside(door.log_in("ann"))
    assert door.announces_log_off
    assert session.wait_logged_off(timeout=0.2) is None
    peer.answers["UP"] = CODEC.frame(b"UP OK 12") + CODEC.frame(b"EVENT 1") + CODEC.frame(b"BYE")
    assert isinstance(session.do("uptime"), Accepted)
    off = session.wait_logged_off(timeout=2)
    assert off is not None
    assert -off.uncertainty <= off.seconds < 2


def test_a_line_has_one_session_and_a_connection_its_own(make: Callable[[str], MessageSurface], peer: Peer) -> None:
    line = make("line")
    first = inside(line.log_in("ann"))
    second = inside(line.log_in("bob"))
    assert line.one_session
    assert peer.asked == ["OUT", "IN ann 8812-a", "OUT", "IN bob 4410-b"]
    assert isinstance(first.do("uptime"), NoAnswer), "it would be asked in the other one's name"
    assert isinstance(first.log_out(), NoAnswer)
    assert isinstance(second.do("uptime"), Accepted)
    with line.entrance() as entrance:
        entrance.do("uptime")
    assert peer.asked[-2:] == ["OUT", "UP"], "before the log-in nobody is logged in"

    tcp = make("tcp")
    both = [inside(tcp.log_in(name)) for name in ("ann", "bob")]
    assert not tcp.one_session
    assert all(isinstance(session.do("uptime"), Accepted) for session in both)


def test_a_connection_may_be_closed_and_nobody_may_be_there(make: Callable[[str], MessageSurface], peer: Peer) -> None:
    door = make("tcp")
    session = inside(door.log_in("ann"))
    peer.hang_up.add("UP")
    outcome = session.do("uptime")
    assert isinstance(outcome, NoAnswer)
    assert "closed" in outcome.reason
    assert isinstance(session.do("log"), Accepted), "on a new connection"
    peer.shutdown()
    peer.server_close()
    nobody = door.log_in("ann")
    assert isinstance(nobody, NoAnswer)
    assert "no connection" in nobody.reason


def test_raw_bytes_are_survived_when_it_answers_again(door: MessageSurface, peer: Peer) -> None:
    with door.entrance() as entrance:
        assert isinstance(entrance.poke(b"\x00\xff$$"), Accepted)
        peer.answers["XYZZY"] = CODEC.frame(b"XYZZY OK")
        assert isinstance(entrance.poke(b"\x00"), Unintelligible)
        peer.answers["XYZZY"] = b""
        assert isinstance(entrance.poke(b"\x00"), NoAnswer)


def test_mistakes_of_a_testcase_are_named(door: MessageSurface) -> None:
    session = inside(door.log_in("ann"))
    for wrong in (
        lambda: session.do("nothing"),
        lambda: session.do("ward"),
        lambda: session.do("ward", bed="1", floor="2"),
        lambda: session.do("uptime", octets=b""),
    ):
        with pytest.raises(UsageError):
            wrong()
