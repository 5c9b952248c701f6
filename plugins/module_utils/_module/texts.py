# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that name a file of text: its text is what they say. Private to this collection."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from .._client import local_files
from .._domain.errors import BadInput

# More than any list that people keep by hand; a disk image named by mistake is not read into memory.
_LARGEST = 16 << 20


def read(params: Mapping[str, Any], options: Iterable[str]) -> Mapping[str, Any]:
    """Options with the name and the text of a file in place of its path. What is no path stays. Raises BadInput."""
    paths = {option: params[option] for option in options if isinstance(params.get(option), str)}
    return {**params, **{option: _read(option, given) for option, given in paths.items()}}


def is_text(given: str) -> bool:
    """Rather than the path of a file."""
    return not given.strip() or "\n" in given or given.lstrip()[0] in "[{"


def _read(option: str, given: str) -> tuple[str, str]:
    """The text itself is taken, too: a lookup gives that."""
    if is_text(given):
        return "the text given", given
    path = os.path.abspath(os.path.expanduser(given))
    try:
        return given, local_files.given(path, _LARGEST).decode("utf-8-sig")
    except BadInput as problem:
        raise BadInput(f"{option}: {problem.cause}", hint=problem.hint) from None
    except UnicodeDecodeError as problem:
        raise BadInput(f"{option}: {path} is no UTF-8 text (byte {problem.start})", hint="Save it as text in UTF-8.") from None
