"""How a file travels in an action of a dialogue: over the line itself, or beside it over SSH."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from harness.rig.claim_base import BytesPattern, Strict
from harness.rig.templates import holes

__all__ = ["Download", "FileTransfer", "Upload"]

LINE_PROTOCOLS = ("xmodem", "xmodem-1k", "ymodem")
"""Protocols on the line of the dialogue; the others are over SSH."""


class FileTransfer(Strict):
    """What both directions have in common. `{NAME}` in `path` is filled from the arguments of the action."""

    by: Literal["xmodem", "xmodem-1k", "ymodem", "sftp", "scp"] = Field(
        description="How; `xmodem` has blocks of 128 bytes, with a CRC or a checksum as the device asks"
    )
    ready_when: BytesPattern = Field(
        default="",
        description=(
            "Regular expression of the device's last words before the transfer; on the line only, and needed there"
        ),
    )
    link: str = Field(default="", description="`ssh` link of `sftp` and `scp`; empty: the surface's own")
    path: str = Field(
        default="",
        description=(
            "Path on the device with `sftp` and `scp`, the file's name with `ymodem` to the device; `{NAME}` "
            "is filled from the arguments"
        ),
    )
    within: float = Field(gt=0, description="Seconds the file may take")

    @property
    def on_line(self) -> bool:
        """Whether the file travels on the line of the dialogue."""
        return self.by in LINE_PROTOCOLS

    def named(self) -> set[str]:
        """Return the names the path needs."""
        return holes(self.path)

    @model_validator(mode="after")
    def _fits_its_protocol(self) -> Self:
        if self.on_line and self.link:
            raise ValueError(f"{self.by} travels on the line of the dialogue: leave `link` out")
        if self.on_line and not self.ready_when:
            raise ValueError(f"{self.by} needs `ready_when`: the device's last words before the transfer")
        if not self.on_line and self.ready_when:
            raise ValueError(f"{self.by} does not travel on the line of the dialogue: leave `ready_when` out")
        if not self.on_line and not self.path:
            raise ValueError(f"{self.by} needs a `path` on the device")
        if self.by.startswith("xmodem") and self.path:
            raise ValueError("XMODEM tells no name: leave `path` out")
        return self


class Upload(FileTransfer):
    """A file to the device."""

    octets: str = Field(description="What it holds where a testcase gives nothing; harmless")

    @model_validator(mode="after")
    def _has_a_name(self) -> Self:
        if self.by == "ymodem" and not self.path:
            raise ValueError("ymodem needs a `path`: the name it gives the file")
        return self


class Download(FileTransfer):
    """A file from the device, and how much of it is taken at most."""

    most: int = Field(default=16 * 1024 * 1024, ge=1, description="Bytes it may have; what is longer is not taken")

    @model_validator(mode="after")
    def _is_told_its_name(self) -> Self:
        if self.by == "ymodem" and self.path:
            raise ValueError("with ymodem the device names the file: leave `path` out")
        return self
