"""Therapy, configuration, accounts and patients over the management API (VP1-ICD §11.3 to §11.5)."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from accounts import Attempt, LogIn
from http_message import (
    ADMINISTRATOR,
    OPERATOR,
    SERVICE,
    Answer,
    BadArgument,
    Call,
    Locked,
    NotFound,
    NotNow,
    NotPermitted,
    Resource,
    Resources,
    done,
    in_json,
    is_text,
    parse,
)
from state import RATE_MAX, RATE_MIN, UTC_FORMAT, in_utc
from users import MOST_ACCOUNTS, NAME, Role

if TYPE_CHECKING:
    from application import Application

MOST_PATIENTS = 64
_TEXTS = ("model", "serial", "version", "state")


def resources(app: Application) -> Resources:
    """All of them, of one application."""
    return {**_Pump(app).resources(), **_Users(app).resources(), **_Patients(app).resources()}


class _Part:
    """Some resources of an application."""

    def __init__(self, app: Application) -> None:
        self._app = app

    def _note(self, event: str, call: Call, detail: str = "-", *, result: str = "accepted") -> None:
        self._app.audit.record(event, surface="api", user=call.user, detail=detail, result=result)


class _Pump(_Part):
    """What it is, what it does, how it is set."""

    def resources(self) -> Resources:
        deletable = "audit-deletable" in self._app.weaknesses
        return {
            ("GET", "/api/status"): Resource(do=lambda _call: in_json(_values(self._app.commands.status()))),
            ("GET", "/api/version"): Resource(do=self._version),
            ("POST", "/api/start"): Resource(do=lambda call: self._infuse(call, True), roles=OPERATOR),
            ("POST", "/api/stop"): Resource(do=lambda call: self._infuse(call, False), roles=OPERATOR),
            ("POST", "/api/alarm-test"): Resource(do=self._alarm_test, roles=OPERATOR),
            ("PUT", "/api/rate"): Resource(do=self._rate, roles=OPERATOR),
            ("GET", "/api/diagnostics"): Resource(
                do=lambda _call: in_json(_values(self._app.commands.diagnostics())), roles=SERVICE
            ),
            ("GET", "/api/config"): Resource(do=self._settings, roles=ADMINISTRATOR),
            ("PUT", "/api/config"): Resource(do=self._configure, roles=ADMINISTRATOR),
            ("PUT", "/api/clock"): Resource(do=self._set_clock, roles=ADMINISTRATOR),
            ("GET", "/api/audit"): Resource(do=self._audit, roles=ADMINISTRATOR, query=frozenset({"last"})),
            **({("DELETE", "/api/audit"): Resource(do=self._empty, roles=ADMINISTRATOR)} if deletable else {}),
        }

    def _version(self, _call: Call) -> Answer:
        return in_json({**_values(self._app.commands.version()), "slot": self._app.identity.slot})

    def _infuse(self, call: Call, on: bool) -> Answer:
        call.fields()
        self._app.therapy.infuse(on)
        self._note("start" if on else "stop", call)
        return done()

    def _alarm_test(self, call: Call) -> Answer:
        call.fields()
        self._app.updates.test_alarm()
        self._note("alarm-test", call)
        return done()

    def _rate(self, call: Call) -> Answer:
        tenths = float(str(call.fields(ml_per_hour=float)["ml_per_hour"])) * 10
        if not RATE_MIN - 0.5 <= tenths <= RATE_MAX + 0.5 or abs(tenths - round(tenths)) > 1e-6:
            raise BadArgument
        rate = round(tenths)
        if not RATE_MIN <= rate <= RATE_MAX:
            raise BadArgument
        self._app.therapy.set(rate)
        self._note("rate", call, f"{rate / 10:.1f}")
        return done()

    def _settings(self, _call: Call) -> Answer:
        data = self._app.data
        return in_json({"alarm_volume": data.alarm_volume, "ward_name": data.ward_name})

    def _configure(self, call: Call) -> Answer:
        content = parse(call.request.body)
        if len(content) != 1:
            raise BadArgument
        [(name, value)] = content.items()
        right_type = type(value) is {"alarm_volume": int, "ward_name": str}.get(name)
        if not right_type or not self._app.data.configure(name, str(value)):
            raise BadArgument
        self._note("config", call, name)
        return done()

    def _set_clock(self, call: Call) -> Answer:
        [text] = call.texts("time")
        clock = self._app.clock
        before = in_utc(clock.wall())
        clock.set_wall(_moment(text))
        if "clock-change-unrecorded" not in self._app.weaknesses:
            self._note("clock", call, before)
        return done()

    def _empty(self, _call: Call) -> Answer:
        self._app.audit.empty()
        return done()

    def _audit(self, call: Call) -> Answer:
        count = call.request.query.get("last", "20")
        if not re.fullmatch(r"[0-9]{1,3}", count) or not 1 <= int(count) <= 200:
            raise BadArgument
        records = self._app.audit.last(int(count))
        return in_json({"records": [record.removeprefix("audit: ") for record in records]})


class _Users(_Part):
    """Accounts."""

    def resources(self) -> Resources:
        return {
            ("GET", "/api/users"): Resource(do=self._list, roles=ADMINISTRATOR),
            ("POST", "/api/users"): Resource(do=self._add, roles=ADMINISTRATOR),
            ("PUT", "/api/users/"): Resource(do=self._change, roles=ADMINISTRATOR),
            ("DELETE", "/api/users/"): Resource(do=self._remove, roles=ADMINISTRATOR),
            ("POST", "/api/unlock"): Resource(do=self._unlock, roles=ADMINISTRATOR),
            ("PUT", "/api/password"): Resource(do=self._password),
        }

    def _list(self, _call: Call) -> Answer:
        accounts = self._app.accounts
        users = [
            {"user": user, "role": kept["role"], "locked": accounts.locked(user)}
            for user, kept in self._app.data.users.items()
        ]
        return in_json({"users": users})

    def _add(self, call: Call) -> Answer:
        user, role, password = call.texts("user", "role", "password")
        accounts = self._app.accounts
        if not NAME.fullmatch(user) or (accounts.role(user) is None and not accounts.suits(user, password)):
            raise BadArgument
        wanted = _role(role)
        if accounts.role(user) is not None or len(self._app.data.users) >= MOST_ACCOUNTS:
            raise NotNow
        accounts.set(user, role=wanted, password=password)
        self._note("user-add", call, user)
        return done(201)

    def _change(self, call: Call) -> Answer:
        accounts, present = self._app.accounts, self._app.accounts.role(call.name)
        if "role" in parse(call.request.body):
            [role] = call.texts("role")
            wanted = _role(role)
            if present is None:
                raise NotFound
            if wanted is not Role.ADMINISTRATOR and accounts.is_last_administrator(call.name):
                raise NotNow
            accounts.set_role(call.name, wanted)
            self._note("user-change", call, call.name)
            self._app.end_sessions(call.name)
        else:
            [password] = call.texts("password")
            if present is None:
                raise NotFound
            self._set_password(call.name, present, password)
            self._note("user-change", call, call.name)
            self._log_off(call.name)
        return done()

    def _remove(self, call: Call) -> Answer:
        accounts = self._app.accounts
        call.fields()
        if accounts.role(call.name) is None:
            raise NotFound
        if accounts.is_last_administrator(call.name):
            raise NotNow
        self._note("user-remove", call, call.name)
        self._app.end_sessions(call.name)
        accounts.remove(call.name)
        return done()

    def _unlock(self, call: Call) -> Answer:
        [user] = call.texts("user")
        if self._app.accounts.role(user) is None:
            raise BadArgument
        self._app.accounts.unlock(user)
        self._note("unlock", call, user)
        return done()

    def _password(self, call: Call) -> Answer:
        old, new = call.texts("old", "new")
        attempt = Attempt(
            user=call.user,
            password=old.encode("utf-8", "surrogatepass"),
            surface="api",
            connection=call.request.connection,
        )
        result = self._app.accounts.judge(attempt)
        if result is not LogIn.ACCEPTED:
            self._note("password", call, result="refused")
            raise Locked if result is LogIn.LOCKED else NotPermitted
        assert call.role is not None
        self._set_password(call.user, call.role, new)
        self._note("password", call)
        self._log_off(call.user)
        return done()

    def _set_password(self, user: str, role: Role, password: str) -> None:
        if not self._app.accounts.suits(user, password):
            raise BadArgument
        self._app.accounts.set(user, role=role, password=password)

    def _log_off(self, user: str) -> None:
        if "token-survives-password-change" not in self._app.weaknesses:
            self._app.end_sessions(user)


class _Patients(_Part):
    """Patients' data."""

    def resources(self) -> Resources:
        roles = OPERATOR | ADMINISTRATOR
        return {
            ("GET", "/api/patients"): Resource(do=self._list, roles=roles),
            ("POST", "/api/patients"): Resource(do=self._add, roles=roles),
            ("GET", "/api/patients/export"): Resource(do=self._export, roles=ADMINISTRATOR),
            ("DELETE", "/api/patients/"): Resource(do=self._remove, roles=roles),
        }

    def _list(self, _call: Call) -> Answer:
        return in_json({"patients": self._app.data.patients})

    def _add(self, call: Call) -> Answer:
        identifier, name, ward, note = call.texts("id", "name", "ward", "note")
        patient = {"id": identifier, "name": name, "ward": ward, "note": note}
        if not is_patient(patient):
            raise BadArgument
        patients = self._app.data.patients
        if len(patients) >= MOST_PATIENTS or any(each["id"] == identifier for each in patients):
            raise NotNow
        patients.append(patient)
        self._app.data.save()
        self._note("patient-add", call, identifier)
        return done(201)

    def _export(self, call: Call) -> Answer:
        rows = [self._without_name(patient) for patient in self._app.data.patients]
        self._note("export", call, "patients")
        return in_json({"export": sorted(rows, key=lambda row: row["pseudonym"])})

    def _without_name(self, patient: dict[str, str]) -> dict[str, str]:
        row = {"pseudonym": secrets.token_hex(8), "ward": patient["ward"]}
        if "export-pseudonym-is-digest" in self._app.weaknesses:
            row["pseudonym"] = hashlib.sha256(patient["id"].encode()).hexdigest()[:16]
        if "export-names-patients" in self._app.weaknesses:
            row["note"] = patient["note"]
        return row

    def _remove(self, call: Call) -> Answer:
        call.fields()
        data = self._app.data
        left = [patient for patient in data.patients if patient["id"] != call.name]
        if len(left) == len(data.patients):
            raise NotFound
        data.patients = left
        data.save()
        self._note("patient-remove", call, call.name)
        return done()


def is_patient(patient: dict[str, str]) -> bool:
    """Judge a patient's data (VP1-ICD §11.5)."""
    return (
        re.fullmatch(r"[A-Za-z0-9-]{1,16}", patient["id"]) is not None
        and is_text(patient["name"], least=1, most=64)
        and is_text(patient["ward"], least=0, most=64)
        and is_text(patient["note"], least=0, most=200)
    )


def _moment(text: str) -> float:
    try:
        moment = datetime.strptime(text, UTC_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        raise BadArgument from None
    if not 2020 <= moment.year <= 2099 or moment.strftime(UTC_FORMAT) != text:
        raise BadArgument
    return moment.timestamp()


def _role(name: str) -> Role:
    try:
        return Role(name)
    except ValueError:
        raise BadArgument from None


def _values(lines: list[str]) -> dict[str, str | float]:
    """The console's lines `name: value` as JSON has them."""
    pairs = [line.split(": ", 1) for line in lines]
    return {name: value if name in _TEXTS else _number(value) for name, value in pairs}


def _number(text: str) -> float:
    return float(text) if "." in text else int(text)
