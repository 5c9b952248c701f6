#!/usr/bin/python
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: which software ESXi hosts admit, and which they have."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: esxi_acceptance_info
short_description: Acceptance level, Secure Boot and installed VIBs of ESXi hosts, with findings
version_added: 0.1.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - Reads which software one host or thousands admit, whether they start with Secure Boot as far as they tell, and on
    request which VIBs are installed, and says what is wrong. Changes nothing.
  - It is the reading half of M(fleetcare.esxi.esxi_acceptance_level) and finds the same things.
options:
  packages:
    description:
      - Read the installed VIBs of each host, from 6.5 on. It needs the privilege C(Host.Config.Image), and takes hundreds of
        kilobytes a host.
    type: bool
    default: false
extends_documentation_fragment:
  - fleetcare.esxi.endpoint
  - fleetcare.esxi.hosts
  - fleetcare.esxi.run
  - fleetcare.esxi.attributes
  - fleetcare.esxi.attributes.reads
seealso:
  - module: fleetcare.esxi.esxi_acceptance_level
"""

EXAMPLES = r"""
- name: Which hosts take unsigned software, and which have some
  fleetcare.esxi.esxi_acceptance_info:
    hostname: vcenter.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    esxi_hostname: ['*']
    packages: true
  register: software_of_hosts
"""

RETURN = r"""
hosts:
  description: One entry a selected host, by name; by path where two hosts share a name.
  returned: when hosts could be selected
  type: dict
  contains:
    status:
      description: V(compliant), V(not_compliant) where a finding has level error, V(failed), V(unreachable) or V(skipped).
      type: str
    findings:
      description: What was found, each with level, code, text and status (V(open)).
      type: list
      elements: dict
    failure:
      description: Why the host could not be read; V(null) where it could.
      type: dict
    moid:
      description: Managed object id of the host.
      type: str
    version:
      description: Release of ESXi.
      type: str
    acceptance_level:
      description: V(vmware_certified), V(vmware_accepted), V(partner) or V(community).
      type: str
    esxcli_level:
      description: The same as C(esxcli software acceptance get) says it.
      type: str
    admits:
      description: The levels of VIBs that may be installed on the host, the strictest first.
      type: list
      elements: str
    secure_boot:
      description: Whether the host starts with Secure Boot.
      returned: where the host tells
      type: bool
    secure_boot_told_by:
      description: The property that tells it.
      returned: where the host tells
      type: str
    highest_level:
      description: The strictest level that the installed VIBs allow.
      returned: with O(packages), where they could be read
      type: str
    packages:
      description: The installed VIBs by name, each with name, version, vendor and acceptance_level.
      returned: with O(packages), where they could be read
      type: list
      elements: dict
hints:
  description: The next step for each code of a finding.
  returned: when hosts could be selected
  type: dict
summary:
  description: Number of hosts by status.
  returned: when hosts could be selected
  type: dict
endpoint:
  description: Name, kind and version of the endpoint.
  returned: when hosts could be selected
  type: dict
msg:
  description: The outcome in a sentence.
  returned: always
  type: str
failure:
  description: Why the whole task failed, as for a host.
  returned: when no host could be read
  type: dict
"""

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import acceptance as domain
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.feature import Feature
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import run
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim import acceptance as translation

FEATURE = Feature(
    domain=domain,
    translation=translation,
    writes=False,
    options={"packages": {"type": "bool", "default": False}},
)


def main() -> None:
    run(FEATURE)


if __name__ == "__main__":
    main()
