#!/usr/bin/python
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: firewalls of ESXi hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: esxi_firewall_ports
short_description: Declare which ports of ESXi hosts are open and to whom, guarded against lockouts
version_added: 0.2.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - Brings the firewall of one host or of thousands to what is declared by ruleset, by port or by service, with one login
    and one bulk read, and reads everything back.
  - Ports and services are resolved on each host against the rulesets that it really has; where one cannot be opened or
    closed, a finding says why and what can be done.
  - Works out first whom a host has to hear (vCenter and its heartbeat, this control node, SSH when it is on, time and name
    servers, storage that is mounted) and leaves out the part of a plan that would shut one of them out.
  - Writes in an order in which nothing is open on the way that neither the old nor the new state opens.
  - An option, and a part of one, that is left out leaves its setting as it is.
options:
  rules:
    description: Rulesets by the name that the host gives them.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the ruleset, for example V(syslog). M(fleetcare.esxi.esxi_firewall_info) lists those of a host.
        type: str
        required: true
      enabled:
        description: Whether the ruleset is open.
        type: bool
      allowed_hosts: &allowed_hosts
        description:
          - Who gets through. Naming addresses or networks closes a ruleset to all others, unless O(rules[].allowed_hosts.all_ip)
            says otherwise.
        type: dict
        suboptions:
          all_ip:
            description: Whether everybody does.
            type: bool
          ip_address:
            description:
              - Addresses, IPv4 or IPv6, and ranges such as V(192.0.2.10-192.0.2.20).
              - A host keeps a range as networks, so naming one speaks of both lists.
            type: list
            elements: str
          ip_network:
            description: Networks with their prefix length, such as V(192.0.2.0/24).
            type: list
            elements: str
      allowed_hosts_mode: &allowed_hosts_mode
        description: V(replace) makes the lists just these, V(merge) adds to them, V(remove) takes these away.
        type: str
        choices: [replace, merge, remove]
        default: replace
  ports:
    description:
      - Ports, whichever ruleset has them. A ruleset that opens nearly all ports for a purpose of its own is never chosen, and
        one is only closed if nothing else is closed with it.
    type: list
    elements: dict
    suboptions:
      port:
        description: A port or a range such as V(8301-8302).
        type: str
        required: true
      protocol:
        description: Protocol of the port.
        type: str
        choices: [tcp, udp]
        required: true
      direction:
        description: V(inbound) is what comes to the host, V(outbound) what the host sends.
        type: str
        choices: [inbound, outbound]
        required: true
      state:
        description: What the port shall be.
        type: str
        choices: [open, closed]
        default: open
      allowed_hosts: *allowed_hosts
      allowed_hosts_mode: *allowed_hosts_mode
  services:
    description: Services by name, each with the rulesets that stand for it on a host.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - One of V(wake_on_lan), V(ssh), V(dns), V(dhcp), V(web), V(snmp), V(slp), V(dhcpv6), V(vcenter_agent),
            V(vsan_transport), V(iscsi), V(amqp_proxy), V(cim), V(cim_secure), V(ws_man), V(nsx_vdr), V(vmotion), V(vasa),
            V(fault_tolerance), V(dvs_sync), V(vsan_clustering), V(hbr) and V(lifecycle_manager).
        type: str
        required: true
      state:
        description: What its ports shall be.
        type: str
        choices: [open, closed]
        default: open
      allowed_hosts: *allowed_hosts
      allowed_hosts_mode: *allowed_hosts_mode
  exclusive:
    description:
      - Close every open ruleset that is not listed, except those that the host requires, that a service owns, that somebody
        needs whom the host has to hear, and those of storage and HA whose use cannot be told (vvold, nvmetcp, fdm).
    type: bool
    default: false
  default_policy:
    description: What happens to traffic that no ruleset speaks of.
    type: dict
    suboptions:
      incoming_blocked:
        description: Whether it is blocked on its way in.
        type: bool
      outgoing_blocked:
        description: Whether it is blocked on its way out.
        type: bool
  allow_lockout:
    description:
      - Make the changes that would shut out somebody whom the host has to hear, too. Use it with O(verify_reachable).
    type: bool
    default: false
  verify_reachable:
    description:
      - Seconds for which a host has to stay reachable after its changes. If it does not, they are taken back, last first.
      - Each second vCenter is asked whether the host is connected. At the first and at the last look it is made to try a new
        connection to it, too. A stand-alone host is asked over a new connection.
      - vCenter notices blocked heartbeats after about 60 seconds, so V(75) covers them. V(0) does not verify.
    type: float
    default: 0
  backup:
    description:
      - Write the whole firewall of the hosts that are about to change into a file in O(backup_dir), which O(restore) takes.
        In check mode nothing is written.
    type: bool
    default: false
  backup_dir:
    description: Folder for such files, on the machine that runs the module. It is created where it is missing.
    type: path
    default: ~/fleetcare-backup
  restore:
    description: Bring the selected hosts back to what stands in this file of an earlier run with O(backup=true).
    type: path
extends_documentation_fragment:
  - fleetcare.esxi.endpoint
  - fleetcare.esxi.hosts
  - fleetcare.esxi.run
  - fleetcare.esxi.changes
  - fleetcare.esxi.attributes
  - fleetcare.esxi.attributes.writes
seealso:
  - module: fleetcare.esxi.esxi_firewall_info
"""

EXAMPLES = r"""
- name: Syslog to one server, SSH from the management network only
  fleetcare.esxi.esxi_firewall_ports:
    hostname: vcenter.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    cluster_name: [prod]
    ports:
      - port: '514'
        protocol: udp
        direction: outbound
        allowed_hosts: {ip_address: [192.0.2.10]}
    rules:
      - name: sshServer
        allowed_hosts: {ip_network: [198.51.100.0/24]}

- name: The vMotion and fault tolerance ports, everything not listed closed, one host first
  fleetcare.esxi.esxi_firewall_ports:
    esxi_hostname: ['*']
    services:
      - name: vmotion
      - name: fault_tolerance
      - name: vcenter_agent
    exclusive: true
    waves: [1, 10%, 100%]
    verify_reachable: 75
    backup: true

- name: Back to what it was
  fleetcare.esxi.esxi_firewall_ports:
    esxi_hostname: ['*']
    restore: ~/fleetcare-backup/vcenter.example.com-firewall-20261122T020304000000Z.json
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
      description: Whether the host was changed, or would be in check mode.
      type: bool
    changes:
      description: What was written, or would be in check mode, in this order.
      type: list
      elements: dict
    not_done:
      description: What was planned and not written.
      returned: when there is any
      type: list
      elements: dict
    undone:
      description: What was written to take back changes that cut the host off.
      returned: when there is any
      type: list
      elements: dict
    findings:
      description: What was found, each with level, code, text and status (V(open), V(repaired) or V(would_repair)).
      type: list
      elements: dict
    failure:
      description: Why the host failed, with kind, fault, doing, cause, hint and message; V(null) where it did not.
      type: dict
    moid:
      description: Managed object id of the host.
      type: str
waves:
  description: For each wave the number of hosts, of those that changed and that failed, and the names of the latter.
  returned: with O(waves), when there was something to change
  type: list
  elements: dict
backup_file:
  description: The file with the state before.
  returned: with O(backup), when there was something to change
  type: str
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
  returned: when no host could be worked on
  type: dict
"""

from ansible_collections.fleetcare.esxi.plugins.module_utils._features.firewall import FEATURE
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import run


def main() -> None:
    run(FEATURE)


if __name__ == "__main__":
    main()
