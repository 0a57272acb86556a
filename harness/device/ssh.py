"""The SSH server itself, under whatever is served over it: log-ins by every method, and what a client may ask for."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from harness.capture import Tap
from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, Unintelligible
from harness.links.base import PeerClosed
from harness.links.dialer import Dialer
from harness.links.ssh import (
    SshAccepted,
    SshHostKeyMismatch,
    SshLink,
    SshNoConnection,
    SshOutcome,
    SshRefused,
    connect_ssh,
    offered_algorithms,
)
from harness.links.stream import StreamLink
from harness.rig.loading import Rig
from harness.rig.rig_file import SshLinkSpec

__all__ = ["SshServer", "SshWiring"]

_T = TypeVar("_T")

_SFTP_INIT = bytes.fromhex("000000050100000003")
_SFTP_VERSION = re.compile(rb"\A\x00\x00..\x02\x00\x00\x00", re.S)


class SshWiring(Protocol):
    """What this module needs of the bench."""

    rig: Rig
    dialer: Dialer

    @property
    def answer_within(self) -> float:
        """Seconds a device may take to answer."""

    def ssh(self, link: str) -> SshLinkSpec:
        """Return the link's settings."""

    def connect_ssh(self, link: str) -> SshLink | SshRefused | SshNoConnection | SshHostKeyMismatch:
        """Connect and log in as the rig file says."""

    def tap(self, link: str) -> Tap:
        """Return the capture of the link."""

    def observe(self, surface: str, operation: str, outcome: Outcome[object]) -> None:
        """Record an operation and what it came to."""


class SshServer:
    """One SSH server. Operations return outcomes and are recorded under the link's name."""

    def __init__(self, wiring: SshWiring, link: str) -> None:
        self._wiring = wiring
        self._name = link
        self.spec = wiring.ssh(link)
        self._within = max(5.0, 3 * wiring.answer_within)

    @property
    def key_file(self) -> Path | None:
        """The bench's private key, if it has one."""
        return self._wiring.rig.resolve(self.spec.key_file) if self.spec.key_file else None

    def offered(self) -> Outcome[dict[str, list[str]]]:
        """Read what the server offers in its key exchange message."""
        offered = offered_algorithms(self._wiring.dialer, self.spec.host, self.spec.port, timeout=self._within)
        outcome: Outcome[dict[str, list[str]]] = (
            NoAnswer(offered.reason) if isinstance(offered, SshNoConnection) else Accepted(offered)
        )
        return self._seen("read the algorithms", outcome)

    def host_key(self, pinned: str) -> Outcome[None]:
        """Compare the host key with `pinned` (`ssh-ed25519 AAAA…`); refused when another one is shown."""
        link = self._connect(pinned)
        outcome: Outcome[None]
        match link:
            case SshHostKeyMismatch(seen=seen):
                outcome = Refused(f"the device shows {seen}")
            case SshNoConnection(reason=reason):
                outcome = NoAnswer(reason)
            case SshLink():
                link.close()
                outcome = Accepted(None)
        return self._seen("compare the host key", outcome)

    def shown_host_key(self) -> Outcome[str]:
        """Return the host key that is shown now (`ssh-ed25519 AAAA…`), whatever it is."""
        link = self._connect(self.spec.host_key)
        outcome: Outcome[str]
        match link:
            case SshHostKeyMismatch(seen=seen):
                outcome = Accepted(seen)
            case SshNoConnection(reason=reason):
                outcome = NoAnswer(reason)
            case SshLink():
                link.close()
                outcome = Accepted(" ".join(self.spec.host_key.split()[:2]))
        return self._seen("read the host key", outcome)

    def log_in(self, user: str, method: str, secret: str | Path | None = None) -> Outcome[tuple[str, ...]]:
        """Try one log-in on a connection of its own. A refusal names in its reason the methods that may go on."""
        link = self._connect(self.spec.host_key)
        outcome: Outcome[tuple[str, ...]]
        match link:
            case SshLink():
                outcome = _outcome(link.auth_attempt(user, method, secret, timeout=self._within))
                link.close()
            case SshNoConnection(reason=reason):
                outcome = NoAnswer(reason)
            case SshHostKeyMismatch(seen=seen):
                outcome = Unintelligible(f"another host key: {seen}")
        return self._seen(f"log in {user} by {method}", outcome)

    def methods(self, user: str) -> Outcome[tuple[str, ...]]:
        """Ask which methods `user` may log in by (by trying `none`); accepted with the methods named."""
        link = self._connect(self.spec.host_key)
        outcome: Outcome[tuple[str, ...]] = NoAnswer("no connection")
        if isinstance(link, SshLink):
            match link.auth_attempt(user, "none", timeout=self._within):
                case SshRefused(allowed=allowed) if allowed:
                    outcome = Accepted(allowed)
                case SshAccepted():
                    outcome = Accepted(("none",))
                case SshRefused():
                    outcome = Unintelligible("refused without naming methods")
                case _:
                    outcome = NoAnswer("no answer to the log-in")
            link.close()
        return self._seen(f"methods for {user}", outcome)

    def run(self, menu: re.Pattern[bytes]) -> Outcome[bytes]:
        """Ask for a command; accepted when its result comes back, refused when denied or when the menu comes."""
        left, right = secrets.randbelow(9000) + 1000, secrets.randbelow(9000) + 1000
        # The product is in no part of the request: an echo is not taken for a result.
        command = f"expr {left} \\* {right} || set /a {left}*{right}"
        with self._session() as link:
            if not isinstance(link, SshLink):
                return self._seen("run a command", link)
            stream = link.exec(command, timeout=self._within)
            proof = re.compile(str(left * right).encode())
            return self._seen("run a command", self._served(stream, proof, menu))

    def sftp(self, menu: re.Pattern[bytes]) -> Outcome[bytes]:
        """Ask for file transfer; accepted when it answers in its protocol, else as `run`."""
        with self._session() as link:
            if not isinstance(link, SshLink):
                return self._seen("open sftp", link)
            stream = link.subsystem("sftp", timeout=self._within)
            return self._seen("open sftp", self._served(stream, _SFTP_VERSION, menu, say=_SFTP_INIT))

    def forward(self, host: str, port: int, *, remote: bool) -> Outcome[tuple[str, ...]]:
        """Ask to be connected to `host` and `port` through the device, or (`remote`) that it listens there for us."""
        what = "forward from the device" if remote else "forward through the device"
        with self._session() as link:
            if not isinstance(link, SshLink):
                return self._seen(what, link)
            ask = link.forward_remote if remote else link.forward_local
            return self._seen(what, _outcome(ask(host, port, timeout=self._within)))

    def _connect(self, pinned: str) -> SshLink | SshNoConnection | SshHostKeyMismatch:
        return connect_ssh(
            self._wiring.dialer,
            self.spec.host,
            self.spec.port,
            host_key=pinned,
            timeout=self._within,
            name=self._name,
            tap=self._wiring.tap(self._name),
        )

    @contextmanager
    def _session(self) -> Iterator[SshLink | NoAnswer | Unintelligible]:
        link = self._wiring.connect_ssh(self._name)
        match link:
            case SshLink():
                try:
                    yield link
                finally:
                    link.close()
            case SshNoConnection(reason=reason):
                yield NoAnswer(reason)
            case SshRefused(method=method):
                yield Unintelligible(f"the bench's own log-in by {method} is refused")
            case SshHostKeyMismatch(seen=seen):
                yield Unintelligible(f"another host key: {seen}")

    def _served(
        self,
        stream: StreamLink | SshRefused | SshNoConnection | None,
        proof: re.Pattern[bytes],
        menu: re.Pattern[bytes],
        *,
        say: bytes = b"",
    ) -> Outcome[bytes]:
        match stream:
            case None:
                return NoAnswer("no answer to the request")
            case SshRefused(reason=reason):
                return Refused(reason or "request denied")
            case SshNoConnection(reason=reason):
                return Unintelligible(f"the connection ended: {reason}")
        try:
            if say:
                stream.send(say)
            either = re.compile(b"(?:%b)|(?:%b)" % (proof.pattern, menu.pattern), proof.flags)
            stream.expect(either, since=0, timeout=self._within)
        except PeerClosed:
            pass  # what came before is what counts
        received = stream.read_since(0)
        if proof.search(received):
            return Accepted(received, sent=say, received=received)
        if menu.search(received):
            return Refused("the log-in prompt is served instead", sent=say, received=received)
        return Unintelligible("neither a result nor the log-in prompt", sent=say, received=received[:4096])

    def _seen(self, operation: str, outcome: Outcome[_T]) -> Outcome[_T]:
        self._wiring.observe(self._name, operation, outcome)
        return outcome


def _outcome(outcome: SshOutcome) -> Outcome[tuple[str, ...]]:
    match outcome:
        case SshAccepted(what=what):
            return Accepted((what,))
        case SshRefused(method=method, allowed=allowed, reason=reason):
            return Refused(f"{method}: {reason or 'not allowed'}; may go on by {', '.join(allowed) or 'nothing named'}")
        case SshNoConnection(reason=reason):
            return NoAnswer(f"the connection ended: {reason}")
        case None:
            return NoAnswer()
