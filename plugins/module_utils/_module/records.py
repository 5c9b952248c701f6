# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state before a run as a file, and such a file as input. Private to this collection."""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from .._client import local_files
from .._domain.errors import BadInput, FleetcareError


def new_file(folder: str, form: str, endpoint: str) -> str:
    now = datetime.datetime.now(datetime.timezone.utc)
    word = form.split()[1]
    return os.path.join(os.path.expanduser(folder), f"{re.sub(r'[^A-Za-z0-9.-]', '_', endpoint)}-{word}-{now:%Y%m%dT%H%M%S%fZ}.json")


def write(path: str, form: str, endpoint: str, states: list[dict[str, Any]], key: str = "hosts") -> str:
    """Write, or write anew, a file of mode 0600; ``key``: what the states are those of. Raises FleetcareError."""
    taken = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    data = {"format": form, "endpoint": endpoint, "taken": taken, key: states}
    try:
        local_files.put(path, json.dumps(data, indent=1).encode(), 0o600)
    except FleetcareError as problem:
        raise FleetcareError(
            f"the record of the state before: {problem.cause}, so nothing more was changed",
            hint="Name a folder that can be written in backup_dir, or leave backup out.",
        ) from None
    return path


def read(path: str) -> Mapping[str, Any]:
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            data = json.load(file)
    except OSError as problem:
        raise BadInput(f"restore: {path} cannot be read: {problem.strerror}", hint="Name a file that backup: true has written.") from None
    except ValueError:
        raise BadInput(f"restore: {path} is no JSON", hint="Name a file that backup: true has written.") from None
    if not isinstance(data, dict):
        raise BadInput(f"restore: {path} is no record", hint="Name a file that backup: true has written.")
    return data
