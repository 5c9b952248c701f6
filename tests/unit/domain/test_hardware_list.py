# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A compatibility list of the user's own: what is read is what was meant, and what cannot be meant is refused with line and cure."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.hardware_list import COLUMNS, from_entries, from_text
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.hardware_model import VERDICTS, Row, Span
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.table import as_csv

HEX = st.integers(0, 0xFFFF).map(lambda number: f"{number:04x}")
PCI = st.one_of(
    HEX.map(lambda vendor: f"{vendor}:*"),
    st.tuples(HEX, HEX).map(":".join),
    st.tuples(HEX, HEX, HEX, HEX).map(":".join),
)
CPU = st.one_of(
    st.tuples(st.sampled_from(["intel", "amd"]), st.integers(0, 30), st.integers(0, 255)).map(lambda one: f"{one[0]} {one[1]}/{one[2]}"),
    st.sampled_from(["intel 6/85/7", "Intel 0x6/0x55/0-4", "Gold 63??", "*EPYC 7*"]),
)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"), max_size=20).map(str.strip)
RELEASE = st.sampled_from(["", "8.0", "8.0 U2", "7.0-8.0.1", "8.0.2-", "-9.0"])


@st.composite
def entries(draw: st.DrawFn) -> dict[str, str]:
    verdict = draw(st.sampled_from(VERDICTS))
    source = draw(TEXT)
    if verdict == "supported" and not source:
        source = "guide"
    part = {"pci": draw(PCI)} if draw(st.booleans()) else {"cpu": draw(CPU)}
    if "pci" in part and draw(st.booleans()):
        part["class"] = draw(st.sampled_from(["0200", "01", "0x0108"]))
    return {**part, "release": draw(RELEASE), "verdict": verdict, "source": source, "note": draw(TEXT)}


def without_place(rows: tuple[Row, ...], given_rows: list[dict[str, str]]) -> list[Row]:
    """A row without a source names its line, which differs between forms."""
    return [Row(**{**vars(row), "source": row.source if entry["source"] else "here"}) for row, entry in zip(rows, given_rows, strict=True)]


@given(st.lists(entries(), min_size=1, max_size=5))
def test_json_csv_and_entries_mean_the_same(given_rows: list[dict[str, str]]) -> None:
    expected = without_place(from_entries(given_rows), given_rows)
    assert without_place(from_text(json.dumps(given_rows), "a.json"), given_rows) == expected
    assert without_place(from_text(json.dumps({"entries": given_rows}), "a.json"), given_rows) == expected
    lines = [",".join(COLUMNS)]
    lines += [",".join('"' + row.get(name, "").replace('"', '""') + '"' for name in COLUMNS) for row in given_rows]
    assert without_place(from_text("\ufeff" + "\r\n".join(lines), "a.csv"), given_rows) == expected


@given(st.lists(entries(), min_size=1, max_size=3), st.randoms())
def test_columns_stand_in_any_order(given_rows: list[dict[str, str]], random: Any) -> None:
    columns = list(COLUMNS)
    random.shuffle(columns)
    text = as_csv(columns, given_rows).replace("'", "")  # what a spreadsheet would take for a formula
    safe = [{name: value.replace("'", "") for name, value in row.items()} for row in given_rows]
    if any(value[:1] in tuple('=+-@\t"#') for row in safe for value in row.values()):
        return
    assert without_place(from_text(text, "a.csv"), safe) == without_place(from_entries(safe), safe)


@given(
    st.one_of(
        st.text(max_size=200),
        st.text('pciverdt,:;0189af"\n[]{}#', max_size=200),
        st.binary(max_size=80).map(lambda raw: raw.decode("latin-1")),
    )
)
def test_any_text_is_a_list_or_refused_with_a_cure(text: str) -> None:
    try:
        rows = from_text(text, "list.csv")
    except BadInput as problem:
        assert problem.cause.startswith("compatibility_list") and "list.csv" in problem.cause and problem.hint
        return
    assert rows and all(row.verdict in VERDICTS and row.source for row in rows)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*COLUMNS, "odd"]), inner, max_size=4),
    )
)
def test_any_entries_are_rows_or_refused(value: Any) -> None:
    try:
        rows = from_entries(value)
    except BadInput as problem:
        assert problem.cause.startswith("compatibility_list") and problem.hint
        return
    assert rows and all(row.verdict != "supported" or not row.source.startswith("compatibility_list") for row in rows)


def test_what_a_line_means() -> None:
    text = """# our own servers
pci, class, cpu, release, verdict, source, note

8086:1572,,,8.0,supported,"guide, May",
10EC:*,0200,,7.0-,known bad,,no driver
,,Gold 63??,,advice,,
,,intel 6/0x55/0-4,9.0,known_bad,letter,old"""
    x710, realtek, gold, skylake = from_text(text, "servers.csv")
    assert (x710.vendor, x710.device, x710.source, x710.span) == (0x8086, 0x1572, "guide, May", Span((8, 0, 0), (8, 0, 99)))
    assert (realtek.vendor, realtek.device, realtek.pci_class, realtek.verdict) == (0x10EC, None, 0x0200, "known_bad")
    assert realtek.source == "compatibility_list, servers.csv, line 5" and realtek.note == "no driver"
    assert gold.series == "*Gold 63??*" and gold.is_cpu
    assert (skylake.maker, skylake.family, skylake.model, skylake.steppings) == ("intel", 6, 0x55, (0, 4))


GOOD = {"pci": "8086:1572", "verdict": "advice"}
# What is wrong, a part of the cause, a part of the cure.
BAD: list[tuple[Any, str, str]] = [
    ([], "has no row", "Leave it out"),
    ([GOOD, "8086:1572"], "entry 2 is no row", "for example"),
    ([{**GOOD, "verdict": "good"}], "verdict 'good'", "supported, not_listed, advice, known_bad"),
    ([{"pci": "8086:1572"}], "verdict ''", "Write one of"),
    ([{**GOOD, "verdict": "supported"}], "does not say who says so", "source"),
    ([{**GOOD, "verdict": "supported", "source": "  "}], "does not say who says so", "source"),
    ([{**GOOD, "release": "eight"}], "release 'eight'", "8.0 U2"),
    ([{**GOOD, "release": "9.0-8.0"}], "release '9.0-8.0'", "7.0-8.0.1"),
    ([{**GOOD, "vendor": "x"}], "a column 'vendor'", "columns are pci"),
    ([{**GOOD, "verdct": "x"}], "a column 'verdct'", "Did you mean verdict?"),
    ([{**GOOD, "cpu": "Gold"}], "both pci and cpu", "about a PCI device or about a CPU"),
    ([{"verdict": "advice"}], "neither pci nor cpu", "about a PCI device or about a CPU"),
    ([{**GOOD, "pci": "8086:15722"}], "pci '8086:15722'", "vendor:device"),
    ([{**GOOD, "pci": "8086"}], "pci '8086'", "vendor:* for all of a vendor"),
    ([{**GOOD, "pci": 8086}], "pci '8086'", "vendor:* for all of a vendor"),
    ([{**GOOD, "class": 128}], "class '128'", "in YAML in quotes"),
    ([{**GOOD, "pci": "intel"}], "pci 'intel'", "hexadecimal"),
    ([{**GOOD, "pci": "8086:1572:1028"}], "pci", "subvendor"),
    ([{**GOOD, "pci": "*:1572"}], "pci", "vendor"),
    ([{**GOOD, "pci": "8086:*:1028:0001"}], "pci", "vendor"),
    ([{**GOOD, "class": "2"}], "class '2'", "0200"),
    ([{**GOOD, "class": "Ethernet"}], "class 'ethernet'", "0200"),
    ([{"cpu": "intel 6/85", "class": "0200", "verdict": "advice"}], "has a class", "Leave class empty"),
    ([{"cpu": "6/85", "verdict": "advice"}], "cpu '6/85'", "intel 6/85"),
    ([{"cpu": "*", "verdict": "advice"}], "cpu '*'", "part of its name"),
    ([{"cpu": "intel 6/x", "verdict": "advice"}], "'x' in cpu", "decimal"),
    ([{"cpu": "intel 6/85/7-3", "verdict": "advice"}], "go down", "lower one first"),
    ([{**GOOD, "note": ["a"]}], "a note that is no text", "quotes"),
    ({"pci": "8086:1572"}, "neither a path nor a list", "JSON or CSV"),
    (42, "neither a path nor a list", "JSON or CSV"),
]


@pytest.mark.parametrize(("given_rows", "cause", "cure"), BAD)
def test_bad_entries(given_rows: Any, cause: str, cure: str) -> None:
    with pytest.raises(BadInput) as caught:
        from_entries(given_rows)
    assert cause.lower() in caught.value.cause.lower() and cure in caught.value.hint


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "list is empty"),
        (" \n\n", "list is empty"),
        ("pci,verdict\n", "has no row"),
        ("pci,verdict,pci\n8086,advice,1\n", "line 1 names a column twice"),
        ("8086:1572,advice\n", "line 1 has a column '8086:1572'"),
        ("pci;verdict;note\n8086:1572;advice;\n", "line 1 has cells with ';' between them"),
        ("pci\tverdict\n8086:1572\tadvice\n", "between them"),
        ("pci,verdict\n\n8086:1572,advice,more\n", "line 3 has 3 cells below 2 columns"),
        ('pci,verdict\n"8086:1572,advice\n', "no CSV"),
        ("pci,verdict\n8086:1572,advice\nzzzz,advice\n", "line 3 has pci 'zzzz'"),
        ("[1", "line 1 is no JSON"),
        ('[\n{"pci": "8086"\n', "is no JSON"),
        ('{"rows": []}', "object without entries"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_bad_files(text: str, cause: str) -> None:
    with pytest.raises(BadInput) as caught:
        from_text(text, "list")
    assert cause in caught.value.cause and caught.value.hint
