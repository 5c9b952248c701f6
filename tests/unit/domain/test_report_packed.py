# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report that travels as one line: whole, or refused."""

from __future__ import annotations

import base64
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import report_packed
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.report_packed import MARK, packed, unpacked
from tests.reports.samples import sample


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    assert unpacked(packed(text)) == text


@given(st.text())
def test_what_travels_is_no_template_and_no_second_line(text: str) -> None:
    assert not set(packed(text)) & set("{}%#\n\r\"'\\ ")


def test_the_same_text_is_the_same_line() -> None:
    assert packed("{}") == packed("{}")


def test_a_report_becomes_ten_times_smaller() -> None:
    text = json.dumps(sample(250, 250))
    assert len(packed(text)) * 10 < len(text)


# A report is too long to try every place; its line has every kind of place.
LINE = packed('{"form": "fleetcare.esxi audit 1", "targets": ["esx-01.example.com", "esx-02.example.com"]}')


@pytest.mark.parametrize("length", range(len(LINE)))
def test_what_was_cut_off_is_refused(length: int) -> None:
    with pytest.raises(BadInput):
        unpacked(LINE[:length])


@given(st.integers(len(MARK), len(LINE) - 1), st.characters(codec="ascii"))
def test_what_was_changed_is_refused(place: int, letter: str) -> None:
    spoilt = LINE[:place] + letter + LINE[place + 1 :]
    try:
        text = unpacked(spoilt)
    except BadInput as problem:
        assert "\n" not in problem.sentence
    else:
        # Base64 has letters that stand for the same bits, at its end.
        assert text == unpacked(LINE)


@pytest.mark.parametrize("behind", ["A", "AAAA", "=", "\n", MARK])
def test_what_has_something_behind_it_is_refused(behind: str) -> None:
    with pytest.raises(BadInput):
        unpacked(LINE + behind)


@pytest.mark.parametrize("other", ["", "{}", MARK, None, 7, {"form": "fleetcare.esxi audit 1"}])
def test_what_is_no_packed_report_is_refused(other: object) -> None:
    with pytest.raises(BadInput):
        unpacked(other)  # type: ignore[arg-type]


def test_what_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_packed, "LARGEST", 1000)
    assert unpacked(packed("x" * 1000)) == "x" * 1000
    with pytest.raises(BadInput, match="more than 1000 bytes"):
        unpacked(packed("x" * 1001))


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(BadInput, match="damaged"):
        unpacked(MARK + base64.b64encode(zlib.compress(b"\xff\xfe\xfd")).decode())
