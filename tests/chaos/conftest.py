# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chaos runs in the same surroundings as the integration tests."""

from __future__ import annotations

from tests.integration.conftest import own_cache, simulator

__all__ = ["own_cache", "simulator"]
