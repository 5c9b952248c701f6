# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports and ranges of ports as people write them. Pure. Private to this collection."""

from __future__ import annotations


def port_number(text: str) -> int | None:
    """None for what is no port."""
    digits = text.strip()
    good = digits.isascii() and digits.isdigit() and len(digits) < 6 and 1 <= int(digits) <= 65535
    return int(digits) if good else None


def port_range(text: str) -> tuple[int, int] | None:
    """First and last port of ``8080`` or ``8000-8100``; None for what is neither."""
    first, dash, last = text.partition("-")
    begin, end = port_number(first), port_number(last if dash else first)
    return None if begin is None or end is None or begin > end else (begin, end)
