# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports in which every text that somebody may choose is an attack, and that the schema holds for all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# What the schema gives a form of its own: nobody chooses these.
FIXED = frozenset({"form", "generated", "since", "kind", "level", "verdict", "feature", "word", "expires", "status"})
# Codes by which a reader of the report tells what was not judged; changed, they would be findings like any other.
TOLD_APART = frozenset({"not_reached", "not_judged"})
# The keys of these are texts too.
NAMED = frozenset({"codes", "controls", "exposure"})

ATTACKS = (
    "</script><script>window.hit='script'</script>",
    "<img src=x onerror=\"window.hit='img'\">",
    "\"><svg onload=window.hit='svg'>",
    "'><iframe srcdoc='<script>parent.hit=1</script>'></iframe>",
    "<!--<script>",
    "]]>--!><b>",
    "</title></style></textarea></noscript><b id=hit>",
    "javascript:window.hit='link'",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "a\u2028b\u2029c\u202ed\u0000e\u0007f\x7fg",
    "&lt;b&gt;&amp;&#x3c;",
    "__proto__",
    "\ud800 alone",
    "",
)


def rewritten(report: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """The report with ``change`` made to every text in it, the same text the same way everywhere."""

    def walk(value: Any, key: str = "", inside: str = "") -> Any:
        if isinstance(value, dict):
            named = key in NAMED
            return {change(name) if named else name: walk(each, name, key) for name, each in value.items()}
        if isinstance(value, list):
            return [walk(each, key, inside) for each in value]
        # The kind of a failure is any text.
        if not isinstance(value, str) or (key in FIXED and not (key == "kind" and inside == "failure")) or inside == "exposure":
            return value
        return change(value)

    made: dict[str, Any] = walk(report)
    return made


def attacked(report: dict[str, Any], attack: str) -> dict[str, Any]:
    return rewritten(report, lambda text: text if text in TOLD_APART else f"{text}{attack}")
