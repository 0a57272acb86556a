"""Surfaces by a class of a user's package: entry points of the group `proofrig.surfaces`.

A class derives from `CustomSurface`, or from `CustomLogInSurface` where people log in, and fills in what is abstract
there. Its `Options` say which options a device file may give it; a `SecretStr` is masked in what is shown.
"""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from harness.device.log_in import LogInSurface
from harness.device.surface import Surface, Wiring
from harness.errors import UsageError
from harness.rig import device_file as spec_of
from harness.rig.loading import Rig

__all__ = ["GROUP", "CustomLogInSurface", "CustomSurface", "NoOptions", "check_custom", "make_custom"]

GROUP = "proofrig.surfaces"
"""Group of the entry points."""


class NoOptions(BaseModel):
    """The options of a surface that takes none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CustomSurface(Surface):
    """A surface on which fields are read; a subclass says how, by `read` and `contrast`."""

    Options: ClassVar[type[BaseModel]] = NoOptions
    """What `options` of the device file may hold."""

    def __init__(self, name: str, wiring: Wiring, *, spec: spec_of.CustomSurface, options: BaseModel) -> None:
        """Open nothing yet: `wiring` gives the link `spec.link` when it is needed; `options` are valid `Options`."""
        super().__init__(name, wiring)
        self.spec = spec
        self.options = options


class CustomLogInSurface(LogInSurface):
    """A surface on which people log in; a subclass says how, by what is abstract in `LogInSurface`."""

    Options: ClassVar[type[BaseModel]] = NoOptions
    """What `options` of the device file may hold."""

    def __init__(
        self,
        name: str,
        wiring: Wiring,
        *,
        spec: spec_of.CustomLogInSurface,
        accounts: Mapping[str, spec_of.Account],
        options: BaseModel,
    ) -> None:
        """Open nothing yet, as `CustomSurface`; `accounts` are those of the device."""
        super().__init__(name, wiring, spec=spec, accounts=accounts)
        self.spec = spec
        self.options = options


def check_custom(rig: Rig) -> None:
    """Find what is missing or has the wrong shape, before any power is applied.

    Raises:
        UsageError: with file, line and key.
    """
    for name, spec in rig.device.surfaces.items():
        if isinstance(spec, spec_of.CustomSurface | spec_of.CustomLogInSurface):
            try:
                options_of(name, spec, class_of(name, spec))
            except _Wrong as wrong:
                where = rig.where_in_device("surfaces", name, *wrong.key)
                raise UsageError(wrong.message, where=where, hint=wrong.hint) from wrong.__cause__


def make_custom(
    name: str,
    wiring: Wiring,
    *,
    spec: spec_of.CustomSurface | spec_of.CustomLogInSurface,
    accounts: Mapping[str, spec_of.Account],
) -> Surface:
    """Return a surface of the class that `spec` names.

    Raises:
        UsageError: there is none, or it has the wrong shape.
    """
    made = class_of(name, spec)
    options = options_of(name, spec, made)
    for _, value in options:
        if isinstance(value, SecretStr):
            wiring.hide(value.get_secret_value())
    if isinstance(spec, spec_of.CustomLogInSurface):
        assert issubclass(made, CustomLogInSurface)
        return made(name, wiring, spec=spec, accounts=accounts, options=options)
    assert issubclass(made, CustomSurface)
    return made(name, wiring, spec=spec, options=options)


class _Wrong(UsageError):
    """What is wrong with a custom surface; `key` is where it stands below the surface."""

    def __init__(self, message: str, *, surface: str, key: tuple[str | int, ...], hint: str) -> None:
        super().__init__(message, where=".".join(map(str, ("surfaces", surface, *key))), hint=hint)
        self.key = key


def class_of(
    name: str, spec: spec_of.CustomSurface | spec_of.CustomLogInSurface
) -> type[CustomSurface] | type[CustomLogInSurface]:
    """Return the class that `spec` names.

    Raises:
        UsageError: it is not installed, cannot be imported, or is not what its type wants.
    """

    def wrong(message: str, hint: str) -> _Wrong:
        return _Wrong(message, surface=name, key=("entry_point",), hint=hint)

    installed = importlib.metadata.entry_points(group=GROUP)
    found = list(installed.select(name=spec.entry_point))
    if len(found) != 1:
        names = sorted(installed.names)
        near = get_close_matches(spec.entry_point, names, n=1)
        meant = f", did you mean {near[0]!r}?" if near else f"; there are {', '.join(names) or 'none'}"
        if found:
            raise wrong(f"{len(found)} packages have an entry point {spec.entry_point!r}", "uninstall all but one")
        raise wrong(
            f"no entry point {spec.entry_point!r} in {GROUP}{meant}",
            "install the package that brings it, beside proofrig",
        )
    try:
        made = found[0].load()
    except Exception as error:  # noqa: BLE001 - a package of somebody else's may fail in any way as it is imported
        raise wrong(
            f"{found[0].value} cannot be imported: {error!r}", "mend the package, or its installation"
        ) from error
    base = CustomLogInSurface if isinstance(spec, spec_of.CustomLogInSurface) else CustomSurface
    if not inspect.isclass(made) or not issubclass(made, base):
        raise wrong(
            f"{found[0].value} is no class that derives from harness.device.custom.{base.__name__}",
            f"as `type: {spec.type}` wants; see docs/custom-surface.md",
        )
    if lacking := sorted(made.__abstractmethods__):
        raise wrong(f"{found[0].value} does not define {', '.join(lacking)}", "see docs/custom-surface.md")
    given = {"accounts": None} if base is CustomLogInSurface else {}
    try:
        inspect.signature(made).bind(name, None, spec=spec, options=None, **given)
    except TypeError as error:
        raise wrong(
            f"{found[0].value} cannot be made: {error}", f"leave __init__ as it is in {base.__name__}"
        ) from error
    return made


def options_of(
    name: str, spec: spec_of.CustomSurface | spec_of.CustomLogInSurface, made: type[CustomSurface | CustomLogInSurface]
) -> BaseModel:
    """Return the options of the device file as the class wants them.

    Raises:
        UsageError: they are not as its `Options` say.
    """
    try:
        return made.Options.model_validate(spec.options)
    except ValidationError as error:
        first = error.errors()[0]
        message = f"unknown option {first['loc'][-1]!r}" if first["type"] == "extra_forbidden" else str(first["msg"])
        hint = f"options of {spec.entry_point}: {', '.join(made.Options.model_fields) or 'none'}"
        raise _Wrong(message, surface=name, key=("options", *first["loc"]), hint=hint) from error
