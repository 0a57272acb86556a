"""The pages, made by the real generator and opened in real Chromium: laid out right, asking nobody, running nothing."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from report_browser import visit
from report_folders import FLOOD, HOSTILE, LOCKOUT, REPLAY, WAVES, Folder

from harness.clauses.registry import load_registry
from harness.errors import UsageError
from harness.report import html
from harness.report.allure_results import complete_results
from harness.report.coverage_page import write_coverage
from harness.report.html import find_generator, harden, make_html
from harness.report.reading import read_run


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every verdict, on a device that answers with scripts; its pages are made."""
    folder = Folder(tmp_path_factory.mktemp("html") / "run").plan()
    folder.case(LOCKOUT, "PASS", "held", text=HOSTILE)
    folder.case(REPLAY, "FAIL", "held", "broken", reason=f"accepted: {HOSTILE}", text=HOSTILE)
    folder.case(FLOOD, "INCONCLUSIVE", "undecided", reason="the bench stalled")
    folder.finish(WAVES, "NOT APPLICABLE", reason=HOSTILE)
    path = folder.end()
    run, registry = read_run(path), load_registry()
    complete_results(run, path / "allure-results", registry)
    _make_hostile(path / "allure-results")
    make_html(path / "allure-results", path / "allure-report", name="a report", registry=registry)
    write_coverage(run, path / "coverage.html", registry)
    return path


def _make_hostile(results: Path) -> None:
    """Put markup where a device's words go: title, description, label, link, parameter, step, attachment."""
    path = next(path for path in results.glob("*-result.json") if "CAN-REPLAY" in path.read_text())
    result = json.loads(path.read_text())
    script = HOSTILE.encode("ascii", "ignore").decode().replace("\0", "")
    result["name"] += script
    result["description"] += f"\n\n{script}\n\n[click](javascript:alert(1))"
    result["parameters"] = [{"name": script, "value": script}]
    result["labels"] += [{"name": "threat", "value": script}, {"name": "tag", "value": script}]
    result["links"] += [{"type": "link", "url": "javascript:document.body.innerHTML='owned'", "name": script}]
    result["steps"][0]["name"] += script
    result["attachments"] = [{"name": script, "source": "x-attachment.txt", "type": "text/plain"}]
    path.write_text(json.dumps(result))
    (results / "x-attachment.txt").write_text(script)


def _data(page: Path, name: str) -> list[Mapping[str, Any]]:
    found = re.findall(rf'd\("{name}","([A-Za-z0-9+/=]*)"\)', page.read_text(encoding="utf-8"))
    return [json.loads(base64.b64decode(each)) for each in found]


def test_the_tree_is_guideline_clause_testcase(run_dir: Path) -> None:
    page = run_dir / "allure-report/index.html"
    trees = _data(page, r"widgets/(?:default/)?tree\.json")
    assert len(trees) == 2
    for tree in trees:
        groups = tree["groupsById"]
        shape = {
            groups[top]["name"].split(" ")[0]: {
                groups[child]["name"].split(" ")[0]: [
                    tree["leavesById"][leaf]["name"].split(":")[0] for leaf in groups[child]["leaves"]
                ]
                for child in groups[top]["groups"]
            }
            for top in tree["root"]["groups"]
        }
        # Allure alone would put NMPA-2022/PAUT under ANSM-2019 and the other way round.
        assert shape == {
            "ANSM-2019": {"ANSM-2019/CRIT-C": ["AUTH-LOCKOUT [console]"]},
            "NMPA-2020": {"NMPA-2020/IFU-iface": ["CAN-WAVES"]},
            "NMPA-2022": {
                "NMPA-2022/NAUT": ["CAN-REPLAY [can]"],
                "NMPA-2022/PAUT": ["AUTH-LOCKOUT [console]"],
                "NMPA-2022/CONN": ["AVAIL-FLOOD [modbus]"],
            },
        }
        nmpa = groups[tree["root"]["groups"][-1]]
        assert nmpa["statistic"] == {"total": 3, "passed": 1, "failed": 1, "broken": 1}


def test_the_report_opens_unfolded_and_asks_nobody(run_dir: Path) -> None:
    seen = visit(run_dir / "allure-report/index.html")
    assert seen.foreign == ()
    assert not seen.owned
    for text in ("NMPA-2022 (in use)", "人员鉴别", "AUTH-LOCKOUT [console]: An account is locked", "CAN-WAVES"):
        assert text in seen.dom, text


def test_hostile_text_is_shown_and_does_not_run(run_dir: Path) -> None:
    page = run_dir / "allure-report/index.html"
    (result,) = [each for each in _data(page, r"data/test-results/[^\"]+\.json") if "CAN-REPLAY" in each["name"]]
    seen = visit(page, fragment=result["id"])
    assert "&lt;script&gt;document.documentElement.setAttribute" in seen.dom
    assert "NMPA-2022/NAUT · node authentication" in seen.dom
    assert not seen.owned
    assert seen.foreign == ()


def test_the_policy_stops_what_the_generator_would_let_through(run_dir: Path, tmp_path: Path) -> None:
    """Even a hole in Allure itself would run no script: markup put straight into the finished page is dead."""
    page = (run_dir / "allure-report/index.html").read_text(encoding="utf-8")
    holed = tmp_path / "holed.html"
    holed.write_text(page.replace("<body>", f"<body>{HOSTILE.encode('ascii', 'ignore').decode()}", 1))
    assert not visit(holed).owned


def test_the_proxy_sees_and_the_payload_works(tmp_path: Path) -> None:
    """What the tests above rely on: without our hardening a request and a script are noticed."""
    page = tmp_path / "plain.html"
    script = HOSTILE.encode("ascii", "ignore").decode()
    page.write_text(
        f'<html><body>{script}<script src="https://www.googletagmanager.com/gtag/js?id=G-1"></script></body></html>'
    )
    seen = visit(page)
    assert seen.owned
    assert any("googletagmanager.com" in host for host in seen.foreign)


def test_coverage_page(run_dir: Path) -> None:
    seen = visit(run_dir / "coverage.html")
    assert not seen.owned
    assert seen.foreign == ()
    assert "&lt;script&gt;" in seen.dom
    assert "<script" not in seen.dom


# What can be missing


def test_a_missing_generator_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "_ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="make setup"):
        find_generator()


@pytest.mark.parametrize(
    ("script", "message"),
    [("echo 2.46.1", "is not Allure 3.18.0"), ("echo no such thing >&2; exit 3", "no such thing")],
)
def test_another_generator_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    program = tmp_path / "allure"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(html, "_ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(UsageError, match=message):
        make_html(tmp_path, tmp_path / "out", name="x", registry=load_registry())


def test_a_page_of_another_shape_is_refused() -> None:
    with pytest.raises(UsageError, match="0 places"):
        harden("<html><head></head><body></body></html>", load_registry())


def test_the_lock_file_names_no_registry() -> None:
    folder = Path(html.__file__).parent / "node"
    lock = json.loads((folder / "package-lock.json").read_text())
    assert lock["packages"]["node_modules/allure"]["version"] == html.VERSION
    assert not any("resolved" in package for package in lock["packages"].values())
    assert all("integrity" in package for name, package in lock["packages"].items() if name)
    version = subprocess.run([str(find_generator()), "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.strip() == html.VERSION
