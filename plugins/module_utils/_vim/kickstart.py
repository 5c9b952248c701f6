# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installation files, written to a folder of this machine; no server is asked. Private to this collection."""

from __future__ import annotations

from .._client import local_files
from .._domain.kickstart import task

MISSING = None
work = task(local_files.Folder, local_files.given)
