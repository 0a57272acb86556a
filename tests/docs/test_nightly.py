"""`make nightly` and the templates around it: what they call exists, and a night on the sham does what it should."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
CI = ROOT / "docs/ci"
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def _yaml(name: str) -> Any:
    return YAML(typ="safe").load((CI / name).read_text(encoding="utf-8"))


def _cron() -> list[tuple[list[str], str]]:
    """Fields and command of each entry of the crontab."""
    lines = (CI / "crontab").read_text(encoding="utf-8").splitlines()
    entries = [line.split(None, 5) for line in lines if re.match(r"[\d*]", line)]
    return [(entry[:5], entry[5]) for entry in entries]


def _commands() -> Iterator[tuple[str, str]]:
    jobs = [job for job in _yaml("gitlab-ci.yml").values() if isinstance(job, dict)]
    for job in jobs:
        for command in (*job["script"], *job.get("after_script", ())):
            yield "gitlab-ci.yml", command
    for job in _yaml("github-actions.yml")["jobs"].values():
        yield from (("github-actions.yml", step["run"]) for step in job["steps"] if "run" in step)
    yield from (("crontab", command) for _, command in _cron())


@pytest.mark.parametrize("name", ["gitlab-ci.yml", "github-actions.yml", "crontab"])
def test_every_template_calls_the_night_and_names_no_host(name: str) -> None:
    assert any(where == name and "make nightly" in command for where, command in _commands())
    assert not re.search(r"https?://|\bregistry\b|\b[\w-]+\.(com|org|io|net|cn)\b", (CI / name).read_text())


@pytest.mark.parametrize(("name", "command"), list(_commands()))
def test_what_a_template_calls_exists(name: str, command: str) -> None:
    subprocess.run(["sh", "-n", "-c", command], check=True)
    for call in re.findall(r"\bmake ([^&|;]+)", command):
        target, *settings = shlex.split(call)
        assert re.search(rf"(?m)^{target}:", MAKEFILE), f"{name}: make {target}"
        for setting in settings:
            variable, _, value = setting.partition("=")
            assert re.search(rf"(?m)^{variable} +\?=", MAKEFILE), f"{name}: {variable}"
            assert (ROOT / value).is_file(), f"{name}: {value}"


def test_what_is_kept_is_where_the_nights_are() -> None:
    default = re.search(r"(?m)^NIGHTS +\?= (\S+)$", MAKEFILE)
    assert default
    gitlab = _yaml("gitlab-ci.yml")["nightly"]
    assert gitlab["cache"]["paths"] == gitlab["artifacts"]["paths"] == [f"{default[1]}/"]
    assert gitlab["cache"]["when"] == gitlab["artifacts"]["when"] == "always"
    uses = [step for step in _yaml("github-actions.yml")["jobs"]["nightly"]["steps"] if "with" in step]
    assert [step["with"]["path"] for step in uses] == [default[1]] * 3
    assert all(step["if"] == "always()" for step in uses[1:])


def test_the_crontab_has_five_fields_and_no_unescaped_percent() -> None:
    for fields, command in _cron():
        assert all(re.fullmatch(r"\*|\d{1,2}", field) for field in fields), fields
        assert "%" not in command, "cron ends the command there"


def test_the_demo_leaves_out_what_is_long() -> None:
    (recipe,) = re.findall(r"(?m)^demo:.*\n\t(.*)$", MAKEFILE)
    assert recipe == '$(BIN)/proofrig run rigs/pump-qemu.yaml -m "not long" -n 2'


def test_two_nights_on_the_sham(tmp_path: Path) -> None:
    """As `make nightly` does it, with one testcase; of the qualification, the test that needs no device."""
    errors = []
    for flaw in ("", " --weakness can-no-auth"):
        done = subprocess.run(
            [
                "make", "-o", "setup", "-o", "firmware", "nightly", "RIG=tests/sham/rig.yaml", f"NIGHTS={tmp_path}",
                f"OPTIONS=testcases/can/test_command_authentication.py --no-html{flaw}",
                "QUALIFICATION=-k 'test_what_weaknesses_declare_is_there and pump'",
            ],
            cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        errors.append(re.findall(r"Error (\d+)", done.stderr))
    assert "changes since" in done.stdout, done.stdout + done.stderr
    folders = sorted(path for path in tmp_path.iterdir() if path.name != "history")
    assert len((tmp_path / "history/rig.jsonl").read_text().splitlines()) == len(folders) == 2
    for folder in folders:
        (trial,) = json.loads((folder / "summary.json").read_text())["qualification"]
        assert trial["name"] == "what weaknesses declare is there: pump"
    # The exit code of the run, or else of the qualification.
    assert errors == [[] if trial["result"] == "as declared" else ["1"], ["10"]]
    changes = json.loads((folders[1] / "changes.json").read_text())
    assert [(each["kind"], each["before"], each["now"]) for each in changes["testcases"]] == [
        ("new failure", "PASS", "FAIL")
    ]
    assert (folders[1] / "allure-report/index.html").is_file()
