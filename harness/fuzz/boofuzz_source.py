"""A program of its own: reads models, has boofuzz mutate them, writes the cases framed on its standard output.

    python -m harness.fuzz.boofuzz_source --count 200 --seed 7 MODEL.json…     (`-` is standard input)

boofuzz is GPL-2.0-only: it is imported here and nowhere else, and nothing imports this module.
Exit codes: 0 done, 2 a model cannot be read, 3 boofuzz is not installed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.fuzz.cases import FuzzCase, spread, write_cases
from harness.fuzz.grammar import Field, Message, Model

NOT_INSTALLED = 3


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="boofuzz_source", description="fuzz cases from models, by boofuzz")
    parser.add_argument("--count", type=int, required=True, help="cases to draw")
    parser.add_argument("--seed", type=int, required=True, help="seed of the draw")
    parser.add_argument("models", nargs="+", metavar="MODEL", help="file with a model as JSON, - for standard input")
    arguments = parser.parse_args()
    try:
        import boofuzz  # noqa: PLC0415
    except ImportError as error:
        sys.stderr.write(f"boofuzz cannot be imported: {error}\n")
        return NOT_INSTALLED
    cases: list[FuzzCase] = []
    for name in arguments.models:
        try:
            model = Model.from_json(sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            sys.stderr.write(f"{name}: {error}\n")
            return 2
        for message in model.messages:
            cases.extend(_mutations(boofuzz, message))
    drawn = spread(cases, arguments.count, seed=arguments.seed)
    write_cases(sys.stdout.buffer, drawn, available=len(cases))
    return 0


def _mutations(boofuzz: Any, message: Message) -> Iterator[FuzzCase]:
    """Yield every single mutation of a message that changes it, each once."""
    from boofuzz.mutation_context import MutationContext  # noqa: PLC0415

    request = boofuzz.Request(message.name, children=_nest(boofuzz, list(message.fields)))
    seen = {message.render()}
    for mutations in request.get_mutations():
        data = bytes(request.render(MutationContext(mutations=mutations)))
        if data in seen:
            continue
        seen.add(data)
        where = "+".join(f"{m.qualified_name.rsplit('.', 1)[-1]}:{m.index}" for m in mutations)
        yield FuzzCase(id=f"boofuzz/{message.name}/{where}", data=data, state=message.state)


def _nest(boofuzz: Any, fields: list[Field]) -> tuple[Any, ...]:
    """Return the fields as boofuzz primitives; what a length counts becomes a block behind it."""
    made: list[Any] = []
    for number, part in enumerate(fields):
        if part.kind in ("length8", "length16"):
            block = f"behind-{part.name}"
            width = 1 if part.kind == "length8" else 2
            made.append(boofuzz.Size(name=part.name, block_name=block, length=width, endian=">", fuzzable=True))
            made.append(boofuzz.Block(name=block, children=_nest(boofuzz, fields[number + 1 :])))
            break
        made.append(_primitive(boofuzz, part))
    return tuple(made)


def _primitive(boofuzz: Any, part: Field) -> Any:
    match part.kind:
        case "static":
            return boofuzz.Static(name=part.name, default_value=part.value)
        case "u8":
            return boofuzz.Byte(name=part.name, default_value=part.value[0], full_range=True)
        case "u16":
            return boofuzz.Word(name=part.name, default_value=int.from_bytes(part.value), endian=">")
        case "text":
            text = part.value.decode("latin-1")
            return boofuzz.String(name=part.name, default_value=text, max_len=part.longest, encoding="latin-1")
        case _:
            return boofuzz.Bytes(name=part.name, default_value=part.value, max_len=part.longest)


if __name__ == "__main__":
    sys.exit(main())
