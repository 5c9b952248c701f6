#!/usr/bin/python
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: why encrypted virtual machines are locked, and opens those that can be opened."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: vm_crypto_unlock
short_description: Find out why encrypted virtual machines are locked, and open those that can be opened
version_added: 0.1.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - After a power cut, a change of the key server or the loss of a vCenter, encrypted virtual machines come up locked. This
    module finds them, says for each which of the causes it is, with the evidence, and unlocks those whose key can be had.
  - What only the administrator of the key server can mend comes back as a worksheet of key ids, machines, disks and hosts.
  - Every machine is read back. One that stays locked is a failure that says what is left; it hides no other.
  - With O(key_provider) it sets a key provider up on a new vCenter, under the name that the keys give, with trust both ways.
options:
  wait_for_provider:
    description:
      - Seconds to wait for the key providers that locked machines need, if vCenter cannot reach them now. A check run waits as
        well, so that it sees the same.
    type: float
    default: 0
  enable_hosts:
    description:
      - Put hosts of locked machines that are not in crypto-safe mode there, with a new host key of the default provider.
      - A host that was in it before its reboot does not need this; vCenter puts it there again by itself.
    type: bool
    default: false
  reregister:
    description:
      - As the last resort take a machine that cannot be unlocked although its key can be had out of the inventory and register it
        again. It then is another object; its name, folder, pool, host, permissions and custom values are put back, its tags are
        named. What else knew its old object id is not put back, such as DRS and HA overrides, alarms, scheduled tasks, backup jobs.
        Never done to a machine that runs, that a task is at work on, or that shares its name with another of its folder.
      - Needs O(backup=true).
    type: bool
    default: false
  key_provider:
    description:
      - A standard key provider that is to be there, as on a new vCenter. What is left out stays as it is. Nothing of it is removed.
    type: dict
    suboptions:
      name:
        description: Its name. Keys give it, so it has to be exactly the one that they give.
        type: str
        required: true
      servers:
        description: Its key servers.
        type: list
        elements: dict
        suboptions:
          name:
            description: Name of the server in vCenter; the address if left out.
            type: str
          address:
            description: Host name or IP address.
            type: str
            required: true
          port:
            description: TCP port.
            type: int
            default: 5696
          username:
            description: User of the key server, if it wants one.
            type: str
          password:
            description: Password of that user. It is only sent where the server is registered or changed.
            type: str
          fingerprint:
            description:
              - SHA-256 fingerprint of the server's certificate, as its administrator tells it. vCenter is made to trust the server
                only if it shows this one. Left out, the one that it shows is told and not trusted.
            type: str
      certificate:
        description:
          - What vCenter shows to the servers, in PEM form. With O(key_provider.private_key) a certificate of your own, without it
            the signed answer to vCenter's own request.
        type: str
      private_key:
        description: Private key of that certificate, in PEM form, without a passphrase.
        type: str
      request:
        description: Let vCenter make a certificate request, which comes back in C(providers) of the result, unless its servers trust it.
        type: bool
        default: false
      default:
        description: Whether new keys come from this provider.
        type: bool
        default: false
  csv:
    description: Return the worksheet as a table, too.
    type: bool
    default: false
  csv_file:
    description: Write that table into this file on the machine that runs the module, whether the task fails or not.
    type: path
  backup:
    description:
      - Write where the machines stand that are about to change, and what hangs on them, into a file in O(backup_dir), which
        O(restore) takes. In check mode nothing is written.
    type: bool
    default: false
  backup_dir:
    description: Folder for such files, on the machine that runs the module. It is created where it is missing.
    type: path
    default: ~/fleetcare-backup
  restore:
    description: Register again what stands in this file of an earlier run with O(backup=true) and is in no inventory any more.
    type: path
extends_documentation_fragment:
  - fleetcare.esxi.endpoint
  - fleetcare.esxi.vms
  - fleetcare.esxi.run
  - fleetcare.esxi.changes
  - fleetcare.esxi.attributes
  - fleetcare.esxi.attributes.writes
seealso:
  - module: fleetcare.esxi.vm_crypto_info
  - module: fleetcare.esxi.kms_key_info
"""

EXAMPLES = r"""
- name: After a power cut, open what can be opened, the plan first with --check --diff
  fleetcare.esxi.vm_crypto_unlock:
    hostname: vcenter.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    vm_name: ['*']
    wait_for_provider: 600
    csv_file: worksheet.csv  # what is left, for the key administrator

- name: Set the key provider up again on a new vCenter
  fleetcare.esxi.vm_crypto_unlock:
    vm_name: ['*']
    key_provider:
      name: kms-a
      servers:
        - address: kms-a.example.com
          fingerprint: "{{ kms_a_fingerprint }}"
      certificate: "{{ lookup('ansible.builtin.file', 'vcenter.crt') }}"
      private_key: "{{ vault_vcenter_kms_key }}"
      default: true

- name: The last resort for one machine
  fleetcare.esxi.vm_crypto_unlock:
    vm_name: [db-01]
    reregister: true
    backup: true
"""

RETURN = r"""
vms:
  description: One entry a selected machine, by name; by path where two share a name.
  returned: when machines could be selected
  type: dict
  contains:
    status:
      description: V(compliant), V(changed), V(would_change), V(failed), V(unreachable) or V(skipped).
      type: str
    changed:
      description: Whether the machine was or would be changed.
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
    because:
      description: Why the machine had to be registered anew.
      returned: where it was
      type: str
    findings:
      description: What was found, each with level, code, text and status (V(open), V(repaired), V(would_repair)).
      type: list
      elements: dict
    failure:
      description: Why the machine failed, with kind, fault, doing, cause, hint and message; V(null) where it did not.
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
  sample:
    app-01:
      status: changed
      changes: [{change: unlock}]
      outcome: open
      crypto: unlocked
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
waves:
  description: For each wave the number of machines, of those that changed and that failed, and the names of the latter.
  returned: with O(waves), when there was something to change
  type: list
  elements: dict
backup_file:
  description: The record of the state before.
  returned: with O(backup), when there was something to change
  type: str
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
  description:
    - Name, kind and version of the endpoint, and what was changed of its key provider and its hosts, as for a machine, under
      C(changes) and C(findings).
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

from ansible_collections.fleetcare.esxi.plugins.module_utils._features.crypto import FEATURE
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import run


def main() -> None:
    run(FEATURE)


if __name__ == "__main__":
    main()
