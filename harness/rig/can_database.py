"""CAN databases (DBC): messages and signals that a device file calls by their names instead of numbers.

While a device file is validated, `Neighbours` is pydantic's context: the field `dbc` reads the databases into it, and
every identifier after it may be the name of a message. What is left in the models is numbers, and `CanSignal`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainValidator, ValidationInfo

if TYPE_CHECKING:
    from cantools.database.can import Message

__all__ = ["EXTENDED_FLAG", "CanId", "CanSignal", "DbcFile", "Neighbours", "SignalName", "StandardId"]

EXTENDED_FLAG = 0x8000_0000
"""Bit 31 of an identifier says that it has 29 bits, as in a DBC and in Linux SocketCAN."""
EXTENDED_MASK = 0x1FFF_FFFF
STANDARD_MASK = 0x7FF


class CanSignal:
    """One signal of a message in a database. `word` is the message's identifier, bit 31 set where it has 29 bits."""

    __slots__ = ("_message", "name", "word")

    def __init__(self, message: Message, name: str) -> None:
        self.name = f"{message.name}.{name}"
        self.word = _word(message)
        self._message = message

    def decode(self, data: bytes) -> float | None:
        """Return the physical value in the data of a frame, whatever a hostile device has put there.

        None where the frame carries other signals of a multiplexed message. NaN where it ought to be there and is
        not: the frame is too short, or its multiplexer says what the database does not know.
        """
        from cantools.database import DecodeError

        own = self.name.partition(".")[2]
        try:
            values = self._message.decode(data, decode_choices=False, allow_truncated=True)
        except DecodeError:
            return math.nan
        assert isinstance(values, dict)  # a list is for containers, which a DBC has not
        value = values.get(own)
        if isinstance(value, int | float):
            return float(value)
        return None if self._elsewhere(own, values) else math.nan

    def _elsewhere(self, name: str, values: Mapping[str, object]) -> bool:
        """Whether a multiplexer in the frame says that the signal is not in this one."""
        signal = self._message.get_signal_by_name(name)
        selector = signal.multiplexer_signal
        if selector is None:
            return False
        if selector in values:
            return values[selector] not in (signal.multiplexer_ids or ())
        return self._elsewhere(selector, values)


class Neighbours:
    """The files beside a device file, and what was read in them while it is validated.

    `folders` are those of the device file and of the files it is based on, in this order: what a base names lies
    beside the base.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self.read: dict[Path, str] = {}
        """The databases in the order in which they are named → SHA-256 of their bytes."""
        self._messages: dict[str, Message] = {}

    def path(self, name: str) -> Path:
        """Return the path of a file: beside the device file, else beside the nearest of its bases that has it there."""
        paths = [folder / name for folder in self._folders]
        return next((path for path in paths if path.is_file()), paths[0])

    def add(self, name: str) -> None:
        """Read one database.

        Raises:
            ValueError: it cannot be read, is no DBC, or has a message that another one has, too.
        """
        import cantools.database
        from cantools.database.can import Database

        path = self.path(name)
        try:
            blob = path.read_bytes()
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror}; the path is relative to the device file") from None
        try:
            database = cantools.database.load_string(blob.decode("cp1252", "replace"), database_format="dbc")
        except (cantools.Error, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            # The parser lets the errors of its own steps through.
            why = str(error).removeprefix("DBC: ")[:200] or type(error).__name__
            raise ValueError(f"is no DBC: {why}") from None
        assert isinstance(database, Database)
        for message in database.messages:
            if message.name in self._messages:
                raise ValueError(f"message {message.name!r} is in another database already")
            self._messages[message.name] = message
        self.read[path] = hashlib.sha256(blob).hexdigest()

    def message(self, name: str) -> Message:
        """Return a message by name.

        Raises:
            ValueError: there is none.
        """
        if name not in self._messages:
            why = (
                f"no message named {name!r}" if self.read else f"{name!r} is no number, and no database is under `dbc`"
            )
            raise ValueError(why + _near(name, self._messages))
        return self._messages[name]

    def signal(self, name: str) -> CanSignal:
        """Return a signal by `MESSAGE.SIGNAL`.

        Raises:
            ValueError: there is none.
        """
        of, dot, own = name.partition(".")
        if not dot:
            raise ValueError("write MESSAGE.SIGNAL")
        message = self.message(of)
        names = [signal.name for signal in message.signals]
        if own not in names:
            raise ValueError(f"message {of!r} has no signal {own!r}{_near(own, names)}")
        return CanSignal(message, own)


def _word(message: Message) -> int:
    return message.frame_id | (EXTENDED_FLAG if message.is_extended_frame else 0)


def _near(name: str, names: Iterable[str]) -> str:
    known = list(names)
    close = get_close_matches(name, known, n=1)
    if close:
        return f", did you mean {close[0]!r}?"
    return f"; there are {', '.join(known[:10])}{' …' if len(known) > 10 else ''}" if known else ""


def _neighbours(info: ValidationInfo) -> Neighbours:
    # A model made in memory has no file, and nothing beside it.
    return info.context if isinstance(info.context, Neighbours) else Neighbours(Path())


def _read(name: str, info: ValidationInfo) -> str:
    _neighbours(info).add(name)
    return name


def _number(value: Any, info: ValidationInfo) -> Any:
    return _word(_neighbours(info).message(value)) if isinstance(value, str) else value


def _any_width(number: int) -> int:
    if not 0 <= number & ~EXTENDED_FLAG <= EXTENDED_MASK:
        raise ValueError("an identifier has 11 bits, or 29 (with bit 31 set, which a number over 0x7FF needs not)")
    return number | EXTENDED_FLAG if number > STANDARD_MASK else number


def _eleven_bits(number: int) -> int:
    if not 0 <= number <= STANDARD_MASK:
        raise ValueError("here an identifier has 11 bits")
    return number


def _signal(value: Any, info: ValidationInfo) -> CanSignal:
    if isinstance(value, CanSignal):
        return value
    if not isinstance(value, str):
        raise ValueError("write MESSAGE.SIGNAL")
    return _neighbours(info).signal(value)


DbcFile = Annotated[str, AfterValidator(_read)]
"""Path of a CAN database, relative to the device file."""
CanId = Annotated[int, BeforeValidator(_number, json_schema_input_type=int | str), AfterValidator(_any_width)]
"""An identifier, as a number or as the name of a message; 29 bits with bit 31 set."""
StandardId = Annotated[int, BeforeValidator(_number, json_schema_input_type=int | str), AfterValidator(_eleven_bits)]
"""An identifier of 11 bits, as a number or as the name of a message."""
SignalName = Annotated[CanSignal, PlainValidator(_signal, json_schema_input_type=str)]
"""A signal of a database, as MESSAGE.SIGNAL."""
