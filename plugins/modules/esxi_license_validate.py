#!/usr/bin/python
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: which licence keys are good for which ESXi hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: esxi_license_validate
short_description: Say why a licence key is refused, and put the right one on each ESXi host
version_added: 0.1.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - Cleans a key as people paste it, asks the server's own decoder, and compares product, generation, edition, date and
    units with one host or with thousands. Each refusal is a code with evidence and the next step.
  - With one key or a pool of keys it decides which host gets which, so that as many as possible are licensed and as few
    as possible change their key; no key is used beyond its units and no licensed host is without a licence at any time.
  - Reads everything back, and fails where a key was taken and the host still runs on its evaluation.
  - Without O(hostname) and without hosts, O(state=valid) needs no connection at all and judges the form of the keys.
options:
  license_key:
    description:
      - One licence key. Case, dashes, quotes, invisible characters and a note behind C(#) do not matter.
      - It is never shown whole in any output.
    type: str
    aliases: [licence_key]
  license_keys:
    description: Several keys, one an entry. A pool, of which each host gets the one that fits best.
    type: list
    elements: str
    aliases: [licence_keys]
  state:
    description:
      - V(valid) judges and changes nothing. With keys it says whether they are good for the hosts; without, whether the
        hosts' own licences are.
      - V(assigned) adds the keys to vCenter and assigns them; on a stand-alone host the key takes the place of all others.
      - V(absent) takes the keys away from the selected hosts, and out of vCenter once nobody holds them.
    type: str
    choices: [valid, assigned, absent]
    default: valid
  from_inventory:
    description: Let the pool hold every key for ESXi that vCenter has already, beside those that are given.
    type: bool
    default: false
  edition:
    description:
      - Edition that is wanted, by its key or its name, as a pattern without regard to case, for example
        V(esx.enterprisePlus.*).
    type: str
  labels:
    description: Labels for the keys in vCenter, with O(state=assigned). Labels that are not named stay.
    type: dict
  allow_unlicensed:
    description: Whether O(state=absent) may leave a host without a licence.
    type: bool
    default: false
  warn_days:
    description: Days before its expiry from which a key is warned about.
    type: float
    default: 30
extends_documentation_fragment:
  - fleetcare.esxi.endpoint
  - fleetcare.esxi.hosts
  - fleetcare.esxi.run
  - fleetcare.esxi.changes
  - fleetcare.esxi.attributes
  - fleetcare.esxi.attributes.writes
seealso:
  - module: fleetcare.esxi.esxi_license_info
"""

EXAMPLES = r"""
- name: Is this a key at all? No connection is made
  fleetcare.esxi.esxi_license_validate:
    license_key: "{{ pasted_key }}"

- name: Is it good for the hosts of a cluster, and if not, why
  fleetcare.esxi.esxi_license_validate:
    hostname: vcenter.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    cluster_name: prod
    license_key: "{{ vault_esxi_key }}"

- name: Every host on a key of the pool, the plan first with --check --diff
  fleetcare.esxi.esxi_license_validate:
    esxi_hostname: ['*']
    license_keys: "{{ vault_esxi_keys }}"
    state: assigned
    edition: esx.enterprisePlus.*
    labels: {owner: platform}

- name: Take an old key out of use, where nobody holds it any more
  fleetcare.esxi.esxi_license_validate:
    license_key: "{{ vault_old_key }}"
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
    license:
      description: The key that it runs on, masked.
      returned: where something is assigned
      type: str
    fits:
      description: The key that it would get.
      returned: with O(state=valid), where there is one
      type: str
  sample:
    esx-01.example.com:
      status: changed
      changes:
        - {change: assign_key, key: FAKE0-*****-*****-*****-0001A, fingerprint: 0a1b2c3d4e5f, name: vSphere 8 Enterprise Plus}
      license: FAKE0-*****-*****-*****-0001A
licenses:
  description:
    - The keys that were given, or all that the endpoint has, with their first and last group only.
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
      description: V(good), V(evaluation), V(well_formed) without a connection, or the code of the worst finding.
      type: str
    text:
      description: The evidence.
      type: str
    hint:
      description: The next step.
      type: str
    entry:
      description: For a text that is no key, the number of its entry in O(license_keys).
      returned: for entries of a list that are no keys
      type: int
    position:
      description: For a text that is no key, where its first wrong character stands, counted from 1.
      returned: where it can be told
      type: int
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
hints:
  description: The next step for each code of a finding.
  returned: always
  type: dict
  sample: {key_expired: "Renew it, or assign another key."}
summary:
  description: Number of hosts by status.
  returned: always
  type: dict
  sample: {compliant: 38, changed: 2}
endpoint:
  description:
    - Name, kind and version of the endpoint, and what was changed of its keys, as for a host, under C(changes) and
      C(findings).
  returned: always
  type: dict
msg:
  description: The outcome in a sentence; for what failed, each cause once with the next step.
  returned: always
  type: str
failure:
  description: Why the whole task failed, as for a host.
  returned: when nothing could be worked on
  type: dict
"""

from ansible_collections.fleetcare.esxi.plugins.module_utils._features.license import FEATURE
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import run


def main() -> None:
    run(FEATURE)


if __name__ == "__main__":
    main()
