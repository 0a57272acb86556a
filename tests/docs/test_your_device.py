"""The tutorial is followed word for word on the third device: every command, every file, every answer that is shown."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs/your-device.md"
DEADLINE_S = 300
IN_THE_CLONE = ("testcases", "rigs", "conftest.py", "pyproject.toml")
"""What is copied; the rest of the clone is only looked at."""


@dataclass(frozen=True)
class Block:
    """A block of the tutorial: commands with their answers, or part of a file."""

    kind: str
    file: str
    text: str

    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Each command, and the lines of its answer that are shown."""
        for part in re.split(r"(?m)^\$ ", self.text)[1:]:
            command, _, answer = re.sub(r" *\\\n *", " ", part).partition("\n")
            yield command, answer.splitlines()


BLOCKS = [
    Block(kind, file, text)
    for kind, file, text in re.findall(r'(?ms)^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', TUTORIAL.read_text("utf-8"))
]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder that looks like the clone, and in which something may be written."""
    for name in IN_THE_CLONE:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    for name in ("firmware-fixtures", ".build", ".venv", ".node"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_the_tutorial_is_followed_word_for_word(clone: Path) -> None:
    for block in BLOCKS:
        if block.kind == "yaml":
            _write(clone / block.file, block.text)
            continue
        for command, answer in block.commands():
            _expect(answer, _answer_to(command, clone), command)


def test_the_tutorial_has_commands_and_files() -> None:
    """Else nothing would be followed."""
    assert {block.file for block in BLOCKS if block.kind == "yaml"} == {"mine/gw.yaml", "mine/devices/gw.yaml"}
    assert sum(len(list(block.commands())) for block in BLOCKS if block.kind == "console") >= 10
    assert {block.kind for block in BLOCKS} == {"yaml", "console"}


def _write(file: Path, text: str) -> None:
    """Put each part into the place of what stands there under the same name: a surface, a claim, a link, a key."""
    yaml = YAML()
    tree = yaml.load(file)
    for key, value in yaml.load(text).items():
        if isinstance(tree.get(key), dict) and key in ("surfaces", "claims", "links"):
            tree[key].update(value)
        else:
            tree[key] = value
    yaml.dump(tree, file)


def _answer_to(command: str, folder: Path) -> list[str]:
    """Run a command in a shell in which the virtual environment is active."""
    environment = {**os.environ, "COLUMNS": "120", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    return done.stdout.splitlines()


def _expect(shown: list[str], came: list[str], command: str) -> None:
    """Every line that is shown came, in this order; `…` stands for anything."""
    rest = iter(came)
    for line in shown:
        if line.strip() == "…":
            continue
        pattern = re.compile(r"\s+".join(map(_any, line.split())))
        assert any(pattern.search(each) for each in rest), f"$ {command}\nno line {line!r} in\n" + "\n".join(came)


def _any(word: str) -> str:
    return ".*".join(map(re.escape, word.split("…")))
