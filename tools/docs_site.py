# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the documentation site: ``python -m tools.docs_site FOLDER`` leaves it in FOLDER/html.

Guides are the Markdown files of docs/, the reference is made by antsibull-docs, and every finding's code has a page made of the tables that the modules find
with. Nothing is fetched. A warning of Sphinx, and a link that leads nowhere, end it with 1.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import os
import pathlib
import posixpath
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from tools import docs_links, generate

ROOT = pathlib.Path(__file__).resolve().parent.parent
SITE = ROOT / "docs" / "site"
# Where a feature is explained, by the word that its findings stand under.
GUIDES = {
    "acceptance": "acceptance",
    "audit": "audit",
    "crypto": "encryption",
    "firewall": "firewall",
    "hardware": "hardware",
    "kickstart": "installation",
    "kms": "key_servers",
    "license": "licences",
    "ntp": "time",
    "power": "power",
    "vib": "custom_ports",
}
# What antsibull-docs refers to in Ansible's own documentation.
ANSIBLE_LABELS = {
    "action_plugins": "plugins/action.html#action-plugins Action plugins",
    "ansible_configuration_settings": "reference_appendices/config.html#ansible-configuration-settings Ansible Configuration Settings",
    "common_return_values": "reference_appendices/common_return_values.html#common-return-values Return Values",
}
LEVELS = {
    "error": "not as it should be, and the run that says so does not mend it: the host fails",
    "warning": "it works and should be looked at, or the run mends it",
    "note": "good to know",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Told:
    """A case of the tests in which a code is found."""

    name: str
    evidence: str
    mended: bool
    link: str


# ---- pages of findings ----------------------------------------------------------------------------------------------


def tellers() -> dict[str, list[str]]:
    """Names of the modules that judge by a word's table, by word; read from what they import."""
    found: dict[str, list[str]] = collections.defaultdict(list)
    for path in sorted((ROOT / "plugins/modules").glob("[!_]*.py")):
        text = path.read_text(encoding="utf-8")
        for names in re.findall(r"^from \S+\.(?:_domain|_vim) import (\w+)(?: as \w+)?$|^from \S+\._features\.(\w+) import ", text, re.M):
            found["".join(names)].append(path.stem)
        if path.stem == "esxi_audit":
            found["audit"].append(path.stem)
    return found


def situations() -> dict[str, list[Told]]:
    """What the tests play, by the code that is found there."""
    found: dict[str, list[Told]] = collections.defaultdict(list)
    for word, page in (("license", "licence_causes"), ("crypto", ""), ("power", "power")):
        data = yaml.safe_load((ROOT / f"tests/situations/{word}.yml").read_text(encoding="utf-8"))
        groups = data["groups"] if "groups" in data else [{"situations": data["situations"]}]
        for each in (each for group in groups for each in group["situations"]):
            expect = each["expect"]
            anchor = {"licence_causes": generate.anchor(each["name"]), "power": "situations"}.get(page, "")
            link = f"../{page}.md#{anchor}" if page else ""
            text = f"{expect.get('level', '')}: {expect.get('code', '')}: {expect['text']}" if "code" in expect and "text" in expect else ""
            for code in (expect["code"],) if "code" in expect else expect.get("codes", ()):
                found[code].append(Told(name=each["name"], evidence=text, mended=bool(expect.get("mended")), link=link))
    return found


def options_named(hint: str, found: generate.Module) -> list[str]:
    """Options of a module that a next step speaks of, by ``name: value`` or by a name that is no plain word."""
    return [
        name
        for name in found.options
        if re.search(rf"\b{name}: \S", hint) or ("_" in name and re.search(rf"\b{name}\b", hint)) or re.search(rf"\bin {name}\b", hint)
    ]


def as_list(lines: Iterable[str]) -> str:
    return "".join(f"- {line}\n" for line in lines)


def module_link(name: str) -> str:
    return f"{{ansplugin}}`fleetcare.esxi.{name} <fleetcare.esxi.{name}#module>`"


def finding_page(
    word: str,
    code: str,
    meaning: Any,
    about: Mapping[str, generate.Module],
    told_by: list[str],
    cases: list[Told],
    mentioned: list[tuple[str, str]],
    siblings: Iterable[str],
) -> str:
    writers = [about[name] for name in told_by if about[name].writes or about[name].is_local]
    steps = [f"{{ansopt}}`fleetcare.esxi.{each.name}#module:{option}`" for each in writers for option in options_named(meaning.hint, each)]
    repairs = [
        f"{module_link(each.name)}, the role and the playbook of that name: `ansible-playbook fleetcare.esxi.{each.name} -e @variables.yml --check --diff` "
        "says what a run would do."
        for each in writers
        if each.writes
    ]
    mended = [case for case in cases if case.mended]
    description = generate.to_markdown(meaning.means).replace('"', "'").replace("`", "")
    text = f'---\norphan: true\nmyst:\n  html_meta:\n    description: "fleetcare.esxi finding {code}: {description}"\n---\n\n'
    text += f"# {code}: {meaning.means.rstrip('.')}\n\n"
    text += f"**{meaning.level}**: {LEVELS[meaning.level]}. "
    text += "A module may say it at a milder or sharper level, where the evidence of the case is weaker or stronger.\n\n"
    text += f"## Next step\n\n{meaning.hint}\n\n"
    if steps:
        text += f"Options named there: {', '.join(steps)}.\n\n"
    text += f"## Who tells it\n\n{as_list(f'{module_link(name)}: {generate.sentence(about[name].title)}' for name in told_by)}\n"
    text += "## What repairs it\n\n"
    if repairs:
        text += as_list(repairs) + "\n"
        if meaning.level == "error":
            text += "As it is an error, somebody has to take the next step first; the same run goes on with whatever else it can mend.\n\n"
    elif writers:
        text += "The options of the task: change what the next step names, and run it again. Nothing is written to a host.\n\n"
    else:
        text += "Nothing in this collection changes it: the next step is for whoever owns what it names. Running the module again shows whether it is gone.\n\n"
    if mended:
        text += f"The tests play it in {len(mended)} case{'s' * (len(mended) > 1)} that a run mends: {cases_named(mended)}.\n\n"
    evidence = list(dict.fromkeys(case.evidence for case in cases if case.evidence))
    if evidence:
        text += "## What you see\n\n```text\n" + "".join(f"{line}\n" for line in evidence[:6]) + "```\n\n"
    left = [case for case in cases if not case.mended]
    if left:
        text += f"Cases that the tests play: {cases_named(left)}.\n\n"
    text += f"## Where it is read\n\n{meaning.source}\n\n## See also\n\n"
    text += as_list(f"[{title}](../{page}.md)" for page, title in mentioned)
    text += (
        f"- Other findings of [{word}](../findings.md#{word}): {', '.join(f'[{each}]({each}.md)' for each in siblings if each != code)}\n"
    )
    return text


def cases_named(cases: list[Told]) -> str:
    names = dict.fromkeys(f"[{case.name}]({case.link})" if case.link else case.name for case in cases)
    return "; ".join(list(names)[:8]) + (f"; {len(names) - 8} more" if len(names) > 8 else "")


def finding_pages() -> dict[str, str]:
    """The index of findings and a page a code, by their paths on the site."""
    tables, words, played = generate.meanings(), tellers(), situations()
    about = {each.name: each for each in generate.modules()}
    guides = {
        path.stem: path.read_text(encoding="utf-8")
        for path in sorted((ROOT / "docs").glob("*.md"))
        if path.stem not in ("findings", "demo")
    }
    titles = {page: title_of(text) for page, text in guides.items()}
    pages = {}
    index = (
        "---\nmyst:\n  html_meta:\n    description: Every finding of fleetcare.esxi, what it means and the next step.\n---\n\n# Findings\n\n"
        "What a module finds on a host has a stable code, and each code a page: its meaning, the next step, who tells it, what repairs it.\n\n"
        + as_list(f"`{level}`: {text}" for level, text in LEVELS.items())
    )
    for word, table in tables.items():
        told_by = list(dict.fromkeys(name for name in words[word] if name in about))
        if not told_by:
            print(f"left out: no module tells what _domain/{word}.py finds", file=sys.stderr)
            continue
        if word not in GUIDES:
            raise SystemExit(f"tools/docs_site.py: GUIDES does not say which page explains {word!r}.")
        codes = sorted(table)
        rows = []
        for code in codes:
            pattern = re.compile(rf"\b{code}\b")
            named = [GUIDES[word], *(page for page, text in guides.items() if page != GUIDES[word] and pattern.search(text))]
            mentioned = [(page, titles[page]) for page in named]
            pages[f"findings/{code}.md"] = finding_page(word, code, table[code], about, told_by, played.get(code, []), mentioned, codes)
            rows.append((f"[{code}](findings/{code}.md)", table[code].level, generate.cell(table[code].means)))
        index += (
            f"\n## {word}\n\nTold by {', '.join(map(module_link, told_by))}; explained in [{titles[GUIDES[word]]}]({GUIDES[word]}.md).\n\n"
            + generate.table(("code", "level", "meaning"), rows)
        )
    return {**pages, "findings.md": index}


def title_of(text: str) -> str:
    found = re.search(r"^# (.+)$", text, re.M)
    if not found:
        raise SystemExit(f"This page has no title: {text[:200]}")
    return found[1]


# ---- the Markdown of the repository, as pages of the site -----------------------------------------------------------


def place_of(path: str) -> str:
    """Where a file of the repository stands among the site's sources."""
    parts = pathlib.PurePosixPath(path).parts
    if path == "README.md":
        return "index.md"
    if parts[0] == "docs" and len(parts) == 2:
        return parts[1]
    if parts[0] == "roles" and parts[2:] == ("README.md",):
        return f"reference/{parts[1]}_role.rst"
    if path.endswith(".md"):
        return "project/" + "_".join(part.lower() for part in parts)
    return f"files/{path}"


def relinked(path: str, text: str) -> tuple[str, set[str]]:
    """A page with its links as they are on the site, and which files of the repository they name."""
    named: set[str] = set()
    here = posixpath.dirname(place_of(path))

    def link(found: re.Match[str]) -> str:
        target, hash_, anchor = found[1].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return found[0]
        repository = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        place = place_of(repository)
        if repository == "docs/findings.md" and anchor in CODES:
            place, hash_, anchor = f"findings/{anchor}.md", "", ""
        else:
            named.add(repository)
        return f"]({posixpath.relpath(place, here or '.')}{hash_}{anchor})"

    # Code keeps what it has; a link within it is none.
    parts = re.split(r"(^```.*?^```$|`[^`\n]+`)", text, flags=re.M | re.S)
    return "".join(part if index % 2 else re.sub(r"\]\(([^()\s]+)\)", link, part) for index, part in enumerate(parts)), named


CODES = {code for table in generate.meanings().values() for code in table}


def collect() -> dict[str, bytes]:
    """Pages and files by their place on the site: docs/, what they link to, and what is made of tables."""
    pages = {place: text.encode() for place, text in finding_pages().items()}
    waiting = [f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))]
    seen = set(waiting)
    while waiting:
        path = waiting.pop(0)
        place = place_of(path)
        if place in pages or place.startswith("reference/") or place == "index.md":
            continue
        source = ROOT / path
        if not source.is_file():
            raise SystemExit(f"A page links to {path}, and there is no such file.")
        if path.endswith(".md"):
            text, named = relinked(path, source.read_text(encoding="utf-8"))
            waiting += sorted(named - seen)
            seen |= named
            pages[place] = (f"---\norphan: true\n---\n\n{text}" if place.startswith("project/") else text).encode()
        else:
            pages[place] = source.read_bytes()
    pages["index.md"] = (SITE / "index.md").read_bytes()
    return pages


# ---- building -------------------------------------------------------------------------------------------------------


def write_inventory(path: pathlib.Path, reference: pathlib.Path) -> None:
    """The labels of Ansible's documentation that the reference pages name, as Sphinx reads them."""
    text = "".join(page.read_text(encoding="utf-8") for page in sorted(reference.glob("*.rst")))
    labels = dict(ANSIBLE_LABELS)
    for namespace, collection, name in re.findall(r"<ansible_collections\.(\w+)\.(\w+)\.(\w+)>", text):
        if f"{namespace}.{collection}" != generate.COLLECTION:
            anchor = "-".join(("ansible-collections", namespace, collection, name)).replace("_", "-")
            label = f"{namespace}.{collection}.{name}"
            labels[f"ansible_collections.{label}"] = f"collections/{namespace}/{collection}/{name}.html#{anchor} {label}"
    head = b"# Sphinx inventory version 2\n# Project: Ansible\n# Version: devel\n# The remainder of this file is compressed using zlib.\n"
    lines = "".join(f"{name} std:label -1 {rest}\n" for name, rest in labels.items())
    path.write_bytes(head + zlib.compress(lines.encode()))


def run(*command: str) -> None:
    environment = {**os.environ, "PATH": os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])}
    done = subprocess.run(command, env=environment, cwd=ROOT, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with {done.returncode}.")


def build(folder: pathlib.Path) -> pathlib.Path:
    source, html = folder / "source", folder / "html"
    for old in (source, html):
        shutil.rmtree(old, ignore_errors=True)
    (source / "reference").mkdir(parents=True)
    (source / "reference").chmod(0o755)
    run("antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--fail-on-error", "--no-add-antsibull-docs-version",
        "--dest-dir", str(source / "reference"), generate.COLLECTION)  # fmt: skip
    for page in sorted((source / "reference").glob("*.rst")):
        # Furo lists a page's headings beside it, and takes a second list for a mistake.
        text = page.read_text(encoding="utf-8")
        page.write_text(re.sub(r"^\.\. contents::\n(?:   :\w+:.*\n)*", "", text, flags=re.M), encoding="utf-8")
    shutil.copy(SITE / "conf.py", source)
    shutil.copytree(SITE / "_static", source / "_static")
    write_inventory(source / "ansible.inv", source / "reference")
    pages = collect()
    for place, content in pages.items():
        (source / place).parent.mkdir(parents=True, exist_ok=True)
        (source / place).write_bytes(content)
    run("sphinx-build", "-q", "-W", "--keep-going", "-n", "-j", "2", "-b", "html", "-d", str(folder / "doctrees"), str(source), str(html))
    return html


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="where to build; the site is in its subfolder html")
    html = build(parser.parse_args().folder.resolve())
    broken = docs_links.broken_in_html(html)
    print("".join(f"{each}\n" for each in broken), end="")
    print(f"{len(list(html.rglob('*.html')))} pages, {len(broken)} broken links: {html}/index.html")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
