"""The documents say what is true: every key is described, every command exists, every link leads somewhere."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

from harness.cli import _parser
from harness.errors import UsageError
from harness.links.http_trust import self_signed
from harness.pytest_plugin import pytest_addoption
from harness.rig import control_specs, device_file
from harness.rig.baseline import BASELINE
from harness.rig.loading import load_device
from harness.rig.machine_file import MachineFile
from harness.rig.reference import headings, with_tables
from harness.rig.templates import OPERATIONS
from harness.verdict import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_NOT_RUN, EXIT_USAGE, Verdict

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/device-file.md"
DOCUMENTS = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    if (ROOT / name).is_file()
)


def _models(hint: Any) -> Iterator[type[BaseModel]]:
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint
    for inner in get_args(hint):
        yield from _models(inner)


def _sections(text: str) -> dict[str, str]:
    parts = re.split(r"(?m)^#+ (.+)$", text)
    headings = parts[1::2]
    assert len(set(headings)) == len(headings), "two sections have the same heading"
    return dict(zip(headings, parts[2::2], strict=True))


def _rows(section: str) -> dict[str, str]:
    """Key and default of each row of the section's table."""
    return {row[1]: row[2] for row in re.finditer(r"(?m)^\| `(\w+)` \| .+? \| (.+?) \| .+ \|$", section)}


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "none" if field.default is None else "empty" if field.default in ("", (), {}) else f"`{field.default}`"


def test_the_tables_of_the_reference_are_those_of_the_models() -> None:
    page = REFERENCE.read_text(encoding="utf-8")
    assert page == with_tables(page), "make schema"


def test_every_key_is_described() -> None:
    page = REFERENCE.read_text(encoding="utf-8")
    assert re.findall(r"(?m)^\| `(\w+)` \| .+? \| .+? \| *\|$", page) == []


def test_a_model_without_its_heading_is_named() -> None:
    page = REFERENCE.read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="LockoutClaim has no table under the heading 'Claim `lockout`'"):
        with_tables(page.replace("### Claim `lockout`", "### Lock-out"))


def test_the_reference_has_every_baseline_claim() -> None:
    sections = _sections(REFERENCE.read_text(encoding="utf-8"))
    for claim_id, claim in BASELINE.items():
        assert f"| `{claim_id}` | {claim.statement} | {claim.source} |" in sections["Claims"]


def test_the_reference_has_no_section_too_many() -> None:
    typed = {name for name in _sections(REFERENCE.read_text(encoding="utf-8")) if name.endswith("`")}
    assert typed <= set(headings().values())


def test_the_page_of_the_machine_file_has_every_key_and_an_example() -> None:
    text = (ROOT / "docs/emulated-device.md").read_text(encoding="utf-8")
    fields = MachineFile.model_fields
    assert _rows(text) == {field.alias or name: _default(field) for name, field in fields.items()}
    (example,) = re.findall(r"(?ms)^```json\n(.*?)^```", text)
    MachineFile.model_validate_json(example)


# Examples

EXAMPLES = re.findall(r"(?ms)^```yaml\n(.*?)^```", REFERENCE.read_text(encoding="utf-8"))
"""Every block of the reference: a variant, a control of a rig file, actions of a surface, or part of a device file."""
DIALOGUE = {
    "type": "dialogue", "link": "console", "accounts": ["user"], "prompt": "> $", "accepted_when": "ok",
    "refused_when": "error",
    "login": {
        "user_prompt": "login: $", "password_prompt": "password: $", "accepted_when": "ok", "refused_when": "error",
        "locked_when": "locked", "logged_off_when": "logged off", "log_out": "exit",
    },
}  # fmt: skip
HTTP = {
    "type": "http", "link": "https", "accounts": ["user"], "accepted_when": {"status": [200]},
    "refused_when": {"status": [400, 401, 403]}, "denied_when": {"status": [403]}, "over_when": {"status": [401]},
    "unknown_request": {"method": "GET", "path": "/none"},
    "login": {
        "method": "POST", "path": "/log-in", "accepted_when": {"status": [200]}, "refused_when": {"status": [401]},
        "token": "token", "carried": {"Authorization": "{token}"}, "log_out": {"method": "POST", "path": "/log-out"},
    },
}  # fmt: skip


def _whole(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return a device file with this part, and the least of what else it needs."""
    if "base" in part:
        return dict(part)
    if "actions" in part:
        of_http = any("method" in action for action in part["actions"].values())
        return _whole({"surfaces": {"surface": {**(HTTP if of_http else DIALOGUE), "fields": {}, **part}}})
    surfaces = part.get("surfaces", {"uds": {
        "type": "uds", "link": "can", "request_id": 1, "response_id": 2, "sessions": {}, "identifiers": {},
        "unknown_identifier": 1,
    }})  # fmt: skip
    named = {account for spec in surfaces.values() for account in spec.get("accounts", ())}
    return {
        "device": "example", "manufacturer": "M", "model": "M", "kind": "k", "version": "1", "claims": {},
        "identity": next(iter(surfaces)),
        "accounts": {name: {"role": "r", "password": "right-horse-7"} for name in sorted(named)},
        "links": sorted({"files", *(spec["link"] for spec in surfaces.values())}),
        "surfaces": surfaces,
        **part,
    }  # fmt: skip


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: " ".join(re.findall(r"(?m)^  (\w[\w-]*):", example)))
def test_every_example_is_loaded(example: str, tmp_path: Path) -> None:
    yaml = YAML()
    part = yaml.load(example)
    if "control" in part:
        TypeAdapter(control_specs.ControlSpec).validate_python(part["control"])
        return
    yaml.dump(_whole(part), tmp_path / "device.yaml")
    shutil.copy(ROOT / "rigs/devices/infusion-pump.yaml", tmp_path)
    shutil.copy(ROOT / "tests/rig/ventilator.dbc", tmp_path)
    made = self_signed("robot").pem
    (tmp_path / "robot.pem").write_bytes(made)
    (tmp_path / "robot-key.pem").write_bytes(made)
    load_device(tmp_path / "device.yaml")


def test_there_is_an_example_of_every_surface_and_operation() -> None:
    shown = [YAML().load(example).get("surfaces", {}) for example in EXAMPLES]
    kinds = {spec["type"] for surfaces in shown for spec in surfaces.values()}
    assert kinds == {model.model_fields["type"].default for model in _models(device_file.SurfaceSpec)}
    actions = {action for surfaces in shown for spec in surfaces.values() for action in spec.get("actions", ())}
    assert set(OPERATIONS) <= actions
    ways = {spec["login"].get("by") for surfaces in shown for spec in surfaces.values() if spec["type"] == "http"}
    assert ways == {None, "digest", "certificate"}


# Commands


def _commands() -> list[tuple[str, str]]:
    """Every line of a code block, or of `inline code`, that calls proofrig or pytest; with its document."""
    found = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        text = re.sub(r" *\\\n *", " ", text)
        blocks = re.findall(r"(?ms)^```\w*\n(.*?)^```", text)
        lines = [line for block in blocks for line in block.splitlines()]
        lines += re.findall(r"(?m)^    (\S.*)$", text)
        lines += re.findall(r"`((?:proofrig|pytest) [^`]+)`", text)
        for line in lines:
            command = re.sub(r"^(?:\$ )?(?:\w+=\S* )*", "", line.split("  #")[0]).strip()
            if re.match(r"(proofrig|pytest) [^:]*$", command):
                found.append((str(path.relative_to(ROOT)), command))
    return found


COMMANDS = _commands()


def _subparsers(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices
    return {}


def _own_options() -> set[str]:
    parser = pytest.Parser(_ispytest=True)
    pytest_addoption(parser)
    return {name for group in parser._groups for option in group.options for name in option.names()}


PYTEST_OPTIONS = _own_options() | {"-k", "-m", "-n", "-q", "-x", "-v", "-p", "--collect-only"}


@pytest.mark.parametrize(("document", "command"), COMMANDS, ids=[f"{where}: {what}" for where, what in COMMANDS])
def test_every_command_exists(document: str, command: str) -> None:
    program, *words = shlex.split(command)
    options = {word.split("=")[0] for word in words if word.startswith("-")}
    if program == "proofrig":
        parser, passes_on = _parser(), False
        while choices := _subparsers(parser):
            if words[0] in parser._option_string_actions:
                break
            assert words[0] in choices, f"{document}: no command {words[0]!r} in {command!r}"
            passes_on = words[0] == "run"
            parser = choices[words.pop(0)]
        known = set(parser._option_string_actions) | (PYTEST_OPTIONS if passes_on else set())
    else:
        known = PYTEST_OPTIONS
    assert options <= known, f"{document}: {command}"
    for word in words:
        place = word.split("::")[0]
        mine = "mine" in place or "/nowhere" in place or place.isupper() or place.endswith(("/RUN", "NAME.yaml"))
        if place.startswith(("rigs/", "testcases", "tests/")) and not mine:
            assert (ROOT / place).exists(), f"{document}: {place} in {command!r}"


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, parser in _subparsers(_parser()).items():
        for full in [f"{name} {inner}" for inner in _subparsers(parser)] or [name]:
            assert f"| `proofrig {full}" in text, f"proofrig {full} is not in the README"


def test_commands_are_found() -> None:
    assert {"README.md", "docs/first-run.md", "docs/write-a-testcase.md"} <= {document for document, _ in COMMANDS}


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"(?m)(?:`|^    )make ([a-z]+)", text):
            assert target in targets, f"{path.relative_to(ROOT)}: make {target}"


# Links and facts


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"(?ms)^```.*?^```", "", path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (path.parent / name).resolve() if name else path
        assert place.exists(), f"{target} leads nowhere"
        if anchor:
            assert anchor in _anchors(place), f"{target}: no such heading"


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"(?m)^#+ (.+)$", path.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_exit_codes_and_verdicts_are_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for code in (0, EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_NOT_RUN, EXIT_USAGE):
        assert f"\n| {code} |" in text
    for verdict in Verdict:
        assert f"\n| {verdict.value} |" in text


def test_every_dependency_is_in_third_party() -> None:
    text = (ROOT / "THIRD-PARTY.md").read_text(encoding="utf-8").lower()
    pinned = [line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    host = [line for line in (ROOT / "debian-packages.txt").read_text().splitlines() if not line.startswith("#")]
    locks = [*(ROOT / "firmware-fixtures").glob("*/packages.lock"), ROOT / "tests/socketcan/packages.lock"]
    rows = [line for lock in locks for line in lock.read_text().splitlines() if not line.startswith("#")]
    image = [row.split()[1] for row in rows]
    for name in {*pinned, *(re.split(r"[<>=]", each)[0] for each in asked), *host, *image}:
        assert re.search(rf"(?<![\w-]){re.escape(name.lower())}(?![\w-])", text), f"{name} is not in THIRD-PARTY.md"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_no_machine(path: Path) -> None:
    assert not re.search(r"(?<![\w.])/(?:work|home|root|tmp)/", path.read_text(encoding="utf-8"))


def test_the_house_is_drawn_as_it_stands() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for part in (ROOT / "harness").iterdir():
        name = f"{part.name}/" if part.is_dir() else part.name
        if part.is_dir() == any(part.glob("*.py")) and not name.startswith("_") and name != "py.typed":
            assert re.search(rf"(?m)^      {re.escape(name)} ", text), f"{name} is not drawn"
    testcases = re.search(r"(?m)^    testcases/ +(.+)$", text)
    assert testcases
    folders = sorted(folder.parent.name for folder in (ROOT / "testcases").glob("*/test_*.py"))
    assert testcases[1].split() == sorted(set(folders))


def test_the_layers_are_those_of_the_contract() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    assert "\n".join(f"    {layer}" for layer in layers).replace("harness.", "") in text
