# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible filter: an audit report as one short line, to be carried as an artifact of a job."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: audit_packed
short_description: An audit report as one short line, to be carried as an artifact of a job.
version_added: 0.1.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - Compresses the text of a report of M(fleetcare.esxi.esxi_audit) and writes it in the letters of Base64, behind a mark. What
    comes of it is ten to thirty times smaller.
  - This is how a slice of an audit comes back from another machine, by M(ansible.builtin.set_stats). An automation platform
    hands such artifacts on as extra variables, and Ansible takes the values of those for templates; in a packed report no name
    of a machine can be one.
options:
  _input:
    description: The text of a report, as in its file.
    type: str
    required: true
seealso:
  - plugin: fleetcare.esxi.audit_unpacked
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Let the report of this slice outlive the job
  ansible.builtin.set_stats:
    data:
      esxi_audit_slice_2_of_4: "{{ lookup('ansible.builtin.file', '/tmp/slice.json') | fleetcare.esxi.audit_packed }}"
"""

RETURN = r"""
_value:
  description: The packed report.
  type: str
"""

from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils._domain.report_packed import packed


def audit_packed(text: Any) -> str:
    if not isinstance(text, str):
        raise AnsibleFilterError(f"audit_packed takes the text of a report, and this is a {type(text).__name__}.")
    return packed(text)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"audit_packed": audit_packed}
