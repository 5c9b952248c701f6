# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether something read from a file is a report of an audit. Private to this collection.

The schema itself is for others; a module has no library to read it with. What is said here is what the other parts rely on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .errors import BadInput
from .report_model import FORM, LEVELS, VERDICTS, Report

_HINT = "Name a file that esxi_audit or esxi_audit_report has written."
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_WORD = re.compile(r"[a-z][a-z_]*")
_TEXT, _COUNT, _NUMBER, _FLAG, _FREE = "a text", "a whole number", "a number", "true or false", "anything"
_TEXT_OR_NONE, _COUNT_OR_NONE, _NUMBER_OR_NONE = "a text or null", "a whole number or null", "a number or null"
_SIMPLE: dict[str, tuple[type, ...]] = {
    _TEXT: (str,),
    _TEXT_OR_NONE: (str, type(None)),
    _COUNT: (int,),
    _COUNT_OR_NONE: (int, type(None)),
    _NUMBER: (int, float),
    _NUMBER_OR_NONE: (int, float, type(None)),
    _FLAG: (bool,),
    _FREE: (object,),
}

# A mapping is an object with these members, ? marks one that may be missing; a list holds any number of its one entry; a tuple
# is a choice of words, of which None stands for null; {"*": ...} has members of any name; {"?": ...} may be null.
_SLICES = {"?": {"of": _COUNT, "present": [_COUNT]}}
_FAILURE = {
    "kind": _TEXT,
    "cause": _TEXT,
    "message": _TEXT,
    **dict.fromkeys(("?fault", "?doing", "?hint", "?target"), _TEXT_OR_NONE),
    "?slices": [_COUNT],
    "?also": [{"kind": _TEXT, "cause": _TEXT, "message": _TEXT}],
}
_FINDING = {"level": LEVELS, "code": _TEXT, "text": _TEXT, "?repairable": _FLAG, "?exception": _TEXT, "?since": _MOMENT, "?new": _FLAG}
_JUDGEMENTS = {"*": {"verdict": VERDICTS, "?findings": [_FINDING], "?changes": [{"change": _TEXT}], "?failure": _FAILURE}}
_LICENSE = {
    "key": _TEXT,
    "fingerprint": _TEXT,
    **dict.fromkeys(("name", "unit", "expires"), _TEXT_OR_NONE),
    **dict.fromkeys(("total", "used"), _COUNT_OR_NONE),
    "days_left": _NUMBER_OR_NONE,
}
_ENDPOINT = {
    "name": _TEXT,
    "type": _TEXT_OR_NONE,
    "version": _TEXT_OR_NONE,
    "?failure": _FAILURE,
    "?slices": _SLICES,
    "judgements": _JUDGEMENTS,
    "licenses": [_LICENSE],
}
_TARGET = {
    "endpoint": _TEXT,
    "kind": ("host", "vm"),
    "name": _TEXT,
    "moid": _TEXT,
    "path": _TEXT,
    "datacenter": _TEXT_OR_NONE,
    "cluster": _TEXT_OR_NONE,
    "?host": _TEXT,
    "groups": [_TEXT],
    "judgements": _JUDGEMENTS,
    "?clock": {"offset": _NUMBER, "bound": _NUMBER, "limit": _NUMBER},
    "?exposure": {"*": ("all", "some")},
}
_REPORT = {
    "form": (FORM,),
    "collection": _TEXT,
    "generated": _MOMENT,
    "site": _TEXT,
    "profile": {"name": _TEXT, "fingerprint": _TEXT},
    "features": [{"word": _WORD, "title": _TEXT, "repaired_by": _TEXT_OR_NONE, "owner": _TEXT_OR_NONE}],
    "endpoints": [_ENDPOINT],
    "targets": [_TARGET],
    "codes": {"*": {"hint": _TEXT, "controls": [_TEXT]}},
    "controls": {"*": {"guide": _TEXT, "title": _TEXT, "source": _TEXT}},
    "exceptions": [
        {
            **dict.fromkeys(("id", "owner", "reason", "expires"), _TEXT),
            "status": ("active", "expired", "unused"),
            "findings": _COUNT,
        }
    ],
    "slices": _SLICES,
    "since": {"?": _MOMENT},
    "resolved": [
        {
            "endpoint": _TEXT,
            "kind": ("endpoint", "host", "vm"),
            "name": _TEXT,
            "feature": _WORD,
            "code": _TEXT,
            "level": LEVELS,
            "text": _TEXT,
            "since": _MOMENT,
        }
    ],
    "summary": {"hosts": _COUNT, "vms": _COUNT, "compliant_targets": _COUNT, "verdicts": {"*": {"*": _COUNT}}, "findings": {"*": _COUNT}},
}


def checked(data: Any, what: str) -> Report:
    """``data`` as a report; ``what`` names it in a sentence. Raises BadInput with the first place that is not as it should be."""
    if not isinstance(data, dict) or "form" not in data:
        raise BadInput(f"{what} is no report of an audit", hint=_HINT)
    if data["form"] != FORM:
        form = data["form"] if isinstance(data["form"], str) else type(data["form"]).__name__
        raise BadInput(f"{what} is of another form, {form[:60]!r}; this version of the collection reads {FORM!r}", hint=_HINT)
    trouble = _trouble(data, _REPORT, "")
    if trouble:
        raise BadInput(f"{what} is damaged: {trouble}", hint=_HINT)
    return data


def read(content: bytes | str, what: str) -> Report:
    """The content of a file as a report; ``what`` names it. Raises BadInput."""
    try:
        return checked(json.loads(content, parse_constant=_no_number), what)
    except (ValueError, RecursionError):
        raise BadInput(f"{what} is no JSON", hint=_HINT) from None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is nothing that JSON has")


def _trouble(value: Any, form: Any, place: str) -> str:
    """The first place that is not of its form; empty where there is none."""
    where = place.lstrip(".") or "it"
    if isinstance(form, str):
        # A flag is a whole number for Python, and is none here.
        fits = isinstance(value, _SIMPLE[form]) and (not isinstance(value, bool) or form in (_FLAG, _FREE))
        return "" if fits else f"{where} is not {form}"
    if isinstance(form, tuple):
        return "" if isinstance(value, str) and value in form else f"{where} is none of {', '.join(form)}"
    if isinstance(form, re.Pattern):
        return "" if isinstance(value, str) and form.fullmatch(value) else f"{where} is not of its form"
    if isinstance(form, list):
        if not isinstance(value, list):
            return f"{where} is no list"
        return next(filter(None, (_trouble(each, form[0], f"{place}[{number}]") for number, each in enumerate(value))), "")
    return _object_trouble(value, form, place, where)


def _object_trouble(value: Any, form: Mapping[str, Any], place: str, where: str) -> str:
    if "?" in form:
        return "" if value is None else _trouble(value, form["?"], place)
    if not isinstance(value, dict):
        return f"{where} is no object"
    if "*" in form:
        return next(filter(None, (_trouble(each, form["*"], f"{place}.{name}") for name, each in value.items())), "")
    for name, inner in form.items():
        plain = name.lstrip("?")
        if plain in value:
            if trouble := _trouble(value[plain], inner, f"{place}.{plain}"):
                return trouble
        elif plain == name:
            return f"{where} has no {name}"
    return ""
