# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A compatibility list of the user's own: JSON, CSV or entries of a task, as rows that judge. Pure. Private to this collection."""

from __future__ import annotations

import csv
import difflib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .errors import BadInput
from .hardware_model import VERDICTS, Row, span_of

COLUMNS = ("pci", "class", "cpu", "release", "verdict", "source", "note")
_OPTION = "compatibility_list"
_CPU = re.compile(r"^(intel|amd|hygon)\s+(\w+)/(\w+)(?:/(\w+)(?:-(\w+))?)?$", re.I)
_EXAMPLE = "A row is for example pci: 8086:1572, release: 8.0, verdict: supported, source: the vendor's list of May 2026."


def from_text(text: str, where: str) -> tuple[Row, ...]:
    """A file, JSON or CSV by how it begins. Raises BadInput with line and cure."""
    text = text.lstrip("\ufeff")
    if not text.strip():
        raise BadInput(f"{_OPTION}: {where} is empty", hint=_EXAMPLE)
    if text.lstrip()[0] in "[{":
        return _from_json(text, where)
    lines = csv.reader(text.splitlines(keepends=True), strict=True, skipinitialspace=True)
    rows: list[tuple[str, Mapping[str, Any]]] = []
    header: list[str] = []
    try:
        for cells in lines:
            place = f"{where}, line {lines.line_num}"
            if not any(cell.strip() for cell in cells) or cells[0].lstrip().startswith("#"):
                continue
            if not header:
                header = [cell.strip().lower() for cell in cells]
                _known(header, place)
                if len(set(header)) != len(header):
                    raise BadInput(f"{_OPTION}: {place} names a column twice", hint=f"The columns are {', '.join(COLUMNS)}.")
                continue
            if len(cells) > len(header):
                raise BadInput(
                    f"{_OPTION}: {place} has {len(cells)} cells below {len(header)} columns", hint="Put a cell with a comma into quotes."
                )
            rows.append((place, dict(zip(header, cells))))  # noqa: B905 # a short line has empty cells at its end
    except csv.Error as problem:
        raise BadInput(f"{_OPTION}: {where}, line {lines.line_num} is no CSV: {problem}", hint="Look at the quotes of that line.") from None
    return _rows(rows, where)


def _from_json(text: str, where: str) -> tuple[Row, ...]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as problem:
        raise BadInput(
            f"{_OPTION}: {where}, line {problem.lineno} is no JSON: {problem.msg}", hint="Write a list of objects, or a CSV file."
        ) from None
    except (RecursionError, ValueError):
        raise BadInput(f"{_OPTION}: {where} is no JSON that can be read", hint="Write a list of objects, or a CSV file.") from None
    if isinstance(data, Mapping):
        if set(data) != {"entries"}:
            raise BadInput(
                f"{_OPTION}: {where} is an object without entries", hint="Write a list, or an object whose only member is entries."
            )
        data = data["entries"]
    return from_entries(data, where)


def from_entries(entries: Any, where: str = "") -> tuple[Row, ...]:
    """What stands in a task or a JSON file."""
    if not isinstance(entries, list):
        raise BadInput(f"{_OPTION} is neither a path nor a list", hint="Name a JSON or CSV file, or give a list of rows.")
    begin = f"{where}, " if where else ""
    rows: list[tuple[str, Mapping[str, Any]]] = []
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, Mapping):
            raise BadInput(f"{_OPTION}: {begin}entry {number} is no row but {str(entry)[:40]!r}", hint=_EXAMPLE)
        row = {str(name).strip().lower(): value for name, value in entry.items()}
        _known(row, f"{begin}entry {number}")
        for name, value in row.items():
            if isinstance(value, (Mapping, list, bool)):
                raise BadInput(f"{_OPTION}: {begin}entry {number} has a {name} that is no text", hint="Put it into quotes.")
        rows.append((f"{begin}entry {number}", row))
    return _rows(rows, where)


def _known(names: Iterable[str], place: str) -> None:
    for name in names:
        sign = next((sign for sign in ";\t|" if sign in name), "")
        if sign and {part.strip(' "') for part in name.split(sign)} <= {*COLUMNS, ""}:
            raise BadInput(f"{_OPTION}: {place} has cells with {sign!r} between them", hint="Save it as CSV with commas.")
        if name not in COLUMNS:
            near = difflib.get_close_matches(name, COLUMNS, n=1)
            told = f"Did you mean {near[0]}? " if near else ""
            raise BadInput(f"{_OPTION}: {place} has a column {name[:40]!r}", hint=f"{told}The columns are {', '.join(COLUMNS)}.")


def _rows(rows: list[tuple[str, Mapping[str, Any]]], where: str) -> tuple[Row, ...]:
    if not rows:
        raise BadInput(f"{_OPTION}{': ' + where if where else ''} has no row", hint=f"Leave it out, or fill it. {_EXAMPLE}")
    return tuple(_row(place, {name: "" if value is None else str(value).strip() for name, value in row.items()}) for place, row in rows)


def _row(place: str, row: Mapping[str, str]) -> Row:
    verdict = row.get("verdict", "").lower().replace(" ", "_")
    if verdict not in VERDICTS:
        raise BadInput(f"{_OPTION}: {place} has verdict {verdict[:40]!r}", hint=f"Write one of {', '.join(VERDICTS)}.")
    source = row.get("source", "")
    if verdict == "supported" and not source:
        raise BadInput(
            f"{_OPTION}: {place} says supported and does not say who says so", hint="Fill source: a list, a ticket, a test and its date."
        )
    span = span_of(row.get("release", ""))
    if span is None:
        raise BadInput(
            f"{_OPTION}: {place} has release {row['release'][:40]!r}", hint="Write 8.0, 8.0 U2, 7.0-8.0.1 or 8.0.2-, or leave it empty."
        )
    if bool(row.get("pci")) == bool(row.get("cpu")):
        both = "both pci and cpu" if row.get("pci") else "neither pci nor cpu"
        raise BadInput(f"{_OPTION}: {place} has {both}", hint="A row is about a PCI device or about a CPU.")
    part = _cpu(place, row) if row.get("cpu") else _pci(place, row)
    return Row(verdict=verdict, source=source or f"{_OPTION}, {place}", span=span, note=row.get("note", ""), **part)


def _number(text: str) -> int | None:
    """Hexadecimal of 16 bits, with or without 0x."""
    text = text.strip().lower().removeprefix("0x")
    return int(text, 16) if re.fullmatch("[0-9a-f]{1,4}", text) else None


def _pci(place: str, row: Mapping[str, str]) -> dict[str, Any]:
    given = row["pci"].split(":")
    parts = [None if part.strip() == "*" else _number(part) for part in given]
    bad = any(part is None and text.strip() != "*" for part, text in zip(parts, given))  # noqa: B905 # of the same text
    # A vendor alone may be a device that was forgotten: who means all of them says so.
    if bad or len(parts) not in (2, 4) or parts[0] is None or (len(parts) == 4 and None in parts):
        raise BadInput(
            f"{_OPTION}: {place} has pci {row['pci'][:40]!r}",
            hint="Write vendor:device or vendor:device:subvendor:subdevice in hexadecimal, for example 8086:1572, or vendor:* for all of a vendor.",
        )
    names = ("vendor", "device", "subvendor", "subdevice")
    found: dict[str, Any] = dict(zip(names, parts))  # noqa: B905 # the rest stays as it is
    text = row.get("class", "").lower().removeprefix("0x")
    if text:
        number = _number(text)
        if number is None or len(text) not in (2, 4):
            raise BadInput(
                f"{_OPTION}: {place} has class {row['class'][:40]!r}",
                hint="Write 0200 for Ethernet, 01 for all storage, 03 for graphics, in YAML in quotes.",
            )
        found.update(pci_class=number, class_shift=8 if len(text) == 2 else 0)
    return found


def _cpu(place: str, row: Mapping[str, str]) -> dict[str, Any]:
    if row.get("class"):
        raise BadInput(f"{_OPTION}: {place} has a class, and is about a CPU", hint="Leave class empty; it is for PCI devices.")
    found = _CPU.match(row["cpu"])
    if not found:
        if "/" in row["cpu"] or len(re.findall("[A-Za-z0-9]", row["cpu"])) < 3:
            raise BadInput(
                f"{_OPTION}: {place} has cpu {row['cpu'][:60]!r}",
                hint="Write intel 6/85, intel 6/85/7, intel 6/85/0-4, or a part of its name, such as Gold 63?? or E5-26?? v4.",
            )
        pattern = row["cpu"]
        return {"series": pattern if pattern.startswith("*") and pattern.endswith("*") else f"*{pattern.strip('*')}*"}
    numbers = []
    for text in found.groups()[1:]:
        try:
            numbers.append(None if text is None else int(text, 0))
        except ValueError:
            raise BadInput(
                f"{_OPTION}: {place} has {text!r} in cpu, which is no number",
                hint="Family, model and stepping are decimal, or 0x and hexadecimal.",
            ) from None
    family, model, first, last = numbers
    steppings = None if first is None else (first, first if last is None else last)
    if steppings and steppings[0] > steppings[1]:
        raise BadInput(f"{_OPTION}: {place} has steppings that go down: {row['cpu'][:40]!r}", hint="Write the lower one first.")
    return {"maker": found[1].lower(), "family": family, "model": model, "steppings": steppings}
