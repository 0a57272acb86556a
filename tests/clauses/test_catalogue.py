"""The catalogue files: complete, well-formed, and strict about what may be claimed."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.clauses.catalogue_model import CrosswalkFile, DocumentFile, ProvenanceFile, parse
from harness.clauses.registry import assemble, catalogue_files, load_registry
from harness.errors import UsageError

# Counted once from the tables of the clause research: (document, chapter) → (rows, of these taggable).
# Rows that name several ids are counted by id. Not from a table row, but from its text: NMPA-2022/RPT (named as a
# successor in A1) and the three IEC80001-2-2 headings. Kept out: CR 2.3, 5.4, 7.5 (do not exist), 5.7.5 (no source).
COUNTS = {
    # A1
    ("NMPA-2020", "Scope and level"): (2, 2),
    ("NMPA-2020", "Filing"): (3, 3),
    ("NMPA-2020", "Instructions for use"): (7, 7),
    ("NMPA-2020", "Technical considerations (takeaways of the summary)"): (8, 8),
    # A2.1 to A2.5
    ("NMPA-2022", "The 22 capabilities"): (22, 22),
    ("NMPA-2022", "Concepts, interfaces, data, verification and validation"): (18, 18),
    ("NMPA-2022", "Principles and technical considerations"): (10, 10),
    ("NMPA-2022", "Research report and attachments"): (21 + 1, 22),
    ("NMPA-2022", "Filing and instructions for use"): (11, 11),
    # A2.6
    ("YYT-1843", "Clauses seen"): (5, 3),
    # A3
    ("ANSM-2019", "Criteria"): (4, 4),
    ("ANSM-2019", "Risk analysis"): (4, 4),
    ("ANSM-2019", "Software design activity"): (7, 2),
    ("ANSM-2019", "Life-cycle phases"): (4, 0),
    # A4
    ("IEC80001-2-2", "Contents seen"): (3, 0),
    # A5.1
    ("IEC62443-4-2", "Requirements 1.x"): (14, 0),
    ("IEC62443-4-2", "Requirements 2.x"): (12, 0),
    ("IEC62443-4-2", "Requirements 3.x"): (14, 0),
    ("IEC62443-4-2", "Requirements 4.x"): (3, 0),
    ("IEC62443-4-2", "Requirements 5.x"): (3, 0),
    ("IEC62443-4-2", "Requirements 6.x"): (2, 0),
    ("IEC62443-4-2", "Requirements 7.x"): (7, 0),
    # A5.2
    ("FDA-2025", "V.C Cybersecurity Testing"): (10, 10),
    ("FDA-2025", "Appendix 1, security control categories"): (8, 8),
    # A5.3
    ("IEC81001-5-1", "Software system testing, security"): (4, 0),
    ("IEC62443-4-1", "Practice SVV"): (5, 0),
    ("MDCG-2019-16", "Chapters seen"): (5, 4),
    ("GBT-25000.51-2016", "Test documentation"): (1, 1),
    ("MDS2-2019", "Document and data sections"): (2, 1),
    ("MDS2-2019", "Capability sections"): (21, 21),
}

# Bench classes a document, counted once from the same tables: (Y, P, D, none).
BENCH = {
    "ANSM-2019": (7, 5, 3, 4),
    "FDA-2025": (13, 5, 0, 0),
    "GBT-25000.51-2016": (0, 1, 0, 0),
    "IEC62443-4-1": (3, 2, 0, 0),
    "IEC62443-4-2": (51, 4, 0, 0),
    "IEC80001-2-2": (0, 0, 0, 3),
    "IEC81001-5-1": (3, 1, 0, 0),
    "MDCG-2019-16": (3, 1, 0, 1),
    "MDS2-2019": (0, 23, 0, 0),
    "NMPA-2020": (6, 9, 5, 0),
    "NMPA-2022": (40, 27, 16, 0),
    "YYT-1843": (1, 1, 1, 2),
}

STATUS = {
    "NMPA-2017": ("superseded", "NMPA-2022"),
    "NMPA-2020": ("draft", "NMPA-2022"),
    "NMPA-2022": ("in-use", None),
    "YYT-1843": ("in-use", None),
    "ANSM-2019": ("draft", "ANSM-2022"),
    "ANSM-2022": ("final", None),
    "IEC80001-2-2": ("withdrawn", "IEC-TS-81001-2-2-2025"),
    "IEC-TS-81001-2-2-2025": ("in-use", None),
    "FDA-2025": ("superseded", "FDA-2026"),
    "FDA-2026": ("in-use", None),
    "FDA-CSA": ("final", None),
    "MDCG-2019-16": ("in-use", None),
    "IEC62443-4-1": ("unverified", None),
    "IEC62443-4-2": ("unverified", None),
    "IEC81001-5-1": ("unverified", None),
    "GBT-25000.51-2016": ("unverified", None),
    "MDS2-2019": ("unverified", None),
}

THE_19 = [
    *("ALOF", "AUDT", "AUTH", "CNFS", "CSUP", "DIDT", "DTBK", "EMRG", "IGAU", "MLDP"),
    *("NAUT", "PAUT", "PLOK", "RDMP", "SAHD", "SGUD", "STCF", "TXCF", "TXIG"),
]

HEADER = """\
document:
  id: LAB-1
  title: House rules
  status: in-use
  numbering: document
  provenance: [S1]
"""

ROW = """\
      - id: LAB-1/1
        title: {en: one}
        paraphrase: Says one thing.
        bench: Y
        content: full
        source: official
        provenance: [S1]
"""

GROUPS = "groups:\n  - name: All\n    clauses:\n"


def test_every_row_is_accounted_for() -> None:
    registry = load_registry()
    counted = {
        (document.id, name): (len(ids), sum(bool(registry.clause(each).strengths) for each in ids))
        for document in registry.documents.values()
        for name, ids in document.groups
    }
    assert counted == COUNTS
    assert len(registry.clauses) == sum(rows for rows, _ in COUNTS.values())


def test_bench_classes() -> None:
    counted: dict[str, Counter[str | None]] = {}
    for row in load_registry().clauses.values():
        counted.setdefault(row.document, Counter())[row.bench] += 1
    assert {key: (each["Y"], each["P"], each["D"], each[None]) for key, each in counted.items()} == BENCH


def test_status_of_every_document() -> None:
    documents = load_registry().documents.values()
    assert {each.id: (each.status, each.superseded_by) for each in documents} == STATUS


def test_what_was_never_read_cannot_be_tagged() -> None:
    """ANSM below its summaries, YY/T 1843 beyond clause 4.1, and everything known by title only."""
    taggable = {key for key, row in load_registry().clauses.items() if row.strengths}
    assert {key for key in taggable if key.startswith("ANSM")} == {
        *(f"ANSM-2019/CRIT-{letter}" for letter in "DICA"),
        *(f"ANSM-2019/RISK-{slug}" for slug in ("ALIGN", "OBJ", "OBSC")),
        "ANSM-2019/SAFE-FIRST",
        "ANSM-2019/DES-GEN",
        "ANSM-2019/DES-CTX",
    }
    assert {key for key in taggable if key.startswith("YYT")} == {
        "YYT-1843/SCOPE",
        "YYT-1843/4.1.2",
        "YYT-1843/4.1.3",
    }
    assert not {key for key in taggable if key.startswith("IEC")}


@pytest.mark.parametrize("code", [*THE_19, "CONN", "SBOM", "RMOT"])
def test_iec_80001_codes_are_withheld(code: str) -> None:
    with pytest.raises(UsageError, match="kept out") as caught:
        load_registry().clause(f"IEC80001-2-2/{code}")
    assert caught.value.hint
    assert "tag NMPA-2022/" in caught.value.hint
    assert load_registry().clause(f"NMPA-2022/{code}").content == "full"


@pytest.mark.parametrize(
    "clause_id",
    ["ANSM-2019/R12", "IEC62443-4-2/CR-2.3", "IEC62443-4-2/CR-8.5", "IEC81001-5-1/5.7.5", "MDS2-2019/CNFS"],
)
def test_traps_are_withheld_with_a_reason(clause_id: str) -> None:
    with pytest.raises(UsageError, match="kept out"):
        load_registry().clause(clause_id)


def test_identifiers_of_guidelines_without_numbers_say_so() -> None:
    documents = load_registry().documents
    for key in ("NMPA-2020", "NMPA-2022", "ANSM-2019", "FDA-2025"):
        assert documents[key].numbering_note == "identifier assigned by Proofrig"
    assert documents["IEC62443-4-2"].numbering_note == ""


def test_no_row_cites_general_knowledge() -> None:
    row = ROW.replace("[S1]", "[S1, GK]")
    with pytest.raises(UsageError, match="general knowledge"):
        parse(DocumentFile, HEADER + GROUPS + row, name="lab.yaml")


def test_defaults_are_overlaid_by_the_row() -> None:
    text = (
        HEADER
        + "defaults: {content: full, source: official, provenance: [S1], bench: D, place: outer}\n"
        + "groups:\n  - name: All\n    defaults: {place: inner}\n    clauses:\n"
        + "      - {id: LAB-1/1, title: {en: one}, paraphrase: One., bench: Y}\n"
    )
    (row,) = parse(DocumentFile, text, name="lab.yaml").rows()
    assert (row.bench, row.place, row.content) == ("Y", "inner", "full")


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        (HEADER.replace("in-use", "obsolete"), "lab.yaml:4: document.status", "draft"),
        (HEADER.replace("in-use", "withdrawn"), "lab.yaml:1: document", "superseded_by"),
        (HEADER + GROUPS + ROW.replace("bench: Y", "bench: X"), "lab.yaml:13: groups.0.clauses.0.bench", "'Y'"),
        (HEADER + GROUPS + ROW.replace("LAB-1/1", "LAB 1/1"), "lab.yaml:10: groups.0.clauses.0.id", "pattern"),
        (HEADER + GROUPS + ROW.replace("LAB-1/1", "NMPA-2022/X"), "lab.yaml:1: the file", "LAB-1"),
        (HEADER + GROUPS + ROW.replace("Says one thing.", "''"), "lab.yaml:10: groups.0.clauses.0", "paraphrase"),
        (HEADER + GROUPS + ROW + "        colour: red\n", "lab.yaml:17: groups.0.clauses.0.colour", "Extra"),
        (HEADER + "withheld:\n  - {pattern: '(', reason: x}\n", "lab.yaml:8: withheld.0.pattern", "regular"),
        (HEADER + "  : [", "lab.yaml:7", "YAML"),
        ("", "lab.yaml:1: the file", "dictionary"),
    ],
)
def test_a_wrong_file_is_named_by_line_and_key(text: str, where: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(DocumentFile, text, name="lab.yaml")
    assert caught.value.where == where
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"b.yaml": HEADER}, "already in lab.yaml"),
        ({"lab.yaml": HEADER + GROUPS + ROW + ROW}, "LAB-1/1 stands twice"),
        ({"lab.yaml": HEADER + GROUPS + ROW.replace("[S1]", "[S1, Z9]")}, "unknown provenance key Z9"),
        ({"lab.yaml": HEADER + GROUPS + ROW + "        successor: LAB-1/2\n"}, "successor LAB-1/2"),
        ({"lab.yaml": HEADER + "  superseded_by: LAB-2\n"}, "unknown document LAB-2"),
        ({"x:crosswalk.yaml": "capabilities:\n  - {clause: LAB-1/1, links: [{to: [A/B]}]}"}, "A/B is in no"),
        (
            {
                "x:crosswalk.yaml": "capabilities:\n"
                "  - {clause: LAB-1/1, links: [{to: [{id: LAB-1/1, catalogued: false}]}]}"
            },
            "drop `catalogued: false`",
        ),
        ({"x:provenance.yaml": "provenance:\n  - {key: S1, what: a, quality: b}\n"}, "S1 stands twice"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(change: dict[str, str], says: str) -> None:
    files = {
        "provenance.yaml": "provenance:\n  - {key: S1, what: a, quality: b}\n",
        "lab.yaml": HEADER + GROUPS + ROW,
    }
    assert assemble(files).clause("LAB-1/1").document == "LAB-1"
    with pytest.raises(UsageError, match=says):
        assemble({**files, **change})


def _outcome(model: type[DocumentFile | ProvenanceFile | CrosswalkFile], text: str) -> str:
    try:
        parse(model, text, name="any.yaml")
    except UsageError as error:
        return "refused by name and line" if (error.where or "").startswith("any.yaml:") else "refused"
    return "read"


_YAML_ATOMS = st.sampled_from(
    ["document:", "groups:", "- ", "  ", "\n", "{", "}", "[", "]", "id: ", "&a ", "*a", "!!int ", "2020-99-99", "\x00"]
    + ["provenance:", "capabilities:", "defaults: ", "clauses:", ": ", "'", '"', "LAB-1", "null", "%", "? ", "\ud800"]
)


@pytest.mark.filterwarnings("ignore::ruamel.yaml.error.ReusedAnchorWarning")
@settings(max_examples=150, deadline=None)
@given(text=st.lists(_YAML_ATOMS, max_size=25).map("".join))
@pytest.mark.parametrize("model", [DocumentFile, ProvenanceFile, CrosswalkFile])
def test_any_text_is_read_or_refused(model: type[DocumentFile], text: str) -> None:
    assert _outcome(model, text) in ("read", "refused by name and line")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_catalogue_file_is_read_or_refused(data: st.DataObject) -> None:
    """A line lost or doubled anywhere in a real file never ends in anything but a named error."""
    text = catalogue_files()["mdcg-2019-16.yaml"].splitlines(keepends=True)
    number = data.draw(st.integers(0, len(text) - 1))
    copies = data.draw(st.sampled_from([0, 2]))
    damaged = "".join([*text[:number], text[number] * copies, *text[number + 1 :]])
    assert _outcome(DocumentFile, damaged) in ("read", "refused by name and line")
