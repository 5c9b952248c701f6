# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes the files of an audit report on the control node, where the page's own assets are: a module takes none along.

What is in the files is decided in _domain/report*. Private to this collection.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils._client.local_files import Folder, given
from ..module_utils._domain import report_csv, report_gate, report_junit, report_text
from ..module_utils._domain.errors import BadInput, FleetcareError
from ..module_utils._domain.report import Report, compared, merged, read
from ..modules.esxi_audit_report import OPTIONS
from .report_page import page

# The JSON comes last: it is what the next run compares with, and must not be newer than what was made from it.
ENDINGS = {"html": ".html", "csv": ".csv", "junit": ".xml", "text": ".txt", "json": ".json"}
# A report of 5,000 hosts and 5,000 VMs has 15 MB; what is far larger is something else.
_LARGEST = 512 << 20
_MODES = {"0600": 0o600, "0640": 0o640}


class ReportFiles(ActionBase):  # type: ignore[misc] # ansible-core has no types
    """Whatever stops it is a sentence."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Any = None, task_vars: Any = None) -> Any:
        result = super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(argument_spec=OPTIONS)
        try:
            result.update(self._made(options, bool(self._task.check_mode)))
        except FleetcareError as problem:
            result.update(failed=True, msg=problem.sentence, failure=problem.as_failure())
        return result

    def _made(self, options: Mapping[str, Any], check: bool) -> dict[str, Any]:
        if not options["reports"]:
            raise BadInput("reports is empty", hint="Name the files that esxi_audit has written.")
        if not options["basename"] or os.path.basename(options["basename"]) != options["basename"] or options["basename"].startswith("."):
            raise BadInput(f"basename {options['basename']!r} is no name of a file", hint="Name the folder in dest.")
        dest = self._full(options["dest"])
        folder = Folder(dest, check)
        report = merged([self._read(path) for path in options["reports"]], different_profiles=options["different_profiles"])
        warnings = []
        if options["previous"]:
            previous = self._read(options["previous"])
            if {each["name"] for each in report["endpoints"]} & {each["name"] for each in previous["endpoints"]}:
                report = compared(report, previous)
            else:
                warnings.append(
                    f"Nothing is compared: the report before, {options['previous']}, is of other endpoints ({previous['site']})."
                )
        # In their order, whatever the order in formats.
        files = {each: options["basename"] + ending for each, ending in ENDINGS.items() if each in options["formats"]}
        paths = {each: os.path.join(dest, name) for each, name in files.items()}
        text = report_text.text(report, paths.values())
        levels = options["fail_levels"]
        makers = {
            "html": lambda: page(report).encode("utf-8", "replace"),
            # With a mark in front, without which Excel takes it for another encoding.
            "csv": lambda: report_csv.table(report).encode("utf-8-sig", "replace"),
            "junit": lambda: report_junit.xml(report, levels).encode("utf-8", "replace"),
            "text": lambda: text.encode("utf-8", "replace"),
            "json": lambda: (json.dumps(report, separators=(",", ":")) + "\n").encode("ascii"),
        }
        mode = _MODES[options["mode"]]
        # All are made before the first is written: an older set stays whole where one cannot be.
        contents = {each: makers[each]() for each in files}
        changed = False
        for each, content in contents.items():
            if folder.look(files[each]) != (content, mode):
                changed = True
                if not check:
                    folder.write(files[each], content, mode)
        return {**_told(report, levels, options["fail_on_findings"], text), "changed": changed, "files": paths, "warnings": warnings}

    def _full(self, path: str) -> str:
        """A relative one begins where the playbook is, as with any other task on this machine."""
        return os.path.abspath(os.path.join(self._loader.get_basedir(), os.path.expanduser(path)))

    def _read(self, path: str) -> Report:
        full = self._full(path)
        return read(given(full, _LARGEST), full)


def _told(report: Report, levels: list[str], fail: bool, text: str) -> dict[str, Any]:
    reasons = report_gate.gate(report, levels)
    result = {
        "msg": text,
        "verdict": report_text.verdict(report),
        "summary": report["summary"],
        "gate": {"passed": not reasons, "reasons": reasons, "holes": report_gate.unjudged(report)},
    }
    if reasons and fail:
        more = f"; and {len(reasons) - 10} more" if len(reasons) > 10 else ""
        found = "; ".join(reasons[:10]) + more
        result.update(
            failed=True, msg=f"The audit does not pass at {' and '.join(levels) or 'any level'}: {found}. The files are written.\n{text}"
        )
    return result
