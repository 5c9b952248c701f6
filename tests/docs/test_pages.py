# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pages hold besides commands: links, playbooks, and what tests/docs/pages.yml says of them."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator

import pytest
import yaml

from tools.docs_links import anchors_in, broken_in_html, broken_in_markdown, links_in

from .pages import DOCS, ROOT, SETTINGS, Block, blocks, commands, page_text, pages

MARKDOWN = [
    *sorted(ROOT.glob("*.md")),
    *sorted(DOCS.glob("*.md")),
    *sorted(ROOT.glob("roles/*/README.md")),
    ROOT / "tests/simulator/README.md",
]
HOSTS = set(SETTINGS["hosts"])


# ---- links ------------------------------------------------------------------------------------------------------------


def test_every_link_leads_somewhere() -> None:
    assert [each for path in MARKDOWN for each in broken_in_markdown(ROOT, path, HOSTS)] == []


def test_every_host_that_links_may_lead_to_is_linked_to() -> None:
    links = [link for path in MARKDOWN for _line, link in links_in(path.read_text(encoding="utf-8"))]
    assert {urllib.parse.urlsplit(link).hostname for link in links} >= HOSTS


def test_a_link_that_leads_nowhere_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "b.md").write_text("# One two\n\n## It's `x_y`\n\n## One two\n")
    good = "[1](b.md) [2](b.md#one-two-1) [3](b.md#its-x_y) [4](https://github.com/a) `[no](no.md)`\n\n# Here\n\n[5](#here)\n"
    (tmp_path / "a.md").write_text(good)
    assert broken_in_markdown(tmp_path, tmp_path / "a.md", {"github.com"}) == []
    (tmp_path / "a.md").write_text(
        "[1](c.md)\n\n[2](b.md#three) [3](../x.md)\n\n[4](ftp://github.com) [5](https://elsewhere.example)\n\n[6](#x)\n"
    )
    told = broken_in_markdown(tmp_path, tmp_path / "a.md", {"github.com"})
    assert [each.rpartition(": ")[0] for each in told] == [
        "a.md:1: c.md", "a.md:3: b.md#three", "a.md:3: ../x.md", "a.md:5: ftp://github.com", "a.md:5: https://elsewhere.example", "a.md:7: #x",
    ]  # fmt: skip
    assert anchors_in("# A\n\n# A\n\n```\n# B\n```\n") == {"a", "a-1"}


def test_a_broken_link_of_the_site_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text('<a href="sub/">1</a><a href="sub/index.html#there">2</a><a href="https://github.com">3</a>')
    (tmp_path / "sub/index.html").write_text('<h1 id="there">x</h1><a href="../index.html">1</a>')
    assert broken_in_html(tmp_path) == []
    (tmp_path / "sub/index.html").write_text('<h1>x</h1><img src="gone.png"><a href="#here">2</a>')
    assert [each.rpartition(": ")[0] for each in broken_in_html(tmp_path)] == [
        "index.html: sub/index.html#there", "sub/index.html: gone.png", "sub/index.html: #here",
    ]  # fmt: skip


# ---- playbooks --------------------------------------------------------------------------------------------------------


def of_kind(kind: str) -> Iterator[tuple[str, Block]]:
    for name in ["README", *(path.stem for path in sorted(DOCS.glob("*.md")))]:
        yield from ((name, block) for block in blocks(page_text(name)) if block.kind == kind)


def test_playbooks_on_pages_pass_the_linter(tmp_path: pathlib.Path) -> None:
    """As users run it, with the options of the modules held against what they are. All of them as one file, which Ansible has to look at once."""
    slips, text, found = set(SETTINGS["slips"]), "---\n", 0
    for name, block in of_kind("yaml"):
        data = yaml.safe_load(block.text)
        if not isinstance(data, list):
            continue
        if f"{name} {block.file}" in slips:
            slips.remove(f"{name} {block.file}")
            continue
        found += 1
        if "hosts" not in data[0]:
            play = [{"name": f"The tasks of {name}", "hosts": "localhost", "gather_facts": False, "tasks": data}]
            text += yaml.safe_dump(play, sort_keys=False)
        elif "sources" not in data[0]:  # a rulebook is another kind of play
            # A file that stands beside the playbook on the page does not stand here.
            lines = [line for line in block.text.splitlines(keepends=True) if "vars_files:" not in line]
            text += f"# {name}.md, line {block.line}\n{''.join(lines)}"
    assert not slips and found > 10
    (tmp_path / "all.yml").write_text(text, encoding="utf-8")
    # Pages use short forms of YAML where they read better; plays of several pages may share a name.
    config = {"profile": "production", "offline": True, "enable_list": ["args"], "warn_list": [], "skip_list": ["yaml"]}
    (tmp_path / "lint.yml").write_text(yaml.safe_dump(config))
    command = [str(pathlib.Path(sys.executable).with_name("ansible-lint")), "--nocolor", "--offline", "-q", "-c", "lint.yml", "all.yml"]
    environment = {
        **os.environ,
        "PATH": f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "ANSIBLE_HOME": str(tmp_path),
    }
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", pages())
def test_blocks_are_of_a_kind_that_tests_know(name: str) -> None:
    known = {"console", "sh", "yaml", "text", "diff", "json", "csv", "ini", "groovy", "python", "dockerfile"}
    assert {block.kind for block in blocks(page_text(name))} <= known
    for block in blocks(page_text(name)):
        if block.kind == "yaml":
            yaml.safe_load(block.text)


# ---- what is said of pages --------------------------------------------------------------------------------------------


def test_every_entry_is_used_by_its_page() -> None:
    """An entry that no page has is about something that is not there any more."""
    wrong = [f"generated: {name}" for name in SETTINGS["generated"] if not (DOCS / f"{name}.md").exists()]
    for name, settings in SETTINGS["pages"].items():
        if name not in pages():
            wrong.append(f"{name}: there is no such page with blocks")
            continue
        found = list(blocks(page_text(name)))
        run = [command.text for block in found if block.kind in ("console", "sh") for command in commands(block)]
        firsts = [block.first for block in found]
        everything = page_text(name) + "".join((settings.get("files") or {}).values())
        for part, texts in (
            ("fails", run),
            ("not_run", run),
            ("elsewhere", run),
            ("before", run),
            ("not_shown", firsts),
            ("named", firsts),
        ):
            for entry in settings.get(part) or {}:
                if not any(text == entry or (entry.endswith("...") and text.startswith(entry[:-3])) for text in texts):
                    wrong.append(f"{name}: {part}: {entry}")
        wrong += [f"{name}: replace: {old}" for old in settings.get("replace") or {} if old not in everything]
        wrong += [f"{name}: files: {file}" for file in settings.get("files") or {} if pathlib.PurePath(file).name not in page_text(name)]
        for part in ("fails", "not_run", "not_shown"):
            wrong += [f"{name}: {part}: {entry} has no reason" for entry, reason in (settings.get(part) or {}).items() if not reason]
    assert wrong == []


def test_every_page_with_something_to_show_is_listed() -> None:
    shown = [name for name in pages() if any(block.kind in ("console", "sh", "text", "diff") for block in blocks(page_text(name)))]
    assert set(shown) - set(SETTINGS["pages"]) == set()
