"""Backup and restore over the management API (VP1-ICD §12)."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from http_message import (
    ADMINISTRATOR,
    BACKUP_LIMIT,
    Answer,
    BadArgument,
    BadFile,
    Call,
    Resource,
    Resources,
    done,
)
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from resources import MOST_PATIENTS, is_patient
from state import RATE_MAX, RATE_MIN, in_utc
from users import MOST_ACCOUNTS, NAME, Role

if TYPE_CHECKING:
    from application import Application

MAGIC = b"VP1BKP\0\1"
FAMILY = "VP-1"
SALT, NONCE, TAG, MAC = 16, 24, 16, 32
HEADER_LIMIT = 1024
PASSES, MEMORY = 1, 8 << 20
CONFIGURATION, USERS, PATIENTS, THERAPY = ORDER = (1, 2, 3, 4)

DAMAGED = "wrong passphrase or damaged"

Sections = dict[int, Any]
"""Content of the sections, by type."""


@dataclass(frozen=True)
class Keys:
    """What a passphrase and a salt give: a key to encrypt with and one to authenticate with."""

    encryption: bytes
    authentication: bytes

    @classmethod
    def derive(cls, passphrase: str, salt: bytes) -> Keys:
        both = argon2id.kdf(64, passphrase.encode(), salt, opslimit=PASSES, memlimit=MEMORY)
        return cls(both[:32], both[32:])

    def mac(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=self.authentication, digest_size=MAC).digest()


def make(header: dict[str, Any], sections: Sections, passphrase: str, *, weaknesses: Set[str] = frozenset()) -> bytes:
    """A backup of these sections."""
    salt = secrets.token_bytes(SALT)
    keys = Keys.derive(passphrase, salt)
    if "backup-holds-key" in weaknesses:
        header = {**header, "key": keys.encryption.hex()}
    shown = json.dumps(header).encode()
    file = MAGIC + len(shown).to_bytes(2, "big") + shown + salt
    for kind in ORDER:
        content = json.dumps(sections[kind]).encode()
        file += bytes([kind]) + (NONCE + len(content) + TAG).to_bytes(4, "big")
        nonce = secrets.token_bytes(NONCE)
        file += nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(content, file, nonce, keys.encryption)
    return file + keys.mac(file)


class Reader:
    """A backup being read; everything in it may be anything."""

    def __init__(self, file: bytes) -> None:
        length = int.from_bytes(file[8:10], "big")
        self.start = 10 + length + SALT
        if not file.startswith(MAGIC) or length > HEADER_LIMIT or len(file) < self.start + MAC:
            raise BadFile("not a backup")
        self._file = file
        self.header = _object(file[10 : 10 + length])
        if not all(isinstance(self.header.get(name), str) for name in ("family", "version", "serial")):
            raise BadFile("not a backup")
        self.salt = file[10 + length : self.start]

    def pieces(self) -> list[bytes]:
        """The sections as they stand in the file, each with its type and length."""
        at, end, pieces = self.start, len(self._file) - MAC, []
        while at < end:
            length = 5 + int.from_bytes(self._file[at + 1 : at + 5], "big")
            if at + length > end or length < 5 + NONCE + TAG:
                raise BadFile(DAMAGED)
            pieces.append(self._file[at : at + length])
            at += length
        return pieces

    def authentic(self, keys: Keys, pieces: list[bytes]) -> bool:
        """Whether the whole, with the sections in this order, is what was written."""
        whole = self._file[: self.start] + b"".join(pieces)
        return hmac.compare_digest(keys.mac(whole), self._file[-MAC:])

    def opened(self, keys: Keys, pieces: list[bytes], index: int) -> object:
        """The content of one section. Raises `BadFile`."""
        before = self._file[: self.start] + b"".join(pieces[:index]) + pieces[index][:5]
        nonce, sealed = pieces[index][5 : 5 + NONCE], pieces[index][5 + NONCE :]
        try:
            content = crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, before, nonce, keys.encryption)
            return json.loads(content)
        except (CryptoError, ValueError, RecursionError):
            raise BadFile(DAMAGED) from None


def _object(text: bytes) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise BadFile("not a backup") from None
    if not isinstance(content, dict):
        raise BadFile("not a backup")
    return content


class Backups:
    """Makes backups of the data partition and puts them back."""

    def __init__(self, app: Application) -> None:
        self._app = app

    def resources(self) -> Resources:
        """What the management API has of it."""
        return {
            ("POST", "/api/backup"): Resource(do=self._back_up, roles=ADMINISTRATOR),
            ("PUT", "/api/restore"): Resource(do=self._restore, roles=ADMINISTRATOR, limit=BACKUP_LIMIT),
        }

    def _back_up(self, call: Call) -> Answer:
        [passphrase] = call.texts("passphrase")
        _check_passphrase(passphrase)
        identity, weak = self._app.identity, self._app.weaknesses
        created = in_utc(self._app.clock.wall())
        header: dict[str, Any] = {"family": FAMILY, "version": identity.version_text, "serial": identity.serial}
        header["created"] = created
        if "backup-patient-in-clear" in weak:
            header["patients"] = [patient["name"] for patient in self._app.data.patients]
        file = make(header, sections_of(self._app), passphrase, weaknesses=weak)
        self._app.audit.record("backup", surface="api", user=call.user)
        return Answer(body=file, kind="application/octet-stream")

    def _restore(self, call: Call) -> Answer:
        passphrase = call.request.headers.get("x-passphrase", "")
        _check_passphrase(passphrase)
        try:
            sections = self._verified(call.request.body, passphrase)
        except BadFile as refusal:
            detail = refusal.reason.replace(" ", "-")
            self._app.audit.record("restore", surface="api", user=call.user, result="refused", detail=detail)
            raise
        for kind in ORDER:
            self._write(kind, sections[kind])
        self._app.data.save()
        self._app.audit.record("restore", surface="api", user=call.user)
        self._app.end_sessions()
        return done()

    def _verified(self, file: bytes, passphrase: str) -> Sections:
        reader, weak = Reader(file), self._app.weaknesses
        if reader.header["family"] != FAMILY and "restore-foreign-family" not in weak:
            raise BadFile("other device family")
        if not self._supports(reader.header["version"]):
            raise BadFile("version not supported")
        keys = Keys.derive(passphrase, reader.salt)
        pieces = reader.pieces()
        if "restore-order-unchecked" in weak and not reader.authentic(keys, pieces):
            pieces.sort(key=lambda piece: piece[0])
        kinds = [piece[0] for piece in pieces]
        if kinds != [*ORDER] and not ("restore-order-unchecked" in weak and sorted(kinds) == [*ORDER]):
            raise BadFile(DAMAGED)
        if "restore-writes-before-verify" not in weak and not reader.authentic(keys, pieces):
            raise BadFile(DAMAGED)
        sections: Sections = {}
        for index, kind in enumerate(kinds):
            content = reader.opened(keys, pieces, index)
            if not _CHECKS[kind](content):
                raise BadFile(DAMAGED)
            sections[kind] = content
            if "restore-writes-before-verify" in weak:
                self._write(kind, content)
                self._app.data.save()
        if not reader.authentic(keys, pieces):
            raise BadFile(DAMAGED)
        return sections

    def _supports(self, text: str) -> bool:
        """Not newer than this software, and not of an older major version."""
        if not re.fullmatch(r"\d{1,5}\.\d{1,5}\.\d{1,5}", text, re.ASCII):
            return False
        version = tuple(int(part) for part in text.split("."))
        return version <= self._app.identity.version and version[0] == self._app.identity.version[0]

    def _write(self, kind: int, content: Any) -> None:
        data = self._app.data
        if kind == CONFIGURATION:
            data.alarm_volume, data.ward_name = content["alarm_volume"], content["ward_name"]
        elif kind == USERS:
            data.users = {each["user"]: {"role": each["role"], "hash": each["hash"]} for each in content["users"]}
        elif kind == PATIENTS:
            data.patients = content["patients"]
        else:
            data.set_rate = content["set_rate"]


def sections_of(app: Application) -> Sections:
    """What a backup holds of an application's data."""
    data = app.data
    users = [{"user": user, **account} for user, account in data.users.items()]
    return {
        CONFIGURATION: {"alarm_volume": data.alarm_volume, "ward_name": data.ward_name},
        USERS: {"users": users},
        PATIENTS: {"patients": data.patients},
        THERAPY: {"set_rate": data.set_rate},
    }


def _check_passphrase(passphrase: str) -> None:
    if not re.fullmatch(r"[ -~]{10,64}", passphrase):
        raise BadArgument


def _fields(content: object, **types: type) -> bool:
    """Exactly these fields, of these types."""
    if not isinstance(content, dict) or content.keys() != types.keys():
        return False
    return all(type(content[name]) is wanted for name, wanted in types.items())


def _configuration(content: Any) -> bool:
    return (
        _fields(content, alarm_volume=int, ward_name=str)
        and 1 <= content["alarm_volume"] <= 10
        and re.fullmatch(r"[!-~]{1,24}", content["ward_name"]) is not None
    )


def _users(content: Any) -> bool:
    if not _fields(content, users=list) or not 1 <= len(content["users"]) <= MOST_ACCOUNTS:
        return False
    roles = {role.value for role in Role}
    for each in content["users"]:
        if not _fields(each, user=str, role=str, hash=str):
            return False
        known = NAME.fullmatch(each["user"]) and each["role"] in roles
        if not known or not re.fullmatch(r"([0-9a-f]{2})+:[0-9a-f]{64}", each["hash"]):
            return False
    names = {each["user"] for each in content["users"]}
    administrators = [each for each in content["users"] if each["role"] == Role.ADMINISTRATOR.value]
    return len(names) == len(content["users"]) and bool(administrators)


def _patients(content: Any) -> bool:
    if not _fields(content, patients=list) or len(content["patients"]) > MOST_PATIENTS:
        return False
    if not all(
        _fields(each, id=str, name=str, ward=str, note=str) and is_patient(each) for each in content["patients"]
    ):
        return False
    return len({each["id"] for each in content["patients"]}) == len(content["patients"])


def _therapy(content: Any) -> bool:
    return _fields(content, set_rate=int) and RATE_MIN <= content["set_rate"] <= RATE_MAX


_CHECKS = {CONFIGURATION: _configuration, USERS: _users, PATIENTS: _patients, THERAPY: _therapy}
