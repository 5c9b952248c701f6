# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as a table for a spreadsheet. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """One line a row, below the names of the columns. A list is one cell."""
    return "".join(",".join(line) + "\n" for line in (columns, *([_cell(row.get(name)) for name in columns] for row in rows)))


def _cell(value: Any) -> str:
    """A spreadsheet takes a text that begins with one of these for a formula."""
    text = "" if value is None else "; ".join(value) if isinstance(value, list) else str(value)
    if text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") and not isinstance(value, (int, float)):
        text = "'" + text
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\n\r') else text
