"""Parts of the sham on a clock of their own (waits of 10 to 60 s) and under arbitrary input."""

from __future__ import annotations

import random
from collections.abc import Callable, Set

from application import Application, Outside
from can_bus import EXTENDED, unpack
from console import Dialogue
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key
from hypothesis import given
from hypothesis import strategies as st
from iso_tp import IsoTp
from mind import Mind
from modbus import RtuFraming, TcpFraming, with_crc
from ports import parse_send
from state import GENUINE, Data, VirtualClock
from uds import key_for
from unit_keys import fresh
from users import PASSWORDS


class Timers(VirtualClock):
    """A virtual clock that also calls back."""

    def __init__(self) -> None:
        super().__init__()
        self._due: list[tuple[float, Callable[[], None], Timers.One]] = []

    class One:
        """One call to come."""

        cancelled = False

        def cancel(self) -> None:
            """Not to come after all."""
            self.cancelled = True

    def later(self, seconds: float, then: Callable[[], None]) -> One:
        """As an event loop's `call_later`."""
        one = Timers.One()
        self._due.append((self.monotonic() + seconds, then, one))
        return one

    def advance(self, seconds: float) -> None:
        """Let time pass, calling what falls due."""
        end = self.monotonic() + seconds
        while due := [entry for entry in self._due if entry[0] <= end and not entry[2].cancelled]:
            first = min(due, key=lambda entry: entry[0])
            self._due.remove(first)
            super().advance(max(0.0, first[0] - self.monotonic()))
            first[1]()
        super().advance(end - self.monotonic())


class Bench:
    """An application with a console dialogue, on virtual time."""

    def __init__(self, *, over_ssh: bool = False, weaknesses: Set[str] = frozenset()) -> None:
        self.time = Timers()
        self.output = bytearray()
        self.hung_up = False
        self.app = Application(
            clock=self.time,
            data=Data(),
            rng=random.Random(0),
            weaknesses=weaknesses,
            identity=GENUINE,
            authorised_key=b"",
            started_by="power-on",
            outside=Outside(),
        )
        self.mind = Mind(self.app)
        self.dialogue = Dialogue(
            mind=lambda: self.mind,
            write=self.output.extend,
            later=self.time.later,
            surface="ssh" if over_ssh else "console",
            connection="1",
            hang_up=self._hang_up if over_ssh else None,
        )
        self.dialogue.open()

    def _hang_up(self) -> None:
        self.hung_up = True

    def say(self, *lines: str) -> str:
        """What comes back for some lines."""
        self.output.clear()
        for line in lines:
            self.dialogue.feed(line.encode() + b"\r")
        return self.output.decode("latin-1")

    def log_in(self, user: str, password: str | None = None) -> str:
        return self.say(user, PASSWORDS[user].decode() if password is None else password)


def test_idle_log_off_comes_after_20_s_without_input() -> None:
    bench = Bench()
    bench.log_in("operator")
    bench.time.advance(19.0)
    bench.dialogue.feed(b"x")
    bench.output.clear()
    bench.time.advance(19.0)
    assert bench.output == b""
    bench.time.advance(2.0)
    assert bench.output == b"\r\ninfo: logged off after idle time\r\nlogin: "
    assert "event=logout result=accepted detail=idle" in bench.app.audit.last(1)[0]


def test_a_request_on_a_bus_is_input_to_a_session_under_the_weakness_only() -> None:
    for weaknesses, goes_on in ((frozenset[str](), False), (frozenset({"busy-bus-keeps-sessions"}), True)):
        bench = Bench(weaknesses=weaknesses)
        bench.log_in("operator")
        bench.output.clear()
        for _ in range(3):
            bench.time.advance(15.0)
            bench.mind.modbus(bytes.fromhex("0400060002"))
        assert (bench.output == b"") is goes_on
        bench.time.advance(20.1)
        assert bench.output == b"\r\ninfo: logged off after idle time\r\nlogin: "


ALIKE: dict[str, set[str]] = {
    "": set(),
    "keys-from-serial": {"tls", "ssh"},
    "keys-from-old-keys": {"tls", "ssh"},
    "tls-key-shared": {"tls"},
}


def test_keys_are_new_each_time_but_for_the_weaknesses() -> None:
    for weakness, alike in ALIKE.items():
        first, second = (fresh("VP1-000417", frozenset({weakness}), old="before") for _ in range(2))
        certificates = [x509.load_pem_x509_certificate(keys["tls"].encode()) for keys in (first, second)]
        tls = [each.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for each in certificates]
        assert (tls[0] == tls[1]) is ("tls" in alike), weakness
        ssh = [load_ssh_private_key(keys["ssh"].encode(), None).public_key() for keys in (first, second)]
        assert (ssh[0] == ssh[1]) is ("ssh" in alike), weakness
        assert certificates[0].serial_number != certificates[1].serial_number


def test_the_menu_closes_after_idle_time_and_without_a_log_in() -> None:
    idle, nobody = Bench(over_ssh=True), Bench(over_ssh=True)
    idle.log_in("admin")
    for each, wait in ((idle, 21.0), (nobody, 61.0)):
        each.time.advance(wait - 2)
        assert not each.hung_up
        each.time.advance(2.0)
        assert each.hung_up
    assert idle.output.endswith(b"info: logged off after idle time\r\n")


def test_a_lock_ends_15_s_after_the_third_refusal_and_is_not_extended() -> None:
    bench = Bench()
    for _ in range(3):
        assert "error: login refused" in bench.log_in("service", "wrong")
        bench.time.advance(1.0)
    bench.time.advance(13.0)
    assert "error: account locked" in bench.log_in("service")
    assert "ok: logged in as operator" in bench.log_in("operator")
    bench.say("logout")
    bench.time.advance(1.5)
    assert "error: login refused" in bench.log_in("service", "wrong")
    assert "ok: logged in as service" in bench.log_in("service")


def test_uds_session_and_delay_end_by_time() -> None:
    bench = Bench()
    uds = bench.app.uds
    uds.answer(b"\x10\x03")
    seed = (uds.answer(b"\x27\x01") or b"")[2:]
    assert uds.answer(b"\x27\x02" + key_for(seed)) == b"\x67\x02"
    bench.time.advance(4.9)
    assert uds.answer(b"\x3e\x80") is None
    bench.time.advance(4.9)
    assert uds.answer(b"\x11\x01") == b"\x51\x01"
    bench.time.advance(5.1)
    assert uds.answer(b"\x11\x01") == b"\x7f\x11\x7f"
    uds.answer(b"\x10\x03")
    for _ in range(3):
        uds.answer(b"\x27\x01")
        answer = uds.answer(b"\x27\x02" + bytes(8))
    assert answer == b"\x7f\x27\x36"
    bench.time.advance(9.0)
    uds.answer(b"\x10\x03")
    assert uds.answer(b"\x27\x01") == b"\x7f\x27\x37"
    bench.time.advance(1.1)
    assert (uds.answer(b"\x27\x01") or b"")[:2] == b"\x67\x01"


def test_a_flood_of_refused_commands_is_counted_not_listed_and_the_log_is_bounded() -> None:
    bench = Bench()
    for _ in range(50):
        bench.app.can.answer(bytes(8))
    assert sum("event=command" in record for record in bench.app.audit.last(200)) == 10
    bench.time.advance(1.0)
    bench.app.can.answer(bytes(8))
    assert "detail=mac*40" in bench.app.audit.last(2)[0]
    for _ in range(1100):
        bench.app.audit.record("login", surface="console")
    assert len(bench.app.data.audit) == 1000
    assert int(bench.app.data.audit[-1].split()[1]) - int(bench.app.data.audit[0].split()[1]) == 999


def test_a_silent_modbus_connection_is_dropped_after_60_s() -> None:
    bench, dropped = Bench(), []
    TcpFraming(
        mind=lambda: bench.mind, write=lambda _data: None, hang_up=lambda: dropped.append(True), later=bench.time.later
    )
    bench.time.advance(59.0)
    assert not dropped
    bench.time.advance(2.0)
    assert dropped


@given(st.binary(max_size=600), st.lists(st.integers(0, 600), max_size=4))
def test_the_dialogue_takes_any_bytes_in_any_pieces(noise: bytes, cuts: list[int]) -> None:
    whole, pieces = Bench(), Bench()
    whole.dialogue.feed(noise)
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(noise)], strict=True):
        pieces.dialogue.feed(noise[start:end])
    assert whole.output == pieces.output
    whole.dialogue.feed(b"\r\x03")
    assert whole.output.endswith((b"login: ", b"password: "))


@given(st.lists(st.integers(1, 20), max_size=8))
def test_rtu_requests_are_found_in_any_pieces(sizes: list[int]) -> None:
    bench, output = Bench(), bytearray()
    framing = RtuFraming(mind=lambda: bench.mind, write=output.extend, later=bench.time.later)
    requests = with_crc(bytes.fromhex("010400100002")) + with_crc(bytes.fromhex("011000000002040032 0003"))
    requests += with_crc(bytes.fromhex("010300000001"))
    for size in [*sizes, len(requests)]:
        framing.feed(requests[:size])
        requests = requests[size:]
    bench.time.advance(1.0)
    assert output.startswith(with_crc(bytes.fromhex("010404") + b"VP-1"))
    assert output.endswith(with_crc(bytes.fromhex("0103020032")))


@given(st.lists(st.binary(max_size=8), max_size=30))
def test_iso_tp_survives_any_frames_and_then_still_answers(frames: list[bytes]) -> None:
    bench = Bench()
    sent: list[bytes] = []
    transport = IsoTp(send=sent.append, answer=bench.app.uds.answer, later=bench.time.later)
    for frame in frames:
        transport.feed(frame)
    bench.time.advance(2.0)
    sent.clear()
    transport.feed(b"\x03\x22\xf1\x97")
    assert sent == [b"\x07\x62\xf1\x97VP-1"]


@given(st.integers(0, 0x7FF), st.binary(max_size=8), st.booleans())
def test_a_socketcand_frame_is_read_back(identifier: int, data: bytes, extended: bool) -> None:
    words = [f"{identifier:08X}" if extended else f"{identifier:X}", f"{len(data):X}", *(f"{b:X}" for b in data)]
    assert unpack(parse_send(["040000200", "8"])) == (0x4000_0200, b"")
    assert unpack(parse_send(words)) == (identifier | (EXTENDED if extended else 0), data)


@given(st.integers(0, 8), st.integers(0, 127), st.integers(9, 300))
def test_long_answers_keep_to_the_flow_control(block: int, separation: int, length: int) -> None:
    time = Timers()
    sent: list[tuple[float, bytes]] = []
    answer = bytes(index & 0xFF for index in range(length))
    transport = IsoTp(
        send=lambda frame: sent.append((time.monotonic(), frame)), answer=lambda _request: answer, later=time.later
    )
    transport.feed(b"\x01\x3e")
    got, frames = sent[0][1][2:], 1
    while len(got) < length:
        transport.feed(bytes([0x30, block, separation]))
        time.advance((block or 45) * separation / 1000)  # less than the transport's own patience after the last
        burst, frames = sent[frames:], len(sent)
        assert burst
        assert len(burst) <= (block or 300)
        gaps = [b[0] - a[0] for a, b in zip(burst, burst[1:], strict=False)]
        assert all(gap >= separation / 1000 - 1e-9 for gap in gaps)
        got += b"".join(frame[1:] for _, frame in burst)
    assert got[:length] == answer
