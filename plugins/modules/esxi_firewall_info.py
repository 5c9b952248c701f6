#!/usr/bin/python
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: what firewalls of ESXi hosts let through, and to whom."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: esxi_firewall_info
short_description: Firewall rulesets of ESXi hosts, what opens a port, and whom a host has to hear
version_added: 0.2.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - Reads the rulesets of one host or of thousands in one bulk read, with the ports, the lists of allowed hosts and who may
    change them, and says what is wrong. Changes nothing.
  - Answers which rulesets open a port on each host, and prints the catalogue of services against it.
options:
  opens:
    description: Ports to look for. Each answer lists the rulesets that have the port, the wide-open ones marked.
    type: list
    elements: dict
    suboptions:
      port:
        description: A port or a range.
        type: str
        required: true
      protocol:
        description: Protocol of the port.
        type: str
        choices: [tcp, udp]
        default: tcp
      direction:
        description: Left out, both.
        type: str
        choices: [inbound, outbound]
  catalogue:
    description: Whether each service of the catalogue is told with the rulesets that stand for it on the host, or why none does.
    type: bool
    default: false
extends_documentation_fragment:
  - fleetcare.esxi.endpoint
  - fleetcare.esxi.hosts
  - fleetcare.esxi.run
  - fleetcare.esxi.attributes
  - fleetcare.esxi.attributes.reads
seealso:
  - module: fleetcare.esxi.esxi_firewall_ports
"""

EXAMPLES = r"""
- name: What opens tcp/902 on these hosts
  fleetcare.esxi.esxi_firewall_info:
    hostname: vcenter.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    cluster_name: [prod]
    opens:
      - port: '902'
  register: firewall

- name: The port table against one host
  fleetcare.esxi.esxi_firewall_info:
    esxi_hostname: [esx-001.example.com]
    catalogue: true
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
    default_policy:
      description: Whether traffic that no ruleset speaks of is blocked, as C(incoming_blocked) and C(outgoing_blocked).
      type: dict
    rulesets:
      description:
        - By name, whether each is enabled, its allowed hosts (V(all) or a list), its ports, the service behind it, whether it is
          required, and whether it can be toggled and its list be set.
      type: dict
    has_to_hear:
      description: Whom the host must not be cut off from, with the port.
      type: list
      elements: str
    services:
      description:
        - The catalogue, one entry a service with its rulesets on this host, its state (V(open), V(closed), V(partly open) or
          V(missing)), the findings that say why, a note and the source.
      returned: with O(catalogue)
      type: list
      elements: dict
    opens:
      description: An answer to each entry of O(opens), with whether the port is open and the rulesets that have it.
      returned: with O(opens)
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

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import firewall as domain
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.feature import Feature
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import run
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim import firewall as translation

FEATURE = Feature(
    domain=domain,
    translation=translation,
    writes=False,
    options={
        "opens": {
            "type": "list",
            "elements": "dict",
            "options": {
                "port": {"type": "str", "required": True},
                "protocol": {"type": "str", "default": "tcp", "choices": ["tcp", "udp"]},
                "direction": {"type": "str", "choices": ["inbound", "outbound"]},
            },
        },
        "catalogue": {"type": "bool", "default": False},
    },
)


def main() -> None:
    run(FEATURE)


if __name__ == "__main__":
    main()
