# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys on a key server, asked over KMIP. Private to this collection."""

from __future__ import annotations

from .._client import kmip
from .._domain.kms import task

MISSING = kmip.MISSING
work = task(kmip.connect)
