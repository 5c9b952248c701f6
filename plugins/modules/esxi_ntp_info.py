#!/usr/bin/python
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: what time it is on ESXi hosts, and why."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: esxi_ntp_info
short_description: Time servers, time service and clock of ESXi hosts, with findings
version_added: 0.1.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - Reads servers, protocol, service and firewall state of one host or of thousands in one bulk read, measures their
    clocks, and says what is wrong. Changes nothing.
  - It is the reading half of M(fleetcare.esxi.esxi_ntp_align) and finds the same things.
options:
  max_skew:
    description: Seconds that a clock may differ from O(reference). Clocks are read only where this is given.
    type: float
  reference:
    description: The clock that others are compared with; V(fleet) is the median of the selected hosts.
    type: str
    choices: [control_node, vcenter, fleet]
    default: control_node
  clock_samples:
    description: How often a clock is read at the most; the reading with the shortest round trip counts.
    type: int
    default: 3
  test_servers:
    description:
      - Let each host test its time service, from 7.0.3 on. Changes nothing and needs the privilege
        C(Host.Config.DateTime).
    type: bool
    default: false
extends_documentation_fragment:
  - fleetcare.esxi.endpoint
  - fleetcare.esxi.hosts
  - fleetcare.esxi.run
  - fleetcare.esxi.attributes
  - fleetcare.esxi.attributes.reads
seealso:
  - module: fleetcare.esxi.esxi_ntp_align
"""

EXAMPLES = r"""
- name: Which hosts are off by more than a second, and why
  fleetcare.esxi.esxi_ntp_info:
    hostname: vcenter.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    esxi_hostname: ['*']
    max_skew: 1
    test_servers: true
  register: time_of_hosts
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
    ntp_servers:
      description: The servers that the host has, in their order, with their options.
      type: list
      elements: str
    protocol:
      description: V(ntp) or V(ptp), from 7.0.3 on.
      type: str
    enabled:
      description: Whether the host's time service is switched on, from 7.0.3 on.
      type: bool
    ptp:
      description: PTP domain and ports, from 7.0.3 on.
      type: dict
    ntp_fallback:
      description: Whether NTP takes over when PTP fails, from 7.0.3 on.
      type: bool
    in_fallback:
      description: Whether it has.
      type: bool
    service_running:
      description: Whether C(ntpd) runs; not told of a host that uses PTP.
      type: bool
    service_policy:
      description: V(on), V(off) or V(automatic).
      type: str
    ntp_client_open:
      description: Whether the firewall ruleset C(ntpClient) is open; not told of a host that uses PTP.
      type: bool
    synced:
      description: Whether the host says that it is synchronised, from 7.0.3 on.
      type: bool
    last_sync:
      description: When it last was, in UTC.
      type: str
    remote_server:
      description: The server that it follows.
      type: str
    skew:
      description: Offset from the reference and its error bound in seconds, and whether that is within O(max_skew).
      returned: where it was measured
      type: dict
    test:
      description: Outcome and report of the host's own test.
      returned: where it was run
      type: dict
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

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import ntp as domain
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.feature import Feature
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import run
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim import ntp as translation

FEATURE = Feature(
    domain=domain,
    translation=translation,
    writes=False,
    options={
        "max_skew": {"type": "float"},
        "reference": {"type": "str", "default": "control_node", "choices": ["control_node", "vcenter", "fleet"]},
        "clock_samples": {"type": "int", "default": 3},
        "test_servers": {"type": "bool", "default": False},
    },
)


def main() -> None:
    run(FEATURE)


if __name__ == "__main__":
    main()
