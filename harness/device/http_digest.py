"""HTTP digest authentication (RFC 7616, and RFC 2617 for old devices): the answer to a device's challenge."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote
from urllib.request import parse_http_list

from harness.device.http_values import octets_of
from harness.links.http import HttpRequest, HttpResponse

__all__ = ["Digest"]

_HASHES: Mapping[str, str] = {"SHA-256": "sha256", "SHA-512-256": "sha512_256", "MD5": "md5"}
"""Algorithms of RFC 7616, the best first."""


class Digest:
    """Says who somebody is, in the device's present challenge. One for each session; it counts the requests."""

    def __init__(self, user: str, password: str, *, client_nonce: str = "") -> None:
        """Know `user` and `password`; `client_nonce` is drawn where none is given."""
        self.renewed = False
        """The last answer was another challenge, because the one before is stale: the request has to be sent again."""
        self._user, self._password = user, password
        self._client_nonce = client_nonce or secrets.token_hex(16)
        self._challenge: Mapping[str, str] = {}
        self._count = 0

    def read(self, response: HttpResponse) -> bool:
        """Take the challenge of an answer with status 401; False if it has none that can be answered."""
        self.renewed = False
        challenge = _best(response) if response.status == 401 else None
        if challenge is None:
            return False
        stale = challenge.get("stale", "").lower() == "true"
        self.renewed = stale and challenge["nonce"] != self._challenge.get("nonce")
        if challenge["nonce"] != self._challenge.get("nonce"):
            self._count = 0
        self._challenge = challenge
        return True

    def signed(self, request: HttpRequest) -> HttpRequest:
        """Return a request that says who it is from; one that says so already stays as it is."""
        if not self._challenge or any(name.lower() == b"authorization" for name, _ in request.headers):
            return request
        self._count += 1
        header = self._header(request).encode("latin-1")
        return replace(request, headers=(*request.headers, (b"Authorization", header)))

    def _header(self, request: HttpRequest) -> str:
        challenge = self._challenge
        algorithm = challenge.get("algorithm", "MD5")
        name = _HASHES[algorithm.upper().removesuffix("-SESS")]
        offered = [each.strip() for each in challenge.get("qop", "").lower().split(",")]
        qop = next((each for each in ("auth", "auth-int") if each in offered), "")

        def digest(*parts: bytes) -> bytes:
            return hashlib.new(name, b":".join(parts), usedforsecurity=False).hexdigest().encode()

        realm, nonce = (challenge[key].encode("latin-1") for key in ("realm", "nonce"))
        client, count = self._client_nonce.encode(), b"%08x" % self._count
        who = digest(octets_of(self._user), realm, octets_of(self._password))
        if algorithm.lower().endswith("-sess"):
            who = digest(who, nonce, client)
        what = [request.method, request.target, *([digest(request.body)] if qop == "auth-int" else [])]
        fresh = [count, client, qop.encode()] if qop else []
        fields = {
            **_named(self._user),
            "realm": _quoted(challenge["realm"]),
            "nonce": _quoted(challenge["nonce"]),
            "uri": _quoted(request.target.decode("latin-1")),
            "response": _quoted(digest(who, nonce, *fresh, digest(*what)).decode()),
        }
        fields |= {"algorithm": algorithm} if "algorithm" in challenge else {}
        fields |= {"opaque": _quoted(challenge["opaque"])} if "opaque" in challenge else {}
        fields |= {"qop": qop, "nc": count.decode(), "cnonce": _quoted(self._client_nonce)} if qop else {}
        return "Digest " + ", ".join(f"{key}={value}" for key, value in fields.items())


def _best(response: HttpResponse) -> Mapping[str, str] | None:
    """Return the challenge with the best algorithm that is known here."""
    found: dict[str, Mapping[str, str]] = {}
    for name, value in response.headers:
        if name == b"www-authenticate":
            for challenge in _challenges(parse_http_list(value.decode("latin-1"))):
                found.setdefault(challenge.get("algorithm", "MD5").upper().removesuffix("-SESS"), challenge)
    return next((found[algorithm] for algorithm in _HASHES if algorithm in found), None)


def _challenges(items: Sequence[str]) -> list[Mapping[str, str]]:
    """Return the digest challenges in a header, which may list those of other schemes between them."""
    found: list[dict[str, str]] = []
    ours = False
    for item in items:
        scheme = re.match(r"([A-Za-z][\w-]*)\s+(?=\w)|([A-Za-z][\w-]*)$", item)
        if scheme:
            ours = (scheme[1] or scheme[2]).lower() == "digest"
            found += [{}] if ours else []
        key, _, value = item[scheme.end() if scheme else 0 :].partition("=")
        if ours:
            found[-1][key.strip().lower()] = value.strip().removeprefix('"').removesuffix('"')
    return [challenge for challenge in found if challenge.keys() >= {"realm", "nonce"}]


def _named(user: str) -> dict[str, str]:
    """Return the field with the user's name: what a quoted text cannot hold goes percent-encoded (RFC 7616, 3.4)."""
    if all(" " <= char <= "~" for char in user):
        return {"username": _quoted(user)}
    return {"username*": "UTF-8''" + quote(octets_of(user), safe="")}


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
