"""Standing before the log-in of an HTTP surface: attempts that share a connection as long as the device lets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.device.answer import Answer
from harness.device.http_exchange import refused_by_alert
from harness.device.log_in import Entrance
from harness.device.outcomes import Accepted, NoAnswer, Outcome
from harness.links.http import HttpConnection
from harness.links.http_trust import ClientCertificate
from harness.rig.templates import Scalar

if TYPE_CHECKING:
    from harness.device.http import HttpSession, HttpSurface

__all__ = ["HttpEntrance"]


class HttpEntrance(Entrance):
    """Stands before the log-in. Each attempt on the same connection as long as the device keeps it open."""

    def __init__(self, surface: HttpSurface) -> None:
        self.surface = surface
        self._connection: HttpConnection | None = None

    def attempt(self, user: str, password: str | None = None) -> Outcome[HttpSession]:
        """Try to log in; without `password` with the declared one of the account `user`."""
        secret = self.surface.accounts[user].password if password is None else password
        certificate = self.surface.certificate_of(user, secret)
        connection = self._open(certificate)
        if isinstance(connection, NoAnswer):
            outcome: Outcome[HttpSession] = refused_by_alert(connection) if certificate else connection
            self.surface.observe(f"log in {user}", outcome)
            return outcome
        outcome = self.surface.log_in_on(connection, user, secret)
        if isinstance(outcome, Accepted):
            # The connection belongs to the session now, and goes with it.
            self._connection = None
        return outcome

    def do(self, action: str, *, octets: bytes | None = None, **named: Scalar) -> Outcome[Answer]:
        """Ask for a declared action without having logged in (`Entrance.do`)."""
        connection = self._open()
        if isinstance(connection, NoAnswer):
            self.surface.observe(f"{action} before log-in", connection)
            return connection
        request = self.surface.request(action, octets=octets, values=named)
        return self.surface.send_on(connection, request, action=action)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self, certificate: ClientCertificate | None = None) -> HttpConnection | NoAnswer:
        kept = self._connection
        if kept is not None and not (kept.reusable and kept.client is certificate):
            self.close()  # a connection says once and for all who has opened it
        if self._connection is None:
            made = self.surface.connect(certificate)
            if isinstance(made, NoAnswer):
                return made
            self._connection = made
        return self._connection
