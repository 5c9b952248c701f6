#!/usr/bin/python
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: which software ESXi hosts admit."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: esxi_acceptance_level
short_description: Set the acceptance level of ESXi hosts, and say what blocks it
version_added: 0.1.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - Sets which software may be installed on one host or on thousands, with one login, in waves where that is asked for, and
    reads every level back.
  - Before anything is written, names the installed VIBs that are below the level asked for, and the highest level that they
    allow.
  - Never lowers the level of a host that starts with Secure Boot. Where that cannot be told, lowering it to community has to
    be asked for twice.
  - Takes a level in the words of the API, of esxcli, of a VIB's descriptor and of vSphere Client.
options:
  acceptance_level:
    description:
      - The level that the hosts shall have. A host admits VIBs of its own level and of those above it.
      - V(vmware_certified), C(VMwareCertified) for esxcli, admits VIBs that VMware made, tested and signed.
      - V(vmware_accepted), C(VMwareAccepted), admits as well those that a partner made, and VMware tested and signed.
      - V(partner), C(PartnerSupported), admits as well those that a partner of VMware made, tested and signed. It is what
        ESXi comes with.
      - V(community), C(CommunitySupported), admits any VIB, signed or not.
      - Case, spaces, dashes and underscores do not matter.
      - Left out, the level stays as it is.
    type: str
  at_least:
    description: Leave hosts alone whose level is above O(acceptance_level), instead of lowering them.
    type: bool
    default: false
  allow_unknown_secure_boot:
    description:
      - Lower to V(community) also where nothing tells whether the host starts with Secure Boot, as most hosts below 8.0.3 do not.
        With an unsigned VIB and Secure Boot a host does not start any more.
      - Where Secure Boot is known to be on, the level is not lowered whatever is said here.
    type: bool
    default: false
  backup:
    description:
      - Write the level of the hosts that are about to change into a file in O(backup_dir), which O(restore) takes.
        In check mode nothing is written.
    type: bool
    default: false
  backup_dir:
    description: Folder for such files, on the machine that runs the module. It is created where it is missing.
    type: path
    default: ~/fleetcare-backup
  restore:
    description: Bring the selected hosts back to what stands in this file of an earlier run with O(backup=true), by the same rules.
    type: path
extends_documentation_fragment:
  - fleetcare.esxi.endpoint
  - fleetcare.esxi.hosts
  - fleetcare.esxi.run
  - fleetcare.esxi.changes
  - fleetcare.esxi.attributes
  - fleetcare.esxi.attributes.writes
seealso:
  - module: fleetcare.esxi.esxi_acceptance_info
"""

EXAMPLES = r"""
- name: No unsigned software on any host of a cluster; those that are stricter stay so
  fleetcare.esxi.esxi_acceptance_level:
    hostname: vcenter.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    cluster_name: prod
    acceptance_level: PartnerSupported
    at_least: true

- name: One host first, and the way back in a file
  fleetcare.esxi.esxi_acceptance_level:
    esxi_hostname: ['*']
    acceptance_level: vmware_accepted
    waves: [1, 100%]
    backup: true

- name: A lab without Secure Boot, which releases below 8.0.3 do not tell
  fleetcare.esxi.esxi_acceptance_level:
    esxi_hostname: ['lab-*']
    acceptance_level: community
    allow_unknown_secure_boot: true
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
      description: What was or would be written, with the level before.
      type: list
      elements: dict
    not_done:
      description: What was planned and not written, after a failure or a stop.
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
    acceptance_level:
      description: The level that the host has, as it was read last, in the word of the API.
      type: str
    blocking:
      description: The installed VIBs that are below the level asked for, each with name, version, vendor and acceptance_level.
      returned: where there are any
      type: list
      elements: dict
  sample:
    esx-01.example.com:
      status: changed
      changes:
        - {change: raise_acceptance_level, level: partner, before: community}
      acceptance_level: partner
hints:
  description: The next step for each code of a finding.
  returned: when hosts could be selected
  type: dict
  sample: {acceptance_lowered: "Raise the level again once the software is installed that needed it, if that allows it."}
summary:
  description: Number of hosts by status.
  returned: when hosts could be selected
  type: dict
  sample: {compliant: 38, changed: 2}
waves:
  description: For each wave the number of hosts, of those that changed and that failed, and the names of the latter.
  returned: with O(waves), when there was something to change
  type: list
  elements: dict
backup_file:
  description: The file with the levels before.
  returned: with O(backup), when there was something to change
  type: str
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

from ansible_collections.fleetcare.esxi.plugins.module_utils._features.acceptance import FEATURE
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import run


def main() -> None:
    run(FEATURE)


if __name__ == "__main__":
    main()
