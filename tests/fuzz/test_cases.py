"""Cases, grammars, mutators and reduction: what they promise, whatever they are given."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.fuzz.cases import FuzzCase, read_cases, spread, write_cases
from harness.fuzz.grammar import Field, Message, Model
from harness.fuzz.mutators import MutatorSource
from harness.fuzz.reduce import fewest

CASES = st.lists(
    st.builds(
        FuzzCase,
        id=st.builds("{}/{}:{}".format, st.sampled_from(["a", "b", "ü"]), st.text(max_size=3), st.integers(0, 99)),
        data=st.binary(max_size=300),
        state=st.text(max_size=5),
    ),
    max_size=30,
    unique_by=lambda case: case.id,
)


def stream_of(cases: Sequence[FuzzCase], available: int = 7) -> bytes:
    out = io.BytesIO()
    write_cases(out, cases, available=available)
    return out.getvalue()


@given(CASES)
def test_a_stream_reads_back_as_written(cases: list[FuzzCase]) -> None:
    drawn = read_cases(stream_of(cases))
    assert drawn.cases == tuple(cases)
    assert drawn.available == 7


@given(CASES, st.data())
def test_a_stream_cut_anywhere_is_recognised(cases: list[FuzzCase], data: st.DataObject) -> None:
    blob = stream_of(cases)
    cut = data.draw(st.integers(0, len(blob) - 1))
    with pytest.raises(ValueError, match=r"cut off|no stream|sent"):
        read_cases(blob[:cut])


@given(CASES, st.data())
def test_a_damaged_stream_is_never_read_as_other_cases(cases: list[FuzzCase], data: st.DataObject) -> None:
    blob = bytearray(stream_of(cases))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= data.draw(st.integers(1, 255))
    try:
        drawn = read_cases(bytes(blob))
    except ValueError:
        return
    assert drawn.cases == tuple(cases)


@given(CASES, st.integers(0, 40), st.integers(0, 2**32))
def test_spread_draws_different_cases_the_same_ones_for_a_seed(cases: list[FuzzCase], count: int, seed: int) -> None:
    drawn = spread(cases, count, seed=seed)
    assert len(drawn) == min(count, len(cases))
    assert len({case.id for case in drawn}) == len(drawn)
    assert drawn == spread(list(reversed(cases)), count, seed=seed)


def test_spread_takes_from_every_group_before_twice_from_one() -> None:
    many = [FuzzCase(f"m/long:{n}", b"x" * 500) for n in range(1000)]
    few = [FuzzCase(f"m/few:{n}", b"x") for n in range(2)]
    drawn = spread([*many, *few], 4, seed=1)
    assert sum(case.id.startswith("m/few") for case in drawn) == 2


LENGTHS = Message(
    "lengths",
    (
        Field("head", "static", b"\xaa"),
        Field("all", "length16"),
        Field("unit", "u8", b"\x01"),
        Field("count", "length8"),
        Field("values", "bytes", b"abcd"),
    ),
    state="s",
)


def test_a_length_counts_what_is_behind_it() -> None:
    assert LENGTHS.render() == b"\xaa" + b"\x00\x06" + b"\x01" + b"\x04" + b"abcd"


def test_a_model_travels_as_text() -> None:
    model = Model("m", (LENGTHS,))
    assert Model.from_json(model.to_json()) == model
    with pytest.raises(ValueError, match="no fuzz model"):
        Model.from_json('{"name": "m"}')


@given(st.integers(1, 120), st.integers(0, 2**32))
@settings(max_examples=30)
def test_mutators_give_different_bad_inputs_and_the_same_for_a_seed(count: int, seed: int) -> None:
    source = MutatorSource()
    drawn = source.draw(Model("m", (LENGTHS,)), count, seed=seed).cases
    assert len(drawn) == count
    assert drawn == source.draw(Model("m", (LENGTHS,)), count, seed=seed).cases
    inputs = {case.data for case in drawn}
    assert len(inputs) == count
    assert LENGTHS.render() not in inputs
    assert all(case.data for case in drawn)
    assert {case.state for case in drawn} == {"s"}


@given(st.sets(st.integers(0, 24), min_size=1, max_size=3))
def test_fewest_finds_the_culprits(culprits: set[int]) -> None:
    asked: list[Sequence[int]] = []

    def fails(items: Sequence[int]) -> bool:
        asked.append(items)
        return culprits <= set(items)

    assert set(fewest(range(25), fails, trials=1000)) == culprits
    few = fewest(range(25), fails, trials=5)
    assert culprits <= set(few)


def test_fewest_keeps_to_its_trials() -> None:
    asked = 0

    def fails(items: Sequence[int]) -> bool:
        nonlocal asked
        asked += 1
        return {0, 24} <= set(items)

    fewest(range(25), fails, trials=6)
    assert asked <= 6
