#!/usr/bin/python
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: ports of ESXi hosts that no ruleset has."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: esxi_firewall_vib
short_description: Firewall rulesets of your own on ESXi hosts, as a package that survives a reboot
version_added: 0.1.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - Builds a package (VIB) with the rulesets that are declared, the same to the byte on each control node, without any tool of
    VMware, and an offline bundle of it for vSphere Lifecycle Manager.
  - Puts it on hosts without SSH, through vCenter or directly, has the firewall read it, sees that each ruleset is there with
    just these ports, and removes the file that it was uploaded as.
  - Finds out first what keeps such a package out (acceptance level, Secure Boot, an image-managed cluster, a ruleset or port
    that is there already, no datastore with room) and writes nothing to a host where one of these is found.
  - The package has no signature and the acceptance level CommunitySupported, and the vendor's support may ask you to remove it.
    Look first whether a ruleset has the port already, see M(fleetcare.esxi.esxi_firewall_ports).
  - Who gets through is not in a package. Leave O(rulesets[].enabled) out, and let M(fleetcare.esxi.esxi_firewall_ports) open
    the ruleset together with its list, so that it is never open to everybody in between.
options:
  state:
    description:
      - V(present) puts the package on the selected hosts, V(absent) removes it and the rulesets with it.
      - V(built) only writes the package and its offline bundle into O(dest); no host and no credentials are needed.
    type: str
    choices: [present, absent, built]
    default: present
  rulesets:
    description:
      - The rulesets of the package. All of them are in one package; declare them in one task.
      - Needed unless O(state=absent), where they tell which rulesets have to be gone.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the ruleset on the host. Letters, digits, dots, dashes and underscores, 50 at most.
        type: str
        required: true
      rules:
        description: What it opens.
        type: list
        elements: dict
        required: true
        suboptions:
          direction:
            description: V(inbound) is what comes to the host, V(outbound) what the host sends.
            type: str
            choices: [inbound, outbound]
            required: true
          protocol:
            description: Protocol of the port.
            type: str
            choices: [tcp, udp]
            required: true
          port_type:
            description: Whether it is the port of the receiver, V(dst), or of the sender, V(src).
            type: str
            choices: [dst, src]
            default: dst
          port:
            description: A port or a range such as V(8000-8100).
            type: str
            required: true
      enabled:
        description:
          - Whether the ruleset is open, to everybody until an address list restricts it.
          - Left out, it is closed when the package comes, and afterwards nobody's business here.
        type: bool
      required:
        description: Have the host mark it as required, so that nobody can close it.
        type: bool
        default: false
  name:
    description: Name of the package on the host. Letters, digits and dashes, 50 at most.
    type: str
    default: fleetcare-firewall
  version:
    description: Version of the package. What identifies its content is appended, so that other rulesets are another version.
    type: str
    default: 1.0.0
  vendor:
    description: Who made the package. Letters, digits, dots and dashes, 35 at most.
    type: str
    default: fleetcare
  summary:
    description: One line about the package, which the host shows.
    type: str
    default: Custom firewall rulesets
  release_date:
    description: The date that the package bears. It is not the clock's, so that the same options give the same package.
    type: str
    default: '2026-01-01'
  dest:
    description:
      - Folder on the machine that runs the module. With O(state=built) the package and its offline bundle are written there.
      - With O(state=present) the offline bundle is, if a host is found that takes no package by itself.
      - What is there with the same bytes is not written again. The folder is made where it is missing.
      - Best an absolute path, or one with C(~). A relative one is below the folder of the playbook.
    type: path
  datastore:
    description:
      - Datastore that the package is put on while it is installed.
      - Left out, one that is accessible and has room is chosen, and of those the one that most of the hosts have.
    type: str
  installer:
    description:
      - Who installs. V(esxcli) calls esxcli of the host through the API; V(patch_manager) calls the host's patch manager, which
        needs other privileges.
      - A package is always removed by esxcli.
    type: str
    choices: [esxcli, patch_manager]
    default: esxcli
  force:
    description:
      - Have esxcli skip its own checks, which on some releases refuse packages of the community ("extensibility rules"). What
        this module checks is checked all the same.
    type: bool
    default: false
  allow_unknown_secure_boot:
    description:
      - Install also where the release does not say whether Secure Boot is on, which is so below 8.0.3. With Secure Boot a host
        does not start any more with the package, so look in its firmware first.
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
  - module: fleetcare.esxi.esxi_firewall_ports
  - module: fleetcare.esxi.esxi_firewall_info
  - module: fleetcare.esxi.esxi_acceptance_level
"""

EXAMPLES = r"""
- name: Build the package and look at it before anything else
  fleetcare.esxi.esxi_firewall_vib:
    state: built
    dest: ~/packages
    rulesets: &rulesets
      - name: agent
        rules:
          - {direction: inbound, protocol: tcp, port: '8080'}
          - {direction: outbound, protocol: udp, port: 9000-9010}

- name: Put it on a cluster, one host first; where it may not go in, write the bundle
  fleetcare.esxi.esxi_firewall_vib:
    hostname: vcenter.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    cluster_name: [lab]
    rulesets: *rulesets
    dest: ~/packages
    waves: [1, 100%]

- name: Open it to one network
  fleetcare.esxi.esxi_firewall_ports:
    cluster_name: [lab]
    rules:
      - name: agent
        enabled: true
        allowed_hosts: {ip_network: [192.0.2.0/24]}

- name: Take it away again
  fleetcare.esxi.esxi_firewall_vib:
    cluster_name: [lab]
    state: absent
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
    package:
      description: The package of that name on the host, with name, version and vendor; empty where there is none.
      type: dict
    rulesets:
      description: The rulesets of the package that the host has, each with C(enabled) and C(rules).
      type: dict
package:
  description: The package of this task, with id, name, version, vendor, rulesets, and the hash of its content.
  returned: with O(rulesets)
  type: dict
  sample:
    id: fleetcare_bootbank_fleetcare-firewall_1.0.0-1.181295068.222022454
    name: fleetcare-firewall
    version: 1.0.0-1.181295068.222022454
    vendor: fleetcare
    content: ace57dcd3bcb36d1a98e2755747953c6acac086fd4b33740d659b8f475a765ff
    rulesets: [agent]
files:
  description: Files in O(dest), each with path, size, sha256, and whether it was written (changed).
  returned: always
  type: list
  elements: dict
waves:
  description: For each wave the number of hosts, of those that changed and that failed, and the names of the latter.
  returned: with O(waves), when there was something to change
  type: list
  elements: dict
hints:
  description: The next step for each code of a finding.
  returned: always
  type: dict
summary:
  description: Number of hosts by status.
  returned: always
  type: dict
endpoint:
  description: Name, kind and version of the endpoint.
  returned: always
  type: dict
msg:
  description: The outcome in a sentence; for what failed, each cause once with the next step.
  returned: always
  type: str
failure:
  description: Why the whole task failed, as for a host.
  returned: when no host could be worked on
  type: dict
"""

from ansible_collections.fleetcare.esxi.plugins.module_utils._features.vib import FEATURE
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import run


def main() -> None:
    run(FEATURE)


if __name__ == "__main__":
    main()
