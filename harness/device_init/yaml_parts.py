"""Parts of a YAML tree as a person would write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarint import HexCapsInt
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

__all__ = ["comment", "flow", "in_hex", "listed", "one_line", "quoted"]


def quoted(text: str) -> str:
    """Return text that is written in quotes, whatever it is."""
    written: str = DoubleQuotedScalarString(text)
    return written


def one_line(text: str) -> str:
    """Return text for a comment: one line, whatever it was."""
    return " ".join(text.split())


def in_hex(number: int, width: int | None = None) -> int:
    """Return a number that is written as 0x…, with at least `width` digits."""
    written: int = HexCapsInt(number, width=width)
    return written


def flow(values: Mapping[str, Any]) -> CommentedMap:
    """Return a mapping on one line."""
    node = CommentedMap(values)
    node.fa.set_flow_style()
    return node


def listed(values: Iterable[Any]) -> CommentedSeq:
    """Return a list on one line."""
    node = CommentedSeq(values)
    node.fa.set_flow_style()
    return node


def comment(node: CommentedMap, key: str, *lines: str, indent: int = 0) -> None:
    """Put comments before a key."""
    told: Sequence[str] = [one_line(line) if line[:1] != " " else f"  {one_line(line)}" for line in lines]
    if told:
        node.yaml_set_comment_before_after_key(key, before="\n".join(told), indent=indent)
