# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a task with esxi_audit_report is run: on the control node."""

from __future__ import annotations

from ansible_collections.fleetcare.esxi.plugins.plugin_utils.report_files import ReportFiles


class ActionModule(ReportFiles):
    """Found by this name."""
