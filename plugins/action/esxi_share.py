# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a task with esxi_share is run: on the control node."""

from __future__ import annotations

from ansible_collections.fleetcare.esxi.plugins.plugin_utils.shared import SharedTask


class ActionModule(SharedTask):
    """Found by this name."""
