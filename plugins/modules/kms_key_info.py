#!/usr/bin/python
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: keys on a key server, over KMIP."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kms_key_info
short_description: State of encryption keys on a key server, over KMIP
version_added: 0.1.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - For whoever administers a key server and gets a list of key ids from M(fleetcare.esxi.vm_crypto_unlock), because virtual
    machines are locked for want of these keys. It says for each key whether the server has it, in which state it is and
    since when, and what is left to be done.
  - Key material is never asked for, only attributes are (C(GetAttributes)).
  - With O(state=active) it activates keys that were never activated (C(pre_active)), and reads them back. That is the only
    thing that it ever changes, hence its name; KMIP has no operation that leads a deactivated, compromised or destroyed key
    back.
  - It speaks with one key server by itself, from the machine that runs it; vCenter is not asked.
options:
  address:
    description:
      - Name or IP address of the key server. The server's certificate has to bear it, see O(validate_certs).
    type: str
    required: true
  port:
    description: TCP port of KMIP.
    type: int
    default: 5696
  certificate:
    description:
      - PEM file with the certificate of the KMIP client, that of the keys' owner or of an auditor, and its chain behind it.
      - It can be left out where the key server is content with O(username) and O(password).
    type: path
  private_key:
    description:
      - PEM file with the private key of O(certificate), without a passphrase.
      - Where it is left out, O(certificate) has to hold it, too.
    type: path
  ca_file:
    description:
      - PEM file with the authorities to trust instead of the system's, on the machine that runs the module. The key
        server's own certificate will do.
    type: path
  validate_certs:
    description:
      - Whether the key server's certificate has to be signed by a known authority and bear the name O(address).
    type: bool
    default: true
  thumbprint:
    description:
      - SHA-256 thumbprint of the key server's certificate, as 64 hexadecimal digits, with or without colons.
      - Exactly this certificate is accepted then, whoever signed it and whatever name it bears.
    type: str
  username:
    description: User of the KMIP credential, for key servers that want one beside the certificate, or instead of it.
    type: str
  password:
    description: The user's password. It is sent to a server whose certificate was accepted, and to no other.
    type: str
  kmip_version:
    description: Version of KMIP to speak.
    type: str
    choices: ['1.0', '1.1', '1.2', '1.3', '1.4', '2.0']
    default: '1.4'
  key_ids:
    description: Ids of keys, as vSphere names them. One of O(key_ids) and O(worksheet) is needed.
    type: list
    elements: str
  worksheet:
    description:
      - The list that M(fleetcare.esxi.vm_crypto_unlock) returns, dictionaries with C(key_id) and C(provider). Only the ids are
        taken from it, each once.
      - It may name keys of several providers; leave those of the others out, as the example does.
    type: list
    elements: dict
  state:
    description: V(active) activates keys that are pre-active. Left out, nothing is changed.
    type: str
    choices: [active]
  connect_timeout:
    description: Seconds until a connection, with its TLS handshake, has to stand.
    type: float
    default: 10
  read_timeout:
    description: Seconds until an answer has to be there, whole.
    type: float
    default: 60
extends_documentation_fragment:
  - fleetcare.esxi.attributes
attributes:
  check_mode:
    support: full
    details: Nothing but C(GetAttributes) is sent.
  diff_mode:
    support: none
    details: The state of a key before and after stands in the result.
  idempotent:
    support: full
    details: A second run changes nothing.
requirements:
  - pykmip >= 0.10
notes:
  - PyKMIP is needed by this module alone, so the collection's own requirements do not have it.
seealso:
  - module: fleetcare.esxi.vm_crypto_unlock
"""

EXAMPLES = r"""
- name: What has become of the keys of locked machines
  fleetcare.esxi.kms_key_info:
    address: kms-01.example.com
    certificate: /etc/kmip/auditor.pem
    private_key: /etc/kmip/auditor.key
    ca_file: /etc/kmip/ca.pem
    worksheet: "{{ unlocked.worksheet | selectattr('provider', 'eq', 'kms-a') | list }}"
  delegate_to: localhost

- name: Activate keys that were made and never activated
  fleetcare.esxi.kms_key_info:
    address: kms-01.example.com
    certificate: /etc/kmip/owner.pem
    ca_file: /etc/kmip/ca.pem
    key_ids:
      - 5f0a3c1e-58ec-4b7c-9b6f-0d6d7cf0b001
      - 5f0a3c1e-58ec-4b7c-9b6f-0d6d7cf0b002
    state: active
  delegate_to: localhost

- name: A key server that wants a user, and whose certificate is known
  fleetcare.esxi.kms_key_info:
    address: 192.0.2.17
    thumbprint: "{{ kms_thumbprint }}"
    username: auditor
    password: "{{ vault_kms_password }}"
    key_ids: ["1017"]
  delegate_to: localhost
"""

RETURN = r"""
crypto_keys:
  description: One entry a key, by its id.
  returned: when the key server answers
  type: dict
  contains:
    status:
      description:
        - V(compliant) for an active key, V(changed), V(would_change), or V(failed) where the key could not be read or, with
          O(state=active), is not active in the end; V(not_compliant) without it.
      type: str
    changed:
      description: Whether the key was or would be activated.
      type: bool
    found:
      description: Whether the key server told anything about the key.
      type: bool
    state:
      description:
        - V(pre_active), V(active), V(deactivated), V(compromised), V(destroyed), V(destroyed_compromised), or V(null).
      type: str
    dates:
      description:
        - What the key server tells of C(initial), C(activation), C(deactivation), C(destroy), C(compromise_occurrence),
          C(compromise) and C(last_change), in UTC; V(null) for the others.
      type: dict
    object_type:
      description: V(symmetric_key) for what vSphere encrypts with.
      type: str
    algorithm:
      description: V(AES) for what vSphere encrypts with.
      type: str
    length:
      description: Bits of the key.
      type: int
    names:
      description: Its names on the key server.
      type: list
      elements: str
    findings:
      description: What is wrong with it, each with level, code, text and status (V(open), V(repaired), V(would_repair)).
      type: list
      elements: dict
    failure:
      description: Why it failed, with kind, fault, doing, cause, hint and message; V(null) where it did not.
      type: dict
  sample:
    5f0a3c1e-58ec-4b7c-9b6f-0d6d7cf0b001:
      status: not_compliant
      changed: false
      found: true
      state: deactivated
      dates: {initial: '2025-03-01T09:30:00+00:00', deactivation: '2026-02-28T22:00:00+00:00'}
      object_type: symmetric_key
      algorithm: AES
      length: 256
      names: [prod-07]
      findings:
        - level: error
          code: kms_key_deactivated
          text: deactivated since 2026-02-28T22:00:00+00:00
          status: open
      failure: null
hints:
  description: The next step for each code of a finding.
  returned: when the key server answers
  type: dict
summary:
  description: Number of keys by status.
  returned: when the key server answers
  type: dict
  sample: {compliant: 11, not_compliant: 1}
endpoint:
  description: The key server, with C(address), C(port), the SHA-256 digest of its C(certificate), and C(kmip_version).
  returned: when the key server answers
  type: dict
msg:
  description: The outcome in a sentence; for what failed, each cause once with the next step.
  returned: always
  type: str
  sample: "12 keys: 11 compliant, 1 not compliant (1 kms_key_deactivated)."
failure:
  description: Why the whole task failed, as for a key.
  returned: when the key server could not be asked
  type: dict
"""

from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import run_task
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim import kms

OPTIONS = {
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "default": 5696},
    "certificate": {"type": "path"},
    "private_key": {"type": "path"},
    "ca_file": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "thumbprint": {"type": "str"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "kmip_version": {"type": "str", "default": "1.4", "choices": ["1.0", "1.1", "1.2", "1.3", "1.4", "2.0"]},
    "key_ids": {"type": "list", "elements": "str", "no_log": False},
    "worksheet": {"type": "list", "elements": "dict"},
    "state": {"type": "str", "choices": ["active"]},
    "connect_timeout": {"type": "float", "default": 10},
    "read_timeout": {"type": "float", "default": 60},
}


def main() -> None:
    run_task(OPTIONS, kms.work, missing=kms.MISSING)


if __name__ == "__main__":
    main()
