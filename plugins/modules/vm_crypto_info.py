#!/usr/bin/python
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: encrypted virtual machines, their keys and those who keep them."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: vm_crypto_info
short_description: Which virtual machines are encrypted or locked, why, and what would lock
version_added: 0.1.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - Reads which virtual machines are encrypted, with which key of which provider, which are locked and why, and which are open
    although their key cannot be had any more. Changes nothing.
  - It is the reading half of M(fleetcare.esxi.vm_crypto_unlock) and finds the same things. Before hosts are rebooted or a key
    provider is retired it says what would lock.
options:
  without_provider:
    description: Tell which machines and hosts would be concerned if the key provider of this name went away.
    type: str
  csv:
    description: Return the worksheet as a table, too.
    type: bool
    default: false
  csv_file:
    description: Write that table into this file on the machine that runs the module, whether the task fails or not.
    type: path
extends_documentation_fragment:
  - fleetcare.esxi.endpoint
  - fleetcare.esxi.vms
  - fleetcare.esxi.run
  - fleetcare.esxi.attributes
  - fleetcare.esxi.attributes.reads
seealso:
  - module: fleetcare.esxi.vm_crypto_unlock
  - module: fleetcare.esxi.kms_key_info
"""

EXAMPLES = r"""
- name: Which machines are locked, and why
  fleetcare.esxi.vm_crypto_info:
    hostname: vcenter.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    vm_name: ['*']
  register: crypto

- name: What would lock if this key provider were retired
  fleetcare.esxi.vm_crypto_info:
    vm_name: ['*']
    without_provider: kms-old
  register: retiring
"""

RETURN = r"""
vms:
  description: One entry a selected machine, by name; by path where two share a name.
  returned: when machines could be selected
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
      description: Why the machine could not be read; V(null) where it could.
      type: dict
    moid:
      description: Managed object id of the machine; another one once it was registered anew.
      type: str
    host:
      description: The host that it is on.
      type: str
    outcome:
      description: V(open), V(waiting) with a cause, or V(not_ours) where it is not encrypted or broken for another reason.
      type: str
    cause:
      description: Code of the cause.
      returned: where it waits
      type: str
    crypto:
      description: V(locked) or V(unlocked), as vCenter says.
      returned: for encrypted machines
      type: str
    key_id:
      description: Id of the key of its home. Never the key.
      returned: where it is known
      type: str
    provider:
      description: The key provider that this key names.
      returned: where it is known
      type: str
    power:
      description: Whether it runs, C(poweredOff) for example.
      returned: for encrypted machines
      type: str
    connection:
      description: What vCenter says of it, V(connected) or V(invalid) for example.
      type: str
    key_from:
      description: Where its key id was read.
      returned: where it is known
      type: str
    locked_because:
      description: Why vCenter locked it last, the end of the event's id.
      returned: where there is such an event
      type: str
    disks:
      description: Disks with a key of their own, as provider/key.
      returned: where there are such
      type: dict
  sample:
    app-01:
      status: not_compliant
      outcome: waiting
      cause: provider_unreachable
      crypto: locked
      key_id: "17"
      provider: kms-a
causes:
  description: The names of the machines that wait, by the code of the cause.
  returned: always
  type: dict
  sample: {key_missing: [db-01], still_locked: [app-01, app-02]}
worksheet:
  description:
    - For the administrator of the key server, each key that cannot be had and whom it keeps shut; those with the most locked
      machines first.
  returned: always
  type: list
  elements: dict
  contains:
    key_id:
      description: Id of the key on the key server.
      type: str
    provider:
      description: The key provider that the key names.
      type: str
    cause:
      description: Why it cannot be had, a code.
      type: str
    vms:
      description: The machines that need it.
      type: list
      elements: str
    disks:
      description: The disks that need it.
      type: list
      elements: str
    hosts:
      description: The hosts that these machines are on, and those whose own key it is.
      type: list
      elements: str
    locked:
      description: How many machines are locked for want of it now.
      type: int
  sample:
    - key_id: "17"
      provider: kms-a
      cause: key_missing
      vms: [db-01]
      disks: ['db-01: Hard disk 1']
      hosts: [esx-01.example.com]
      locked: 1
csv:
  description: The worksheet as a table, one line a key.
  returned: with O(csv) or O(csv_file)
  type: str
providers:
  description:
    - The key providers of the vCenter, with their servers, their state, the fingerprints and the days that are left of the
      certificates.
  returned: always
  type: list
  elements: dict
would_lock:
  description:
    - Whom it concerns if the provider goes away. A machine locks once its host forgets the key, as with a reboot without a TPM
      that keeps it, not at once.
  returned: with O(without_provider)
  type: dict
  contains:
    provider:
      description: The provider's name.
      type: str
    known:
      description: Whether vCenter has it.
      type: bool
    default:
      description: Whether it is the default provider.
      type: bool
    vms:
      description: Selected machines that would lock.
      type: list
      elements: str
    vms_with_disks_only:
      description: Selected machines that would open and not power on.
      type: list
      elements: str
    hosts:
      description: Hosts that these machines are on.
      type: list
      elements: str
    host_keys:
      description: Hosts whose own key is of this provider.
      type: list
      elements: str
    elsewhere:
      description: Object ids of users of these keys that were not selected.
      type: list
      elements: str
hints:
  description: The next step for each code of a finding.
  returned: always
  type: dict
  sample: {still_locked: "Unlock it: vm_crypto_unlock."}
summary:
  description: Number of machines by status.
  returned: always
  type: dict
  sample: {compliant: 38, changed: 2}
endpoint:
  description: Name, kind and version of the endpoint, and what was found of its key providers.
  returned: always
  type: dict
msg:
  description: The outcome in a sentence; for what failed, each cause once with the next step.
  returned: always
  type: str
failure:
  description: Why the whole task failed, as for a machine.
  returned: when nothing could be worked on
  type: dict
"""

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import crypto as domain
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.feature import VMS, Feature
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import run
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim import crypto as translation

FEATURE = Feature(
    domain=domain,
    translation=translation,
    targets=VMS,
    whole=domain,
    writes=False,
    options={"without_provider": {"type": "str"}, "csv": {"type": "bool", "default": False}, "csv_file": {"type": "path"}},
)


def main() -> None:
    run(FEATURE)


if __name__ == "__main__":
    main()
