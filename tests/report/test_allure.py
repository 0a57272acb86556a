"""What allure-pytest writes while testcases run, driven through pytest itself; and what the journal makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from report_folders import FLOOD, HOSTILE, LOCKOUT, REPLAY, WAVES, Folder

from harness.clauses.registry import load_registry
from harness.report.allure import ATTACHMENT_LIMIT
from harness.report.allure_results import complete_results, read_results
from harness.report.reading import read_run

ROOT = Path(__file__).parents[2]

TESTS = """
import threading
from pathlib import Path
import pytest
from report_folders import HOSTILE
from harness.report.allure import STEPS_LIMIT, AllureObserver, label
from harness.rig.loading import load_rig
from harness.testcase import About, Meta, contributes, verifies
from harness.verdict import ClaimBroken

RIG = load_rig(Path({root!r}) / "tests/sham/rig.yaml")
ABOUT = About(property="integrity", phase="design", method="function", threat=HOSTILE)
META = Meta(id="CAN-REPLAY", title="Replayed | *commands* " + HOSTILE, about=ABOUT, unqualified=True,
            hardware="timing on the wire",
            tags=(*verifies("NMPA-2022/NAUT"), *verifies("NMPA-2022/PAUT"), *contributes("ANSM-2019/CRIT-C")))

@pytest.fixture
def seen(request):
    label(request.node.nodeid, META, rig=RIG, claims=["LOCKOUT"])
    return AllureObserver()

@pytest.mark.parametrize("surface", [HOSTILE])
def test_hostile(seen, surface):
    with seen.step("outer " + HOSTILE):
        seen.attach("short " + HOSTILE, "accepted " + HOSTILE)
        seen.attach("long", HOSTILE * 1000)
        with seen.step("\\u2718 a check that broke"):
            pass
    with seen.step("? undecided"):
        pass
    raise ClaimBroken("the device said " + HOSTILE)

def test_threads(seen):
    def run():
        with seen.step("in a thread"):
            seen.attach("note", "from it")
    with seen.step("main"):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

def test_many(seen):
    with seen.step("campaign"):
        for number in range(STEPS_LIMIT + 50):
            with seen.step(f"case {{number}}"):
                pass
        with seen.step("\\u2718 the last one broke"):
            pass
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The results of a pytest run whose device is hostile, by name of the test function."""
    folder = tmp_path_factory.mktemp("allure")
    (folder / "test_it.py").write_text(TESTS.format(root=str(ROOT)))
    (folder / "conftest.py").write_text(f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n")
    command = [sys.executable, "-m", "pytest", "-q", "--alluredir", str(folder / "results"), str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert "1 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    found = {result["fullName"].split("#")[1]: result for _, result in read_results(folder / "results")}
    found["folder"] = {"path": folder / "results"}
    return found


def _labels(result: dict[str, Any], name: str) -> list[str]:
    return [label["value"] for label in result["labels"] if label["name"] == name]


def test_labels_say_what_the_testcase_is(results: dict[str, dict[str, Any]]) -> None:
    result = results["test_threads"]
    assert result["name"].startswith("CAN-REPLAY: Replayed | *commands* <script>")
    assert _labels(result, "clause") == [
        "NMPA-2022/NAUT · node authentication · 节点鉴别",
        "NMPA-2022/PAUT · person authentication · 人员鉴别",
        "ANSM-2019/CRIT-C · confidentiality · Confidentialité",
    ]
    assert [name.split(" ·")[0] for name in _labels(result, "guideline")] == [
        "NMPA-2022 (in use)",
        "ANSM-2019 (draft, superseded by ANSM-2022)",
    ]
    assert "contributes: ANSM-2019/CRIT-C" in _labels(result, "strength")
    assert any("confidence high, from NMPA-2022/PAUT" in value for value in _labels(result, "derived clause"))
    assert _labels(result, "property") == ["integrity"]
    assert _labels(result, "life-cycle phase") == ["design"]
    assert _labels(result, "severity") == ["critical"]
    assert _labels(result, "item grade") == ["emulated (indicative: needs real hardware)"]
    assert _labels(result, "claim")[0].startswith("LOCKOUT (VP1-ICD rev. ")
    assert set(_labels(result, "tag")) == {"unqualified", "indicative"}
    assert _labels(result, "host") == []
    for word in ("*verifies*", "*derived* through the cross-walk, confidence high", "identifiers assigned by Proofrig"):
        assert word in result["description"]
    assert any(link["url"].startswith("http") for link in result["links"])


def test_hostile_text_is_cleaned_and_stops_nothing(results: dict[str, dict[str, Any]]) -> None:
    result = results["test_hostile"]
    text = json.dumps(result, ensure_ascii=False)
    for char in ("\x1b", "\u202e", "\ud83d", "\\u0000", "\\u001b"):
        assert char not in text
    assert "\\\\x1b[31mred" in text
    assert result["status"] == "failed"


def test_the_worst_of_a_step_is_its_status(results: dict[str, dict[str, Any]]) -> None:
    outer, undecided = results["test_hostile"]["steps"]
    assert (outer["status"], undecided["status"]) == ("failed", "broken")
    assert outer["steps"][0]["status"] == "failed"


def test_attachments_are_plain_text_and_capped(results: dict[str, dict[str, Any]]) -> None:
    outer = results["test_hostile"]["steps"][0]
    attachment = outer["attachments"][-1]
    assert (attachment["type"], Path(attachment["source"]).suffix) == ("text/plain", ".txt")
    text = (results["folder"]["path"] / attachment["source"]).read_text(encoding="utf-8")
    assert ATTACHMENT_LIMIT < len(text) < ATTACHMENT_LIMIT + 100
    assert text.endswith("more)")


def test_steps_of_a_thread_hang_on_the_test(results: dict[str, dict[str, Any]]) -> None:
    steps = {step["name"]: step for step in results["test_threads"]["steps"]}
    assert set(steps) == {"main", "in a thread"}
    assert steps["in a thread"]["parameters"] == [{"name": "note", "value": "from it"}]


def test_a_campaign_shows_so_many_steps_and_every_failure(results: dict[str, dict[str, Any]]) -> None:
    campaign = results["test_many"]["steps"][0]
    assert len(campaign["steps"]) <= 1001
    assert campaign["steps"][-1]["name"] == "✘ the last one broke"
    assert any("the journal has all" in step["name"] for step in results["test_many"]["steps"])


# The journal decides


def test_results_are_made_for_what_did_not_run_and_corrected_where_they_disagree(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "run").plan()
    folder.case(LOCKOUT, "PASS", "held").case(REPLAY, "FAIL", "broken", reason=f"it said {HOSTILE}")
    folder.finish(WAVES, "NOT APPLICABLE", reason="no waves").start(FLOOD).check(FLOOD)
    folder.main.close()
    results = tmp_path / "run/allure-results"
    results.mkdir()
    # What allure-pytest writes of a test that was interrupted: passed.
    interrupted = {"name": "x", "status": "passed", "start": 5, "labels": [{"name": "nodeid", "value": FLOOD}]}
    (results / "1-result.json").write_text(json.dumps(interrupted))
    (results / "2-result.json").write_text('{"name": "torn')
    run = read_run(tmp_path / "run")
    for _ in range(2):  # a second time changes nothing
        complete_results(run, results, load_registry())
        found = {_labels(result, "nodeid")[0]: result for _, result in read_results(results)}
        assert {nodeid: result["status"] for nodeid, result in found.items()} == {
            LOCKOUT: "passed",
            REPLAY: "failed",
            WAVES: "skipped",
            FLOOD: "unknown",
        }
    assert found[FLOOD]["statusDetails"]["message"] == "NOT RUN: the run ended during it"
    assert _labels(found[FLOOD], "verdict") == ["NOT RUN"]
    assert found[WAVES]["name"] == "CAN-WAVES: 电子接口：波形"
    assert "\x1b" not in found[REPLAY]["statusDetails"]["message"]
    assert found[REPLAY]["steps"][0]["name"] == "✘ a check: as it should be"
    environment = (results / "environment.properties").read_text()
    assert "operator = O. Perator" in environment
    assert "record problem 1 = the run did not end\\: it was killed or crashed" in environment
    assert "equipment 1 = adapter, serial 7\\: due 2099-01-01" in environment
    categories = json.loads((results / "categories.json").read_text())
    assert [each["matchedStatuses"] for each in categories] == [["failed"], ["broken"], ["skipped"], ["unknown"]]
