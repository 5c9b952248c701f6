# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every command on a page of the documentation runs, and prints what the page shows."""

from __future__ import annotations

import pathlib

import pytest

from .pages import SETTINGS, blocks, missing, page_text, pages
from .run_page import Page

RUN = [name for name in pages() if any(block.kind in ("console", "sh") for block in blocks(page_text(name)))]


@pytest.mark.parametrize("name", RUN)
def test_a_page_does_what_it_says(name: str, tmp_path: pathlib.Path) -> None:
    assert name in SETTINGS["pages"], f"tests/docs/pages.yml does not say what the commands of {name}.md stand on."
    done = Page(name, tmp_path).run()
    assert not done.wrong, "\n".join([f"{name}.md", *done.wrong])
    left_out = SETTINGS["pages"][name].get("not_run") or {}
    assert done.commands or left_out, f"{name}.md: nothing was run"


@pytest.mark.parametrize(
    "shown, printed, lacks",
    [
        ("3 hosts: 3 changed.", "ok\n3 hosts: 3\n   changed.", ""),
        ("3 hosts: ... 1 failed", "3 hosts: 2 changed, 1 failed", ""),
        ("took 4.2 s (± 0.1 s)", "took 17.9 s (± 2 s)", ""),
        ("3 hosts: 3 changed.", "3 hosts: 2 changed.", "3 hosts: 3 changed."),
        ("b ... a", "a, then b", "a"),
        ("a\nb", "b a", "b"),
    ],
)
def test_what_is_shown_has_to_be_printed_in_that_order(shown: str, printed: str, lacks: str) -> None:
    assert missing(shown, printed, []) == lacks


def test_a_page_that_is_not_true_is_told(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETTINGS["pages"], "planted", {"fails": {"false": "to be seen"}})
    text = "```console\n$ echo one\nONE\n$ false\n$ exit_with() { return 3; }; exit_with\n```\n\n```text\none\n```\n\n```text\nthree\n```\n"
    monkeypatch.setattr("tests.docs.run_page.page_text", lambda _name: text)
    done = Page("planted", tmp_path).run()
    assert done.commands == 3
    told = [line.partition("\n")[0] for line in done.wrong]
    assert told == [
        "line 2: 'echo one' does not print 'ONE', but:",
        "line 5: 'exit_with() { return 3; }; exit_with' ended with 3:",
        "line 13: the commands above do not print 'three'",
    ]
