# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of audits, docs/audit_report.schema.json: checked, merged, compared and counted. Private to this collection."""

from __future__ import annotations

from .report_drift import compared
from .report_form import checked, read
from .report_merge import in_order, merged
from .report_model import Report, missing_sentences, summary_of

__all__ = ["Report", "checked", "compared", "in_order", "merged", "missing_sentences", "read", "summary_of"]
