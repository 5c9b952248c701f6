# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A vSphere that real clients take for a vCenter or a stand-alone ESXi host. See README.md."""

from __future__ import annotations

from .errors import ScenarioError
from .journal import JournalEntry
from .simulator import Simulator

__all__ = ["JournalEntry", "ScenarioError", "Simulator"]
