"""The registry: what a tag may say, where links lead, and what happens to a wrong id."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.clauses import Confidence, Strength, load_registry
from harness.clauses.registry import assemble, catalogue_files
from harness.errors import UsageError

REGISTRY = load_registry()
IDS = sorted(REGISTRY.clauses)

# The confidence letters of the cross-walk table, as published: 62443-4-2 / FDA / ANSM.
CONFIDENCE = {
    "ALOF": "H/H/L",
    "AUDT": "H/H/M",
    "AUTH": "H/H/M",
    "NAUT": "H/H/L",
    "PAUT": "H/H/M",
    "CONN": "M/M/L",
    "PLOK": "H/M/M",
    "SAHD": "H/H/L",
    "DIDT": "L/–/L",
    "IGAU": "H/H/M",
    "DTBK": "H/H/L",
    "STCF": "H/M/M",
    "TXCF": "H/M/M",
    "TXIG": "H/H/M",
    "CSUP": "H/H/L",
    "SBOM": "H/H/–",
    "RDMP": "–/M/L",
    "SGUD": "–/H/–",
    "CNFS": "M/M/–",
    "EMRG": "M/L/L",
    "RMOT": "M/H/L",
    "MLDP": "H/M/L",
}


@pytest.mark.parametrize(
    ("clause_id", "allowed"),
    [
        ("NMPA-2022/ALOF", {"verifies", "contributes"}),  # read in full, bench Y
        ("NMPA-2020/T1-sep", {"verifies", "contributes"}),  # a summary, bench Y
        ("NMPA-2022/SBOM", {"contributes"}),  # bench P
        ("NMPA-2022/IR", {"contributes"}),  # document review, but for one measure
        ("NMPA-2022/LAW", {"review"}),  # bench D
        ("YYT-1843/5", set()),  # content not seen
        ("ANSM-2019/DES-ACC", set()),  # heading
        ("ANSM-2019/PH-EOL", set()),  # phase
        ("IEC62443-4-2/CR-1.11", set()),  # title only
        ("MDCG-2019-16/3.3", set()),  # heading
    ],
)
def test_strengths(clause_id: str, allowed: set[str]) -> None:
    for strength in Strength:
        if strength in allowed:
            assert REGISTRY.check_tag(clause_id, str(strength)).strength is strength
        else:
            with pytest.raises(UsageError, match=clause_id) as caught:
                REGISTRY.check_tag(clause_id, strength, where="test_x.py:7")
            assert caught.value.where == "test_x.py:7"
            assert caught.value.hint


def test_only_what_was_read_may_verify() -> None:
    for row in REGISTRY.clauses.values():
        if Strength.VERIFIES in row.strengths:
            assert row.bench == "Y"
        if row.strengths:
            assert row.content in ("full", "summary")
            assert row.kind == "clause"


def test_a_heading_names_the_clauses_that_lead_to_it() -> None:
    with pytest.raises(UsageError) as caught:
        REGISTRY.check_tag("IEC62443-4-2/CR-1.11", Strength.VERIFIES)
    assert "NMPA-2022/PAUT (H)" in (caught.value.hint or "")


def test_unknown_strength() -> None:
    with pytest.raises(UsageError, match="unknown strength") as caught:
        REGISTRY.check_tag("NMPA-2022/ALOF", "proves")
    assert caught.value.hint == "one of verifies, contributes, review"


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("NMPA-2022/ALOFF", "NMPA-2022/ALOF"),
        ("NMPA-2022/alof", "NMPA-2022/ALOF"),
        ("IEC62443-4-2/CR 1.11", "IEC62443-4-2/CR-1.11"),
        ("FDA-VC/VULN-ABUZE", "FDA-VC/VULN-ABUSE"),
    ],
)
def test_an_unknown_id_is_answered_with_what_may_be_meant(wrong: str, meant: str) -> None:
    with pytest.raises(UsageError, match="unknown clause") as caught:
        REGISTRY.clause(wrong)
    assert meant in (caught.value.hint or "")


@settings(deadline=None, max_examples=60)
@given(clause_id=st.sampled_from(IDS), at=st.integers(0, 40), letter=st.sampled_from(string.ascii_uppercase))
def test_no_typo_finds_a_row(clause_id: str, at: int, letter: str) -> None:
    wrong = clause_id[:at] + letter + clause_id[at:]
    assume(wrong not in REGISTRY.clauses)
    with pytest.raises(UsageError) as caught:
        REGISTRY.check_tag(wrong, Strength.REVIEW)
    assert caught.value.hint


def test_phases() -> None:
    assert REGISTRY.check_phase("ANSM-2019/PH-EOL").title.endswith("end of life")
    with pytest.raises(UsageError, match="not a life-cycle phase") as caught:
        REGISTRY.check_phase("NMPA-2022/LIFE")
    assert "ANSM-2019/PH-DEV, ANSM-2019/PH-EOL, ANSM-2019/PH-INIT, ANSM-2019/PH-MON" in (caught.value.hint or "")


def test_every_link_resolves_or_says_that_it_does_not() -> None:
    for link in REGISTRY.links:
        assert link.clause in REGISTRY.clauses
        assert (link.target in REGISTRY.clauses) == link.catalogued
    loose = {link.target for link in REGISTRY.links if not link.catalogued}
    assert {each for each in loose if not each.startswith("IEC80001-2-2/")} == {
        "FDA V.A.4",
        "FDA V.B.2(c)",
        "FDA VI.A",
        "FDA 524B(b)(3)",
        "IEC62443-4-2/CCSC-1",
    }
    assert len({each for each in loose if each.startswith("IEC80001-2-2/")}) == 19


def test_confidence_letters_are_those_of_the_table() -> None:
    for code, letters in CONFIDENCE.items():
        links = [link for link in REGISTRY.derived(f"NMPA-2022/{code}") if link.target[:3] in ("IEC", "FDA", "ANS")]
        for prefix, letter in zip(("IEC62443-4-2", "FDA", "ANSM"), letters.split("/"), strict=True):
            found = {link.confidence for link in links if link.target.startswith(prefix)}
            assert found == (set() if letter == "–" else {Confidence(letter)}), (code, prefix)


def test_ansm_content_was_not_read_so_no_link_to_it_is_sure() -> None:
    assert all(
        link.confidence in (Confidence.MEDIUM, Confidence.LOW)
        for link in REGISTRY.links
        if link.target.startswith("ANSM")
    )


def test_derived_links_of_a_capability() -> None:
    links = {link.target: link for link in REGISTRY.derived("NMPA-2022/DTBK")}
    assert links["IEC62443-4-2/CR-7.3"].part == "RE(1)"
    assert links["MDS2-2019/DTBK"].confidence is None
    assert links["ANSM-2019/CRIT-D"].confidence is Confidence.LOW
    assert not links["IEC80001-2-2/DTBK"].catalogued
    assert "MDCG-2019-16/3.7" in links


def test_links_lead_back_only_where_both_say_the_same() -> None:
    assert [link.target for link in REGISTRY.derived("MDS2-2019/ALOF")] == ["NMPA-2022/ALOF"]
    assert [link.target for link in REGISTRY.derived("MDS2-2019/AUDT")] == ["NMPA-2022/AUDT"]  # not EMRG
    assert REGISTRY.derived("FDA-A1/B") == []
    assert REGISTRY.derived("MDCG-2019-16/3.7") == []


def test_links_by_method_need_the_method() -> None:
    assert REGISTRY.derived("NMPA-2022/VV-METH") == []
    assert {link.target for link in REGISTRY.derived("NMPA-2022/VV-METH", method="scan")} == {"FDA-VC/VULN-SCAN"}
    assert {link.target for link in REGISTRY.derived("FDA-VC/VULN-ABUSE", method="fuzz")} == {
        "NMPA-2022/VV-METH",
        "IEC81001-5-1/5.7.3",
        "IEC62443-4-1/SVV-3",
        "MDCG-2019-16/3.7",
    }


def test_drafts_name_their_successor() -> None:
    drafts = [row for key, row in REGISTRY.clauses.items() if key.startswith("NMPA-2020/")]
    without = {row.id for row in drafts if REGISTRY.successor(row.id) is None}
    assert without == {"NMPA-2020/LEVEL", "NMPA-2020/T5-std"}
    heir = REGISTRY.successor("NMPA-2020/REG-EXT")
    assert heir is not None
    assert heir.id == "NMPA-2022/RPT-OTS"
    assert [row.id for row in REGISTRY.predecessors("NMPA-2022/RPT-OTS")] == [
        "NMPA-2020/REG-EXT",
        "NMPA-2020/REG-OTS",
    ]


@settings(deadline=None, max_examples=2)
@given(data=st.data())
def test_the_version_is_that_of_the_content(data: st.DataObject) -> None:
    files = catalogue_files()
    shuffled = data.draw(st.permutations(sorted(files)))
    assert assemble({name: files[name] for name in shuffled}).version == REGISTRY.version
    name = data.draw(st.sampled_from(sorted(files)))
    assert assemble({**files, name: files[name] + "# one more\n"}).version != REGISTRY.version


LAB_FILE = """\
document:
  id: IEC62443-4-1
  title: IEC 62443-4-1, own copy
  status: in-use
  numbering: document
  provenance: [LAB]
  replaces: true
groups:
  - name: Practice SVV
    defaults: {content: full, source: official, provenance: [LAB], bench: Y, paraphrase: Read here.}
    clauses:
      - {id: IEC62443-4-1/SVV-1, title: {en: one}}
      - {id: IEC62443-4-1/SVV-3, title: {en: three}}
      - {id: IEC62443-4-1/SVV-4, title: {en: four}}
"""


def _install(folder: Path, *, value: str) -> None:
    """A distribution on disk that offers the entry point, as pip would leave it."""
    info = folder / "labclauses-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: labclauses\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[proofrig.clauses]\nlab = {value}\n")


def test_an_installed_catalogue_is_added_and_may_replace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "labclauses_a"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "svv.yaml").write_text(LAB_FILE)
    (package / "provenance.yaml").write_text("provenance:\n  - {key: LAB, what: bought, quality: original}\n")
    _install(tmp_path, value="labclauses_a")
    monkeypatch.syspath_prepend(str(tmp_path))

    registry = assemble(catalogue_files())

    assert registry.check_tag("IEC62443-4-1/SVV-3", "verifies").strength is Strength.VERIFIES
    assert "IEC62443-4-1/SVV-5" not in registry.clauses
    assert registry.version != REGISTRY.version


@pytest.mark.parametrize("value", ["labclauses_missing", "json:loads", "json.decoder"])
def test_an_entry_point_that_is_no_catalogue_is_named(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path, value=value)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError) as caught:
        catalogue_files()
    assert caught.value.where == f"entry point proofrig.clauses: lab = {value}"
