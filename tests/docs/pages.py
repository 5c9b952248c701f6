# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages as the tests take them: what is run, what is a file, what is shown, see CONTRIBUTING.md. tests/docs/pages.yml says what a
page stands on.

Shown lines are compared without white space, as pages break long ones, and with ``#`` for every number of seconds.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tools.docs_links import tokens_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SETTINGS: dict[str, Any] = yaml.safe_load((ROOT / "tests/docs/pages.yml").read_text(encoding="utf-8"))
NAME = re.compile(r"# ([\w./-]+\.(?:yml|yaml|csv|cfg|toml|j2))\b")
SECONDS = re.compile(r"[+-]?\d+(\.\d+)? ?s\b")


@dataclasses.dataclass(frozen=True)
class Block:
    kind: str
    text: str
    line: int
    name: str = ""

    @property
    def file(self) -> str:
        """The name that it is kept under."""
        found = NAME.match(self.text) if self.kind == "yaml" else None
        return found[1] if found else self.name

    @property
    def first(self) -> str:
        return self.text.partition("\n")[0]


@dataclasses.dataclass
class Command:
    """``shown``: what the page says that it prints."""

    text: str
    line: int
    shown: list[str] = dataclasses.field(default_factory=list)


def blocks(text: str) -> Iterator[Block]:
    for token in tokens_of(text):
        if token.type == "fence":
            kind, _space, name = token.info.strip().partition(" ")
            yield Block(kind, token.content, (token.map or [0])[0] + 2, name)


def commands(block: Block) -> list[Command]:
    if block.kind == "sh":
        return [Command(block.text, block.line)]
    found: list[Command] = []
    continued = False
    for number, line in enumerate(block.text.splitlines()):
        if continued:
            found[-1].text += "\n" + line.removeprefix("> ")
        elif line.startswith("$ "):
            found.append(Command(line[2:], block.line + number))
        elif found:
            found[-1].shown.append(line)
        else:
            raise ValueError(f"line {block.line}: a block of console begins with a command")
        continued = line.endswith("\\")
    return found


def page_text(name: str) -> str:
    """``README`` and ``CONTRIBUTING`` stand at the top, everything else in docs/."""
    top = ROOT / f"{name}.md"
    return (top if top.exists() else DOCS / f"{name}.md").read_text(encoding="utf-8")


def pages() -> list[str]:
    """Pages with something to run, to lint or to compare."""
    names = ["README", "CONTRIBUTING", *(path.stem for path in sorted(DOCS.glob("*.md")))]
    generated = SETTINGS["generated"]
    return [name for name in names if name not in generated and any(True for _block in blocks(page_text(name)))]


def squeezed(text: str, varies: list[str]) -> str:
    text = SECONDS.sub("#", text)
    for pattern in varies:
        text = re.sub(pattern, "#", text)
    return re.sub(r"\s+", "", text)


def missing(shown: str, printed: str, varies: list[str]) -> str:
    """The first piece of what is shown that was not printed, or nothing. Pieces follow each other."""
    output, place = squeezed(printed, varies), 0
    for line in shown.splitlines():
        for piece in re.split(r"\.{3}|…", line):
            wanted = squeezed(piece, varies)
            found = output.find(wanted, place)
            if found < 0:
                return piece.strip()
            place = found + len(wanted)
    return ""
