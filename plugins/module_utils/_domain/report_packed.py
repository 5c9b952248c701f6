# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as one short line of harmless letters, to be carried as an artifact of a job. Private to this collection."""

from __future__ import annotations

import base64
import binascii
import zlib

from .errors import BadInput

# So that a reader, and a later release, knows what it has before it.
MARK = "fleetcare-audit-1:"
# Thirty times the report of 5,000 hosts and as many VMs.
LARGEST = 512 * 1024 * 1024
AGAIN = "Run its slice again."


def packed(text: str) -> str:
    """The same text always gives the same line."""
    return MARK + base64.b64encode(zlib.compress(text.encode("utf-8"), 9)).decode("ascii")


def unpacked(line: str) -> str:
    if not isinstance(line, str) or not line.startswith(MARK):
        raise BadInput(f"This is no packed report: it does not begin with {MARK}", hint="The filter audit_packed makes one.")
    try:
        inflater = zlib.decompressobj()
        text = inflater.decompress(base64.b64decode(line[len(MARK) :], validate=True), LARGEST)
        if inflater.unconsumed_tail:
            raise BadInput(f"This packed report unfolds to more than {LARGEST} bytes, which no audit makes")
        if not inflater.eof or inflater.unused_data:
            raise BadInput("This packed report does not end where it should: it was cut off, or something was put behind it", hint=AGAIN)
        return text.decode("utf-8")
    except (binascii.Error, zlib.error, UnicodeDecodeError) as problem:
        raise BadInput(f"This packed report is damaged: {problem}", hint=AGAIN) from None
