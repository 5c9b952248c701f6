# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Costs are measured on the same thousand hosts as the budgets."""

from __future__ import annotations

from tests.integration.conftest import own_cache
from tests.integration.test_budget import thousand

__all__ = ["own_cache", "thousand"]
