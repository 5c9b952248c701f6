#!/usr/bin/python
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: time of ESXi hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: esxi_ntp_align
short_description: Set the time of ESXi hosts right, and say why it is wrong
version_added: 0.1.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - Brings time servers, protocol, time service and clock of one host or of thousands to the state asked for, with one
    login and one bulk read, and reads everything back.
  - Measures how far each clock is off, with the error of the measurement, and compares it with the control node, with
    vCenter and with the other hosts, so that a wrong reference is noticed rather than believed.
  - Right on every generation from 6.7 on; below 7.0.3 by the service and the C(ntpClient) ruleset, from 7.0.3 on by the
    host's time configuration, from 8.0 Update 2 on without touching the ruleset, which then belongs to the daemon.
  - An option that is left out leaves its setting as it is.
options:
  ntp_servers:
    description:
      - Time servers in their order, one an entry, by IP address or host name; C(ntp.conf) options may follow a name
        after a space.
      - Servers are compared by name, so options that a host keeps for a server survive.
      - An empty list is refused.
    type: list
    elements: str
  ntp_servers_state:
    description:
      - V(exact) makes the list just this, V(present) adds what is missing, V(absent) takes these away.
      - The last server is never taken away.
    type: str
    choices: [exact, present, absent]
    default: exact
  protocol:
    description: Time protocol, from 7.0.3 on.
    type: str
    choices: [ntp, ptp]
  ptp:
    description: PTP settings; needs O(protocol=ptp).
    type: dict
    suboptions:
      domain:
        description: PTP domain, from 0 to 255.
        type: int
      ports:
        description: PTP ports. A port that is not named stays as it is.
        type: list
        elements: dict
        suboptions:
          index:
            description: Number of the port, from 0 on, below the number of ports that the host supports.
            type: int
            required: true
          device_type:
            description: Kind of the device, V(none) for a port that is not used.
            type: str
            choices: [none, virtualNic, pciPassthruNic]
            required: true
          device:
            description: Name of the device, for example V(vmk1) or a PCI id.
            type: str
          dhcp:
            description: Whether a passthrough NIC gets its address by DHCP.
            type: bool
          ip_address:
            description: Address of a passthrough NIC.
            type: str
          subnet_mask:
            description: Network mask of a passthrough NIC.
            type: str
  ntp_fallback:
    description: Whether NTP takes over when PTP fails, from 7.0.3 on.
    type: bool
  service_state:
    description: Whether the time service runs.
    type: str
    choices: [started, stopped]
  service_policy:
    description: When C(ntpd) starts. V(on) with the host, V(automatic) with its firewall ruleset, V(off) by hand.
    type: str
    choices: ['on', 'off', automatic]
  max_skew:
    description:
      - Seconds that a clock may differ from O(reference). A host is aligned only if the difference plus the error of its
        measurement is within.
      - Clocks are read only where this is given.
    type: float
  reference:
    description:
      - The clock that others are compared with; V(fleet) is the median of the selected hosts.
      - Where most other clocks agree with each other and not with the reference, hosts are not judged by it.
    type: str
    choices: [control_node, vcenter, fleet]
    default: control_node
  clock_samples:
    description: How often a clock is read at the most; the reading with the shortest round trip counts.
    type: int
    default: 3
  step:
    description:
      - V(guarded) sets a clock at once, only if it is off by more than O(step_threshold) for certain, only if the
        reference is not in doubt, and never on a host that uses PTP. C(ntpd) is stopped before and started after.
      - V(never) leaves it to the time service.
    type: str
    choices: [never, guarded]
    default: never
  step_threshold:
    description: Seconds of skew beyond which O(step=guarded) acts; O(max_skew) if that is more.
    type: float
    default: 60
  wait_for_sync:
    description: Seconds to wait until hosts say that they are synchronised and, with O(max_skew), are within it.
    type: float
    default: 0
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
  - fleetcare.esxi.changes
  - fleetcare.esxi.attributes
  - fleetcare.esxi.attributes.writes
seealso:
  - module: fleetcare.esxi.esxi_ntp_info
"""

EXAMPLES = r"""
- name: Two time servers, service on, on every host of a cluster
  fleetcare.esxi.esxi_ntp_align:
    hostname: vcenter.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    cluster_name: prod
    ntp_servers: [192.0.2.1, 192.0.2.2]
    service_state: started
    service_policy: 'on'

- name: Every host within a second, the worst by a step
  fleetcare.esxi.esxi_ntp_align:
    esxi_hostname: ['*']
    exclude: ['lab-*']
    service_state: started
    max_skew: 1
    step: guarded
    step_threshold: 300
    wait_for_sync: 120

- name: Take a retired server out of all lists
  fleetcare.esxi.esxi_ntp_align:
    esxi_hostname: ['*']
    ntp_servers: [198.51.100.1]
    ntp_servers_state: absent
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
      description: What was or would be written, in order.
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
    skew:
      description: Offset from the reference and its error bound in seconds, and whether that is within O(max_skew).
      returned: where it was measured
      type: dict
  sample:
    esx-01.example.com:
      status: changed
      changes:
        - {change: configure_time, servers: [192.0.2.1, 192.0.2.2]}
      skew: {offset: 0.0031, bound: 0.0009, aligned: true}
hints:
  description: The next step for each code of a finding.
  returned: when hosts could be selected
  type: dict
  sample: {ntpd_stopped: "Set service_state: started."}
summary:
  description: Number of hosts by status.
  returned: when hosts could be selected
  type: dict
  sample: {compliant: 38, changed: 2}
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

from ansible_collections.fleetcare.esxi.plugins.module_utils._features.ntp import FEATURE
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import run


def main() -> None:
    run(FEATURE)


if __name__ == "__main__":
    main()
