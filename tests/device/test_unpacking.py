"""What is compressed is unpacked wherever it stands; what holds the search up is not a pass."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import time
import zipfile
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.device import unpacking
from harness.device.traces import traces, within
from harness.device.unpacking import unpacked
from harness.verdict import Undecided


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("crash/patients.json", data)
    return out.getvalue()


KINDS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zip": zipped,
}


@pytest.mark.parametrize("kind", KINDS)
@given(before=st.binary(max_size=200), content=st.binary(min_size=8, max_size=5000), after=st.binary(max_size=50))
def test_what_is_compressed_is_found_between_other_bytes(
    kind: str, before: bytes, content: bytes, after: bytes
) -> None:
    found = list(unpacked(before + KINDS[kind](content) + after))
    assert any(part.data == content and part.place.startswith(f"{kind} at byte ") for part in found)


@pytest.mark.parametrize("outer", KINDS)
@pytest.mark.parametrize("inner", KINDS)
def test_a_patient_is_found_in_compressed_data_in_compressed_data(inner: str, outer: str) -> None:
    blob = b"header" + KINDS[outer](b"0123" + KINDS[inner](b'{"name": "QZ7KX2M9WA"}'))
    found = within(blob, lambda part: traces(part, {"patient": "QZ7KX2M9WA"}))
    # xz keeps short content as it is, so that it is seen from outside too.
    pattern = rf"patient as UTF-8 at byte \d+ of {inner} at byte \d+ of {outer} at byte \d+"
    assert [trace for trace in found if re.fullmatch(pattern, str(trace))]


def test_a_file_that_is_cut_is_unpacked_as_far_as_it_goes() -> None:
    content = bytes(range(256)) * 400
    cut = gzip.compress(content, compresslevel=0)[:-1000]
    (part,) = [part for part in unpacked(cut) if part.place == "gzip at byte 0"]
    assert 90_000 < len(part.data) < len(content)
    assert content.startswith(part.data)


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_bomb_is_undecided(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MOST", 1_000_000)
    with pytest.raises(Undecided, match="too much is compressed"):
        list(unpacked(KINDS[kind](bytes(2_000_000))))


def test_beginnings_without_end_are_undecided_soon() -> None:
    begin = time.monotonic()
    with pytest.raises(Undecided, match="too much is compressed"):
        list(unpacked(b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03" * 100_000))
    assert time.monotonic() - begin < 60, "each of them was followed to the end"


def test_nothing_is_found_in_what_is_not_compressed() -> None:
    assert list(unpacked(b"status: infusing\n" * 1000)) == []
