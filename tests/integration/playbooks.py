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


def play(
    folder: pathlib.Path, server: Server, plays: list[dict[str, Any]], *flags: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Write the plays down and run them."""
    path = folder / "play.yml"
    path.write_text(json.dumps(plays))
    return subprocess.run(
        ["ansible-playbook", str(path), *flags],
        env={**ansible_environment(folder, server), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def task(options: Mapping[str, Any], **keywords: Any) -> dict[str, Any]:
    return {"fleetcare.esxi.esxi_ntp_align": dict(options), **keywords}


def on_localhost(*tasks: dict[str, Any], **keywords: Any) -> dict[str, Any]:
    return {"hosts": "localhost", "gather_facts": False, "tasks": list(tasks), **keywords}
