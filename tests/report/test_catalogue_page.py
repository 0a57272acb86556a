"""The clause catalogue as a page: what each row says of its clause, and of the testcases that carry it."""

from __future__ import annotations

import re

import pytest

from harness.clauses import load_registry
from harness.errors import UsageError
from harness.report.catalogue_page import CataloguedTestcase, catalogue_page
from harness.testcase import About, Meta, contributes, verifies

ABOUT = About(property="integrity", phase="design", method="function", threat="guessing")


def _testcase(name: str, *tags: list, title: str = "A title", unqualified: bool = False) -> CataloguedTestcase:  # type: ignore[type-arg]
    meta = Meta(name, title, tuple(tag for group in tags for tag in group), ABOUT, unqualified=unqualified)
    return CataloguedTestcase(meta, f"testcases/area/test_{name.lower()}.py")


@pytest.fixture(scope="module")
def page() -> str:
    return catalogue_page(
        load_registry(),
        [
            _testcase("B-TWO", contributes("NMPA-2022/PAUT")),
            _testcase("A-ONE", verifies("NMPA-2022/PAUT"), title="a | b *c* <d>", unqualified=True),
        ],
    )


def _row(page: str, clause_id: str) -> list[str]:
    """The cells of a clause's row."""
    found = [
        line for line in page.splitlines() if line.startswith("| <span") and f"`{clause_id}`" in line.split(" | ")[0]
    ]
    assert len(found) == 1, f"{clause_id} stands {len(found)} times"
    return found[0].strip("| ").split(" | ")


def test_every_clause_and_document_stands_once(page: str) -> None:
    registry = load_registry()
    for clause_id in registry.clauses:
        assert len(_row(page, clause_id)) == 5
    for name in registry.documents:
        assert page.count(f"\n## {name}\n") == 1


def test_ids_are_different(page: str) -> None:
    ids = re.findall(r'<span id="([^"]+)">', page)
    assert len(ids) > len(load_registry().clauses)
    assert len(set(ids)) == len(ids)


def test_a_row_says_how_it_was_read_and_who_carries_it(page: str) -> None:
    _, says, read, strength, testcases = _row(page, "NMPA-2022/PAUT")
    assert "**person authentication** · 人员鉴别" in says
    assert read.startswith("full, mirror<br>[G22](#source-g22)")
    assert strength == "verifies"
    assert testcases.startswith(
        "**verifies**: [`A-ONE`](#testcase-a-one)<br>**contributes**: [`B-TWO`](#testcase-b-two)"
    )


def test_what_the_cross_walk_brings_is_called_derived(page: str) -> None:
    *_, strength, testcases = _row(page, "IEC62443-4-2/CR-1.1")
    assert strength == "*navigation only*"
    assert testcases == "*derived*, confidence high: 2 testcases, from `NMPA-2022/PAUT`"


def test_a_draft_names_its_successor_and_its_status(page: str) -> None:
    assert "Successor: [`NMPA-2022/IFU-access`](#nmpa-2022-ifu-access)" in _row(page, "NMPA-2020/IFU-access")[1]
    assert "Status: draft, superseded by NMPA-2022. " in page
    assert _row(page, "NMPA-2022/RDMP")[4] == "none"
    assert _row(page, "ANSM-2019/PH-EOL")[3] == "*life-cycle phase*"


def test_a_testcase_is_listed_as_text(page: str) -> None:
    row = next(line for line in page.splitlines() if line.startswith('| <span id="testcase-a-one"'))
    assert "a &#124; b &#42;c&#42; &#60;d&#62;<br>*Unqualified" in row
    assert "[area/test_a-one.py](../testcases/area/test_a-one.py)" in row


def test_an_unknown_clause_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="NMPA-2022/NONE"):
        catalogue_page(load_registry(), [_testcase("A-ONE", verifies("NMPA-2022/NONE"))])
