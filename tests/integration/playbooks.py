# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays run as people run them: ansible-playbook in a process of its own."""

from __future__ import annotations

import json
import pathlib
import subprocess
from collections.abc import Mapping
from typing import Any

from tests.bench.measure import Server, ansible_environment


def ansible_playbook(
    folder: pathlib.Path,
    *arguments: str,
    server: Server | None = None,
    environment: Mapping[str, str] | None = None,
    cwd: str | pathlib.Path = "",
    timeout: int = 170,
) -> subprocess.CompletedProcess[str]:
    """``folder``: the user's home, and where it runs unless ``cwd`` says another; ``timeout`` in seconds."""
    return subprocess.run(
        ["ansible-playbook", *arguments],
        env={**ansible_environment(folder, server), **(environment or {})},
        cwd=cwd or folder,
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def play(
    folder: pathlib.Path, server: Server, plays: list[dict[str, Any]], *flags: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Write the plays down and run them."""
    (folder / "play.yml").write_text(json.dumps(plays))
    return ansible_playbook(folder, "play.yml", *flags, server=server, environment=environment)


def task(options: Mapping[str, Any], **keywords: Any) -> dict[str, Any]:
    return {"fleetcare.esxi.esxi_ntp_align": dict(options), **keywords}


def on_localhost(*tasks: dict[str, Any], **keywords: Any) -> dict[str, Any]:
    return {"hosts": "localhost", "gather_facts": False, "tasks": list(tasks), **keywords}
