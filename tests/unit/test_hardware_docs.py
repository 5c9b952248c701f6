# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of docs/hardware.md are those of tests/situations/hardware.yml and of the catalogue."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable
from typing import Any

import pytest
import yaml

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.hardware_catalogue import DEMANDS, RELEASES, ROWS
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.hardware_model import NEWEST, Span, release_name

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs/hardware.md"
DATA = yaml.safe_load((ROOT / "tests/situations/hardware.yml").read_text(encoding="utf-8"))


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def said(expect: dict[str, Any]) -> str:
    return expect["verdict"] + "".join(f", `{code}`" for code in expect["codes"])


def hosts() -> str:
    rows = ([entry["host"], entry["about"], *(said(entry["expect"][target]) for target in RELEASES)] for entry in DATA["hosts"])
    return table(["host", "what is special about it", *RELEASES], rows)


def devices() -> str:
    return table(
        ["device", "PCI", *RELEASES], ([row["name"], f"`{row['pci']}`", *(row[target] for target in RELEASES)] for row in DATA["devices"])
    )


def lists() -> str:
    head = ["what the list says", "host", "release", "device", "host's verdict"]
    return table(head, ([row["name"], row["host"], row["target"], row.get("device", ""), row["verdict"]] for row in DATA["lists"]))


def span(of: Span) -> str:
    first, last = of.first, of.last
    if first and last and first[:2] == last[:2] and (first[2], last[2]) == (0, NEWEST):
        return f"{first[0]}.{first[1]}"
    begin = "" if first is None else release_name((*first[:2], NEWEST)) if first[2] == 0 else release_name(first)
    return f"{begin} and newer" if last is None else f"{begin} to {release_name(last)}"


def catalogue() -> str:
    demands = (
        [
            demand.name + (f" {demand.least}" if demand.least > 1 else ""),
            span(demand.span),
            "demand" if demand.must else "advice",
            demand.source,
        ]
        for demand in DEMANDS
    )
    rows = ([row.note, span(row.span), row.verdict, row.source] for row in ROWS)
    return table(["what", "release", "weight", "source"], [*demands, *rows])


@pytest.mark.parametrize("made", [hosts, devices, lists, catalogue])
def test_the_page_shows_the_data(made: Any) -> None:
    assert made() in DOCS.read_text(encoding="utf-8"), f"docs/hardware.md lacks this table:\n{made()}"
