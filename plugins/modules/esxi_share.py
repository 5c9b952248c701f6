#!/usr/bin/python
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of an action plugin: one run of a module for all hosts of a play that share an endpoint."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: esxi_share
short_description: One run of a module for all hosts of a play that share an endpoint, a result for each
version_added: 0.1.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - The two tasks that the roles of this collection are made of. It is of use in a role, and only there, as what a module is asked for
    is read from the variables of its role.
  - In the first one, with O(step=enlist), each host of a play says what it asks for. In the second one, with O(step=run), the first
    host to come runs the module once for all that ask for the same of the same endpoint, and every host takes its own result.
  - A host is on the list only if it has come so far. One that a condition, a tag, C(--limit), C(serial), an earlier failure
    or C(end_host) has kept away is not touched.
  - Several endpoints are worked on at the same time, as many as Ansible has forks.
options:
  step:
    description:
      - Which of the two tasks it is, one directly after the other in the same role.
    type: str
    choices: [enlist, run]
    required: true
  modules:
    description: Modules of this collection that have a role, by name, in the order in which they are run.
    type: list
    elements: str
    required: true
  composed:
    description:
      - Whether the result has an entry for each of O(modules), and leaves out those of which no variable is set.
      - With V(false) it is the result of the one module.
    type: bool
    default: false
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target.
    support: full
    details: As that of the modules that are run.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check mode), when in diff mode.
    support: full
    details: As that of the modules that are run; each host shows its own part.
  idempotent:
    description: When run twice in a row without outside changes, the second run changes nothing.
    support: full
    details: As that of the modules that are run.
"""

EXAMPLES = r"""
- name: Each host says what it asks for
  fleetcare.esxi.esxi_share:
    step: enlist
    modules: [esxi_ntp_align]
  vars:
    ansible_connection: local
  register: __esxi_ntp_align_part

- name: One run an endpoint, and for each host what is its own
  fleetcare.esxi.esxi_share:
    step: run
    modules: [esxi_ntp_align]
  delegate_to: localhost
  register: esxi_ntp_align_result
"""

RETURN = r"""
msg:
  description: What came of this host.
  returned: with O(step=run)
  type: str
hosts:
  description: The entry of this host in the result of the module, whose other parts stand beside it.
  returned: with O(step=run), where a module about hosts came to them
  type: dict
summary:
  description: The number of hosts by status; here it is one host.
  returned: with O(step=run), where a module about hosts came to them
  type: dict
alone:
  description: Whether the play has no other host, so that there is nobody to share with.
  returned: with O(step=enlist)
  type: bool
connection:
  description: How the control node is reached.
  returned: with O(step=enlist)
  type: str
interpreter:
  description: The Python that runs modules on the control node.
  returned: with O(step=enlist)
  type: str
"""

from ansible_collections.fleetcare.esxi.plugins.module_utils._module import control_node
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import run_task

OPTIONS = {
    "step": {"type": "str", "choices": ["enlist", "run"], "required": True},
    "modules": {"type": "list", "elements": "str", "required": True},
    "composed": {"type": "bool", "default": False},
}


def main() -> None:
    run_task(OPTIONS, control_node.work, missing=control_node.MISSING)


if __name__ == "__main__":
    main()
