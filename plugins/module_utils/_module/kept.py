# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that a run leaves on the control node. Private to this collection."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from .._client.local_files import Folder
from .._domain.errors import FleetcareError

_MODE = 0o644


def checked_folder(folder: str | None) -> str | None:
    """Its whole path: a short one is below a folder that Ansible chooses, and people look elsewhere. Before any connection.
    Raises BadInput."""
    if not folder:
        return None
    Folder(folder, check=True)
    return os.path.abspath(folder)


def keep(folder: str | None, files: Mapping[str, bytes], result: dict[str, Any], *, check: bool) -> bool:
    """Write what is not there already, each file at once or not at all, and say so in the result. Nothing in a check run.
    Whether all went well: what a run did to its targets has to be told all the same."""
    result["files"] = told = []
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    troubles = []
    for name, content in files.items():
        path = os.path.join(folder or "", name)
        try:
            have = _kept(Folder(folder or ".", check), name, content, check)
        except FleetcareError as problem:
            troubles.append(problem.sentence)
            told.append({"path": path, "changed": False, "failure": problem.cause, **_facts(content)})
            continue
        changed = have != content
        told.append({"path": path, "changed": changed, **_facts(content)})
        if changed:
            before[path], after[path] = None if have is None else _facts(have), _facts(content)
    result["changed"] = result["changed"] or bool(after)
    if after:
        result["msg"] += f" {'Would be written' if check else 'Written'}: {', '.join(after)}."
    result["msg"] = " ".join([result["msg"], *troubles])
    if "diff" in result:
        result["diff"]["before"].update(before)
        result["diff"]["after"].update(after)
    return not troubles


def _kept(folder: Folder, name: str, content: bytes, check: bool) -> bytes | None:
    """What was there before."""
    found = folder.look(name)
    have = found[0] if found else None
    if have != content and not check:
        folder.write(name, content, _MODE)
    return have


def _facts(content: bytes) -> dict[str, Any]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
