# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module: how a run over many targets behaves."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  parallel:
    description: How many hosts, or VMs, are worked on at the same time, from 1 to 64.
    type: int
    default: 16
  deadline:
    description:
      - Seconds after which nothing more is changed; the task then ends and lists what was changed and what was not.
      - The same happens when the process that started the task goes away, as with the C(timeout) keyword of a task.
    type: float
    default: 3600
  fail_on:
    description:
      - When the task fails. V(any) as soon as one host or VM is failed, unreachable or skipped; V(all) only when every
        one is; V(none) never for the sake of one. All are worked on in any case.
      - Left out, it is V(any), and V(none) in check mode, because Ansible shows no difference for a task that fails.
      - Where the task does not fail, what would have made it fail is a warning.
    type: str
    choices: [any, all, none]
requirements:
  - pyvmomi >= 8.0.3.0.1
notes:
  - One task works on all selected hosts or VMs with one login. Run it once, on the control node, with C(delegate_to) or
    C(hosts) set to V(localhost).
"""
