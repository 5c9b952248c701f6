# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where links lead, in Markdown as the repository shows it and in the pages of a built site. Nothing is fetched.

markdown-it-py reads the Markdown, as it does for MyST: what stands in code is no link to it, and it knows every way to write one.
"""

from __future__ import annotations

import html.parser
import pathlib
import re
import urllib.parse
from collections.abc import Iterator

import markdown_it
from markdown_it.token import Token

SCHEMES = ("http", "https")


def slug(title: str) -> str:
    """What the repository's viewer and MyST make of a heading."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def tokens_of(text: str) -> list[Token]:
    return markdown_it.MarkdownIt("commonmark").enable("table").parse(text)


def anchors_in(text: str) -> set[str]:
    """A second heading of the same words gets -1."""
    found: set[str] = set()
    tokens = tokens_of(text)
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            words = "".join(child.content for child in tokens[index + 1].children or () if child.type in ("text", "code_inline"))
            name, number = slug(words), 0
            while (name if not number else f"{name}-{number}") in found:
                number += 1
            found.add(name if not number else f"{name}-{number}")
    return found


def links_in(text: str) -> Iterator[tuple[int, str]]:
    """Each link and picture, with the line of the paragraph that it stands in."""
    for token in tokens_of(text):
        line = (token.map or [0])[0] + 1
        for child in token.children or ():
            if child.type in ("link_open", "image"):
                yield line, str(child.attrs.get("href") or child.attrs.get("src") or "")


def broken_in_markdown(root: pathlib.Path, path: pathlib.Path, hosts: set[str]) -> list[str]:
    """A sentence for each link of a file that leads nowhere, or to a host that is not listed."""
    text, found = path.read_text(encoding="utf-8"), []
    for line, link in links_in(text):
        wrong = wrong_outside(link, hosts) if re.match(r"[a-z][a-z0-9+.-]*:", link) else wrong_inside(root, path, link)
        if wrong:
            found.append(f"{path.relative_to(root)}:{line}: {link}: {wrong}")
    return found


def wrong_inside(root: pathlib.Path, path: pathlib.Path, link: str) -> str:
    name, _hash, anchor = link.partition("#")
    target = (path.parent / urllib.parse.unquote(name)).resolve() if name else path
    if not target.is_relative_to(root):
        return "it leads out of the repository"
    if not target.exists():
        return "there is no such file"
    if anchor and target.suffix == ".md" and anchor not in anchors_in(target.read_text(encoding="utf-8")):
        return f"{target.relative_to(root)} has no heading {anchor!r}"
    return ""


def wrong_outside(link: str, hosts: set[str]) -> str:
    parts = urllib.parse.urlsplit(link)
    if parts.scheme not in SCHEMES:
        return f"links begin with {' or '.join(SCHEMES)}"
    if not parts.hostname or " " in link:
        return "it is no address"
    return "" if parts.hostname in hosts else f"{parts.hostname} is not among the hosts of tests/docs/pages.yml"


class Page(html.parser.HTMLParser):
    """The names in a page that can be linked to, and its links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (name == "name" and tag == "a"):
                self.names.add(value or "")
            elif name in ("href", "src") and value is not None:
                self.links.append(value)


def broken_in_html(folder: pathlib.Path) -> list[str]:
    """A sentence for each link within the site that leads nowhere; and for what a page would load from elsewhere."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        for link in dict.fromkeys(page.links):
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
            anchor = urllib.parse.unquote(parts.fragment)
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                found.append(f"{path.relative_to(folder)}: {link}: there is no such page")
            elif anchor and target in pages and anchor not in pages[target].names:
                found.append(f"{path.relative_to(folder)}: {link}: the page has no place of that name")
    return found
