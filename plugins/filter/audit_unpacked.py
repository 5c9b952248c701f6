# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible filter: the text of an audit report that was packed for the way."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: audit_unpacked
short_description: The text of an audit report that was packed for the way.
version_added: 0.1.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - Undoes P(fleetcare.esxi.audit_packed#filter). What is damaged or cut off is refused with one sentence.
  - The result is not taken for a template, whatever names stand in it.
options:
  _input:
    description: A packed report.
    type: str
    required: true
seealso:
  - plugin: fleetcare.esxi.audit_packed
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Put the report of a slice where the others are
  ansible.builtin.copy:
    content: "{{ esxi_audit_slice_2_of_4 | fleetcare.esxi.audit_unpacked }}"
    dest: reports/2.json
    mode: "0600"
"""

RETURN = r"""
_value:
  description: The text of the report, letter for letter.
  type: str
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.utils.unsafe_proxy import wrap_var

from ..module_utils._domain.errors import BadInput
from ..module_utils._domain.report_packed import unpacked


def audit_unpacked(line: Any) -> Any:
    try:
        return wrap_var(unpacked(line))
    except BadInput as problem:
        raise AnsibleFilterError(problem.sentence) from None


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"audit_unpacked": audit_unpacked}
