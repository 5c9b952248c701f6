# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the commands of a page as somebody would who reads it from top to bottom, in a folder of its own, on a simulator of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import yaml

from tests.bench.measure import Server, ansible_environment, served

from .pages import ROOT, SETTINGS, Block, Command, blocks, commands, missing, page_text

MARK = "@@page@@"
SECONDS = 200


@dataclasses.dataclass
class Done:
    """``commands``: how many were run. ``wrong``: a sentence for each thing that was not as the page says."""

    commands: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)
    used: set[str] = dataclasses.field(default_factory=set)
    output: str = ""


class Page:
    def __init__(self, name: str, folder: pathlib.Path) -> None:
        self.name, self.folder = name, folder
        self.settings: dict[str, Any] = SETTINGS["pages"].get(name) or {}
        self.varies: list[str] = self.settings.get("varies", [])
        self.blocks: list[Block] = list(blocks(page_text(name)))
        self.servers: dict[str, dict[str, Any]] = {}
        self.stands_for: dict[str, str] = {}

    def listed(self, part: str, text: str) -> str:
        """The entry of a list of this page's settings that is this text, or, with ``...`` at its end, begins it."""
        for entry in self.settings.get(part) or {}:
            if text == entry or (entry.endswith("...") and text.startswith(entry[:-3])):
                return str(entry)
        return ""

    def script(self) -> tuple[str, list[Command | None]]:
        """A script that runs the page, and its commands, None for one that is not run."""
        lines = ["set +e"]
        listed: list[Command | None] = []
        for number, block in enumerate(self.blocks):
            if self.file_of(block):
                # A page may show a file in two forms, one after the other.
                lines.append(f"cp block-{number} {self.file_of(block)}")
            if block.kind not in ("console", "sh"):
                continue
            for command in commands(block):
                if self.listed("not_run", command.text):
                    listed.append(None)
                    continue
                lines += self.happens_before(command.text)
                # What asks for a password gets one; nothing else is to wait for somebody.
                answer = '<<< "$PAGE_ANSWER"' if "read -rs" in command.text else "</dev/null"
                lines += [f"echo; echo {MARK}", f"{{ {self.replaced(command.text)}\n}} {answer}", f"code=$?; echo; echo {MARK} $code"]
                listed.append(command)
        return "\n".join(lines) + "\n", listed

    def happens_before(self, command: str) -> Iterator[str]:
        """Lines of the script: another server, or something that somebody else does to this one."""
        name = self.listed("elsewhere", command)
        if name:
            server = self.servers[name]
            yield f"export VMWARE_PORT={server['port']} VMWARE_CA_FILE={server['ca_file']} VMWARE_PASSWORD={server['password']}"
        for act in (self.settings.get("before") or {}).get(self.listed("before", command), []):
            path, body = ("reset", {}) if "reset" in act else ("act", act)
            control = self.servers[""]["control"]
            yield f"curl --silent --fail --show-error --data {shlex.quote(json.dumps(body))} {control}/{path} >/dev/null || exit"

    def file_of(self, block: Block) -> str:
        return block.file or (self.settings.get("named") or {}).get(block.first, "")

    def replaced(self, text: str) -> str:
        for old, new in (self.settings.get("replace") or {}).items():
            text = text.replace(old, self.stands_for.get(new, new))
        return text

    def known(self, server: Server | None) -> None:
        """Fill in what is known only now."""
        facts = {"$PAGE": str(self.folder), "$ROOT": str(ROOT)}
        if server:
            facts["$PORT"] = str(server.port)
            for key_server in list(server.control("/key_servers").values())[:1]:
                facts |= {f"$KMS.{name}": str(value) for name, value in key_server.items()}
        for new in (self.settings.get("replace") or {}).values():
            filled = new
            for name in sorted(facts, key=len, reverse=True):
                filled = filled.replace(name, facts[name])
            self.stands_for[new] = filled

    def write_files(self) -> None:
        for name, content in (self.settings.get("files") or {}).items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(self.replaced(content), encoding="utf-8")
        for number, block in enumerate(self.blocks):
            if self.file_of(block):
                (self.folder / f"block-{number}").write_text(self.replaced(block.text), encoding="utf-8")
                (self.folder / self.file_of(block)).parent.mkdir(parents=True, exist_ok=True)

    def scenario(self, scenario: Any, name: str) -> str:
        """A scenario's name, or the file that its text is written to."""
        if isinstance(scenario, str):
            if name or "also" not in self.settings:
                return scenario
            scenario = yaml.safe_load((ROOT / f"tests/simulator/scenarios/{scenario}.yml").read_text(encoding="utf-8"))
        for key, value in {} if name else self.settings.get("also", {}).items():
            scenario[key] = {**scenario[key], **value} if isinstance(value, dict) and key in scenario else value
        path = self.folder / f"scenario-{len(name)}.yml"
        path.write_text(json.dumps(scenario), encoding="utf-8")
        return str(path)

    def run(self) -> Done:
        scenarios = {"": self.settings["scenario"]} if "scenario" in self.settings else {}
        scenarios |= self.settings.get("elsewhere") or {}
        with contextlib.ExitStack() as stack:
            running = {name: stack.enter_context(served(self.scenario(each, name))) for name, each in scenarios.items()}
            self.servers = {name: each.ready for name, each in running.items()}
            server = running.get("")
            self.known(server)
            self.write_files()
            environment = ansible_environment(self.folder, server)
            environment |= {"PAGE_ANSWER": server.password if server else "", "FLEETCARE": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
            script, listed = self.script()
            (self.folder / "page.sh").write_text(script, encoding="utf-8")
            self.run_script(environment)
        return self.judged((self.folder / "printed").read_text(encoding="utf-8", errors="replace"), listed)

    def run_script(self, environment: dict[str, str]) -> None:
        """To its end; what a page starts in the background ends with it."""
        with (self.folder / "printed").open("wb") as printed:
            process = subprocess.Popen(
                ["bash", "page.sh"],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                printed.write(f"\nnot at its end after {SECONDS} seconds\n".encode())
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def judged(self, output: str, listed: list[Command | None]) -> Done:
        done = Done(output=output)
        parts = iter(re.findall(rf"\n{MARK}\n(.*?)\n{MARK} (\d+)\n", output, re.S))
        waiting, printed = iter(listed), ""
        for block in self.blocks:
            if block.kind in ("console", "sh"):
                for _each in commands(block):
                    command = next(waiting)
                    if command is None:
                        continue
                    said, code = next(parts, ("", "none: the script ended before"))
                    done.commands += 1
                    printed += said + "\n"
                    self.judge(command, said, code, done)
            elif block.kind in ("text", "diff") and not self.file_of(block) and not self.listed("not_shown", block.first):
                lacking = missing(self.replaced(block.text), printed, self.varies)
                if lacking:
                    done.wrong.append(f"line {block.line}: the commands above do not print {lacking!r}")
        return done

    def judge(self, command: Command, said: str, code: str, done: Done) -> None:
        fails = self.listed("fails", command.text)
        if (code != "0") != bool(fails):
            done.wrong.append(f"line {command.line}: {command.text!r} ended with {code}:\n{said[-3000:]}")
        if command.shown:
            lacking = missing(self.replaced("\n".join(command.shown)), said, self.varies)
            if lacking:
                done.wrong.append(f"line {command.line}: {command.text!r} does not print {lacking!r}, but:\n{said[-3000:]}")


def main() -> None:
    """``python -m tests.docs.run_page NAME FOLDER`` runs a page and leaves what it printed in FOLDER."""
    name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    os.makedirs(folder, exist_ok=True)
    page = Page(name, folder)
    done = page.run()
    print(f"@@@ {done.commands} commands", *done.wrong, sep="\n")


if __name__ == "__main__":
    main()
