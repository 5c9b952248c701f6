#!/usr/bin/python
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: licences and certificates of ESXi hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: esxi_license_info
short_description: Licences and certificates of ESXi hosts, with what expires when
version_added: 0.1.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - Reads which host runs on which licence, on its evaluation or on none, how many units each key has left, what expires
    when, and each host's certificate, of one host or of thousands in a dozen calls. Changes nothing.
  - It is the reading half of M(fleetcare.esxi.esxi_license_validate) and finds the same things.
options:
  warn_days:
    description: Days before its expiry from which a key or a certificate is warned about.
    type: float
    default: 30
  csv:
    description: Return the fleet as a table, too, one line a host.
    type: bool
    default: false
extends_documentation_fragment:
  - fleetcare.esxi.endpoint
  - fleetcare.esxi.hosts
  - fleetcare.esxi.run
  - fleetcare.esxi.attributes
  - fleetcare.esxi.attributes.reads
seealso:
  - module: fleetcare.esxi.esxi_license_validate
"""

EXAMPLES = r"""
- name: What expires within three months
  fleetcare.esxi.esxi_license_info:
    hostname: vcenter.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    esxi_hostname: ['*']
    warn_days: 90
    csv: true
  register: licences

- name: Keep the table for the asset database
  ansible.builtin.copy:
    content: "{{ licences.csv }}"
    dest: licences.csv
    mode: '0600'
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
    license:
      description: The key that it runs on, masked.
      type: str
    fingerprint:
      description: The key's fingerprint.
      type: str
    license_name:
      description: What the server calls the licence.
      type: str
    edition:
      description: Key of the edition.
      type: str
    version:
      description: Release of ESXi.
      type: str
    generation:
      description: Major version of the licences that the host takes.
      type: str
    managed_by:
      description: V(vcf_operations) from 9.0 on, where licences come as files.
      type: str
    processors:
      description: Processors of the host.
      type: int
    cores:
      description: Their cores, all together.
      type: int
    units:
      description: What the host takes of its key.
      type: int
    unit:
      description: What is counted.
      type: str
    expires:
      description: When the licence expires, in UTC.
      type: str
    days_left:
      description: Days until then.
      type: float
    evaluation_days:
      description: Days that are left of the evaluation.
      returned: while the host runs on it
      type: float
    features_in_use:
      description: Features of the edition that the host uses.
      type: list
      elements: str
    certificate:
      description: The host's certificate, with subject, issuer, not_before, not_after and status. Needs C(Certificate.Manage).
      type: dict
licenses:
  description:
    - All keys that the endpoint has, with their first and last group only.
  returned: always
  type: list
  elements: dict
  contains:
    key:
      description: The key, masked.
      type: str
    fingerprint:
      description: Twelve digits that are the same for the same key in every run.
      type: str
    verdict:
      description: V(good), V(evaluation), or the code of the worst finding.
      type: str
    text:
      description: The evidence.
      type: str
    hint:
      description: The next step.
      type: str
    name:
      description: What the server calls it.
      type: str
    edition:
      description: Key of the edition, such as V(esx.enterprisePlus.cpuPackage).
      type: str
    product:
      description: What it is for.
      type: str
    version:
      description: Version of the product, to whose major number the key is bound.
      type: str
    unit:
      description: What is counted, as the server says it.
      type: str
    total:
      description: Units that it has; V(null) where it is unlimited.
      type: int
    unlimited:
      description: Whether it has no limit.
      type: bool
    used:
      description: Units in use, by anybody.
      type: int
    free:
      description: Units that are left.
      type: int
    expires:
      description: When it expires, in UTC; V(null) where it does not, or where nobody says.
      type: str
    days_left:
      description: Days until then.
      type: float
    lease_minutes:
      description: Minutes until a subscription renews itself; no expiry.
      type: float
    labels:
      description: Its labels.
      type: dict
    in_inventory:
      description: Whether the endpoint has it.
      type: bool
    used_by:
      description: Names of those that hold it.
      type: list
      elements: str
  sample:
    - key: FAKE0-*****-*****-*****-0001A
      fingerprint: 0a1b2c3d4e5f
      verdict: key_expires_soon
      name: vSphere 8 Enterprise Plus
      total: 64
      used: 48
at_risk:
  description: Hosts with a finding above a note, the worst first, with their codes; unreachable ones with C(host_away).
  returned: with a connection
  type: list
  elements: dict
  sample:
    - {host: esx-07.example.com, codes: [host_evaluation_spent]}
csv:
  description: The fleet as a table.
  returned: with O(csv)
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
  description: Name, kind and version of the endpoint, with findings about its keys.
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

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import license as domain
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.feature import Feature
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import run
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim import license as translation

FEATURE = Feature(
    domain=domain,
    translation=translation,
    whole=domain,
    writes=False,
    options={"warn_days": {"type": "float", "default": 30}, "csv": {"type": "bool", "default": False}},
)


def main() -> None:
    run(FEATURE)


if __name__ == "__main__":
    main()
