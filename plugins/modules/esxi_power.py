#!/usr/bin/python
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: power and maintenance mode of ESXi hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: esxi_power
short_description: Shut down or reboot ESXi hosts, or bring them into maintenance mode and back
version_added: 0.1.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - Takes hosts down through vCenter or through the host itself, always through maintenance mode first, and waits until
    they are down, or back, connected and answering.
  - Refuses while virtual machines run that nothing moves away, names them, and says what stands in the way.
  - Never takes down the host that vCenter itself or the control node runs on, nor the last host of a cluster with running
    machines, nor all hosts of a cluster at once, unless told so.
  - Hosts of a cluster in which machines run are rebooted one by one, or with O(waves) as many at a time as a wave has.
  - A host that a reboot brought into maintenance mode leaves it again; one that was there before stays.
options:
  state:
    description:
      - V(shutdown) and V(rebooted) go through maintenance mode. V(rebooted) always reboots, unless O(only_if_required) or
        O(unless_booted_since) spares the host.
      - V(maintenance) and V(normal) change the mode only.
      - Nothing here can start a host that is off.
    type: str
    choices: [shutdown, rebooted, maintenance, normal]
    required: true
  force:
    description:
      - Shut down or reboot a host on which machines run that nothing moves away, without maintenance mode. All machines
        that run there lose power.
      - A host whose machines DRS can move, all of them, is emptied all the same.
    type: bool
    default: false
  only_if_required:
    description: Reboot only hosts that say that they need it (C(summary.rebootRequired)).
    type: bool
    default: false
  unless_booted_since:
    description: >-
      Reboot only hosts that have been up since before this time, for example V(2026-11-22T06:00:00Z). A run that was
      interrupted goes on with it where it stopped.
    type: str
  maintenance_timeout:
    description: Seconds for a host to get into maintenance mode, or out of it. The server stops trying after that.
    type: int
    default: 1800
  power_timeout:
    description: Seconds for a host to be down, or back from its reboot.
    type: int
    default: 1200
  evacuate_powered_off:
    description: Move machines that are powered off, too, in a cluster with DRS.
    type: bool
    default: false
  vsan_mode:
    description: What vSAN does with the host's data before the host gets into maintenance mode. Left out, the server decides.
    type: str
    choices: [ensure_accessibility, evacuate_all, no_action]
  allow_own_endpoint:
    description: Take hosts down although vCenter itself, or the machine that runs this task, runs there. It is the last to go.
    type: bool
    default: false
extends_documentation_fragment:
  - fleetcare.esxi.endpoint
  - fleetcare.esxi.hosts
  - fleetcare.esxi.run
  - fleetcare.esxi.changes
  - fleetcare.esxi.attributes
  - fleetcare.esxi.attributes.writes
seealso:
  - module: fleetcare.esxi.vm_crypto_unlock
  - module: fleetcare.esxi.vm_crypto_info
"""

EXAMPLES = r"""
- name: Reboot a cluster host by host, stop at the first that does not come back well
  fleetcare.esxi.esxi_power:
    hostname: vcenter.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    cluster_name: prod
    state: rebooted
    only_if_required: true
    waves: [1, 1, 25%, 100%]
    deadline: 28800

- name: A host for the hardware people
  fleetcare.esxi.esxi_power:
    esxi_hostname: [esx-01.example.com]
    state: maintenance
    maintenance_timeout: 600

- name: A stand-alone host off, with whatever still runs there
  fleetcare.esxi.esxi_power:
    hostname: esx-09.example.com
    username: root
    password: "{{ root_password }}"
    state: shutdown
    force: true
"""

RETURN = r"""
hosts:
  description: One entry a selected host, by name; by path where two hosts share a name.
  returned: when hosts could be selected
  type: dict
  contains:
    status:
      description: V(compliant), V(changed), V(would_change), V(failed), V(unreachable) or V(skipped).
      type: str
    changed:
      description: Whether the host was or would be changed.
      type: bool
    changes:
      description: What was or would be done, in order.
      type: list
      elements: dict
    not_done:
      description: What was planned and not done, after a failure or a stop.
      returned: where there is any
      type: list
      elements: dict
    findings:
      description: What was found, each with level, code, text and status (V(open), V(repaired), V(would_repair)).
      type: list
      elements: dict
    failure:
      description: Why the host failed, with kind, fault, doing, cause, hint and message; V(null) where it did not.
      type: dict
    moid:
      description: Managed object id of the host.
      type: str
    power:
      description: V(on), V(off), or V(not heard) where vCenter cannot tell.
      type: str
    maintenance:
      description: Whether the host is in maintenance mode.
      type: bool
    boot_time:
      description: When the host was booted last.
      type: str
    reboot_required:
      description: Whether the host says that it needs a reboot.
      type: bool
    running_vms:
      description: Machines that run there.
      returned: where there are any
      type: list
      elements: str
    locked_vms:
      description: Encrypted machines that are locked there.
      returned: where there are any
      type: list
      elements: str
  sample:
    esx-01.example.com:
      status: changed
      changes:
        - {change: enter_maintenance, timeout: 1800}
        - {change: reboot, force: false, timeout: 1200}
        - {change: leave_maintenance, timeout: 1800}
      power: 'on'
      maintenance: false
hints:
  description: The next step for each code of a finding.
  returned: when hosts could be selected
  type: dict
  sample: {power_vms_running: "Move them or shut them down."}
summary:
  description: Number of hosts by status.
  returned: when hosts could be selected
  type: dict
  sample: {compliant: 1, changed: 3}
endpoint:
  description: Name, kind and version of the endpoint.
  returned: when hosts could be selected
  type: dict
msg:
  description: The outcome in a sentence; for hosts that failed, each cause once with the next step.
  returned: always
  type: str
failure:
  description: Why the whole task failed, as for a host.
  returned: when no host could be worked on
  type: dict
"""

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import power as domain
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.feature import HOSTS_THEMSELVES, Feature
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import run
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim import power as translation

FEATURE = Feature(
    domain=domain,
    translation=translation,
    targets=HOSTS_THEMSELVES,
    options={
        "state": {"type": "str", "required": True, "choices": list(domain.STATES)},
        "force": {"type": "bool", "default": False},
        "only_if_required": {"type": "bool", "default": False},
        "unless_booted_since": {"type": "str"},
        "maintenance_timeout": {"type": "int", "default": 1800},
        "power_timeout": {"type": "int", "default": 1200},
        "evacuate_powered_off": {"type": "bool", "default": False},
        "vsan_mode": {"type": "str", "choices": list(domain.VSAN_MODES)},
        "allow_own_endpoint": {"type": "bool", "default": False},
    },
)


def main() -> None:
    run(FEATURE)


if __name__ == "__main__":
    main()
