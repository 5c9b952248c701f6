#!/usr/bin/python
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: what ESXi hosts are made of, and whether a release fits them."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: esxi_hardware_info
short_description: Hardware of ESXi hosts, judged against the release that they are to run
version_added: 0.1.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - Reads CPU, memory, firmware, Secure Boot, TPM, network, storage and graphics devices of one host or of thousands in
    a dozen calls, and says before an installation or an upgrade what does not fit. Changes nothing.
  - What a release demands, and what is known not to work with it, stands in a catalogue of which each row has a source.
    Your own compatibility list extends and overrides it.
  - The verdict on a device is C(supported), C(not_listed), C(advice) or C(known_bad); that on a host is the worst of its
    parts. Nothing is C(supported) unless your list says so and names its source, because the vendor's list is not in
    this collection.
options:
  target_release:
    description:
      - The release that the hosts are to run, such as V(8.0), V(8.0 U3), V(8.0.3) or V(9.0). V(8.0) is the newest
        update of 8.0, so that what any of them demands is demanded; V(8.0 GA) is the first one.
      - Left out, the hardware is listed and nothing is judged.
    type: str
  compatibility_list:
    description:
      - Your own list, as the path of a JSON or CSV file on the machine that runs the task, or as a list of rows.
      - A row has C(pci) or C(cpu), C(verdict), and where wanted C(class), C(release), C(source) and C(note). C(verdict) is
        V(supported), V(not_listed), V(advice) or V(known_bad); V(supported) needs a C(source).
      - C(pci) is vendor and device in hexadecimal (V(8086:1572)), with or without those of the subsystem
        (V(8086:1572:1028:0000)), or a whole vendor (V(10ec:*)), which C(class) narrows (V(0200) is Ethernet, V(01) all
        storage; in YAML in quotes).
      - C(cpu) is vendor, family and model, with or without stepping (V(intel 6/85), V(intel 6/85/0-4)), or a part of its
        name with wildcards (V(Gold 63??)).
      - C(release) is one (V(8.0), V(8.0 U2)) or a range (V(7.0-8.0.1), V(8.0.2-)); empty is all. The row that says most
        exactly what is meant wins; of equals the worst, and so of a name and a model of CPU.
    type: raw
  nvme:
    description:
      - Ask hosts with NVMe controllers which version of NVMe these speak, through esxcli; two calls a host and one a
        controller. Through vCenter this needs the privilege C(Host.Config.Settings).
    type: bool
    default: false
  boot_device:
    description:
      - Ask each host what it was booted from, through esxcli; two calls a host. Through vCenter this needs the privilege
        C(Host.Config.Settings).
    type: bool
    default: false
  csv:
    description: Return all of it as a table, too, one line a host, CPU, demand and device.
    type: bool
    default: false
extends_documentation_fragment:
  - fleetcare.esxi.endpoint
  - fleetcare.esxi.hosts
  - fleetcare.esxi.run
  - fleetcare.esxi.attributes
  - fleetcare.esxi.attributes.reads
"""

EXAMPLES = r"""
- name: Which hosts can take 8.0 Update 3
  fleetcare.esxi.esxi_hardware_info:
    hostname: vcenter.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    esxi_hostname: ['*']
    target_release: 8.0 U3
    compatibility_list: files/our_servers.csv
    nvme: true
    boot_device: true
    csv: true
  register: fit

- name: Two rows of such a list, in the task itself
  fleetcare.esxi.esxi_hardware_info:
    hostname: vcenter.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    cluster_name: [prod]
    target_release: '9.0'
    compatibility_list:
      - pci: 8086:1572
        release: 8.0-9.0
        verdict: supported
        source: Broadcom Compatibility Guide, looked up on 2026-11-02
      - cpu: E5-26?? v4
        release: 9.0-
        verdict: known_bad
        source: the server vendor's letter of May 2026
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
      description: Release of ESXi that the host runs.
      type: str
    target_release:
      description: The release that it was judged for.
      returned: with O(target_release)
      type: str
    verdict:
      description: The worst of its parts, V(supported), V(not_listed), V(advice) or V(known_bad).
      returned: with O(target_release)
      type: str
    requirements:
      description:
        - What the release demands, each with C(demand), C(least), C(has), C(met) (V(unknown) where the host does not tell)
          and C(must); V(false) is a recommendation.
      returned: with O(target_release)
      type: list
      elements: dict
    vendor:
      description: Who built the server.
      type: str
    model:
      description: Which one it is.
      type: str
    cpu:
      description: Vendor, family, model, stepping, brand, features that matter, sockets, cores, threads; verdict, source and note.
      type: dict
    memory_mb:
      description: Memory in MB, without what the firmware keeps.
      type: int
    firmware:
      description: V(uefi), V(bios), or V(unknown) on hosts older than 8.0 U2, which do not tell.
      type: str
    firmware_version:
      description: Version of the firmware.
      type: str
    secure_boot:
      description: What the host says of UEFI Secure Boot; V(unknown) on hosts older than 8.0 U3.
      type: raw
    requires_secure_boot:
      description: Whether the host's configuration can only be decrypted after a secure boot; V(unknown) where it is not told.
      type: raw
    tpm:
      description: Whether there is a TPM, its version, and what vCenter's attestation said.
      type: dict
    boot_device:
      description: Name, model, size_mb and usb of the device that the host was booted from, or V(unknown).
      returned: with O(boot_device)
      type: raw
    network:
      description:
        - Network devices, each with slot, vendor, device, subvendor, subdevice and class as four hexadecimal digits, names, adapter,
          driver, passthrough (V(active), V(enabled), V(capable), V(no), V(unknown)); verdict, source and note.
      type: list
      elements: dict
    storage:
      description: Storage devices, the same; with O(nvme) also nvme_version.
      type: list
      elements: dict
    graphics:
      description: Graphics devices, the same.
      type: list
      elements: dict
    accelerators:
      description: Processing accelerators, the same.
      type: list
      elements: dict
    graphics_cards:
      description: What the host's graphics manager knows, each with name, vendor, slot, type, memory_mb and the number of VMs.
      type: list
      elements: dict
    other_devices:
      description: How many PCI devices there are beside these, such as bridges.
      type: int
target_release:
  description: The release that the hosts were judged for.
  returned: with O(target_release)
  type: str
requirements:
  description:
    - What the release demands, each with C(demand), C(least), C(must), C(of) and C(source). Where no source tells it of the target
      release, C(of) is the earlier release that demands it, and it is advice.
  returned: with O(target_release)
  type: list
  elements: dict
verdicts:
  description: Number of hosts by verdict.
  returned: when hosts could be selected
  type: dict
device_models:
  description:
    - Each model of device once, with pci, class, kind, name, number of hosts that have it and the worst verdict; what a
      compatibility list has to speak about.
  returned: when hosts could be selected
  type: list
  elements: dict
  sample:
    - {pci: '8086:1572:8086:0000', class: '0200', kind: network, name: Intel Corporation X710, hosts: 48, verdict: not_listed}
csv:
  description: All of it as a table.
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

from ansible_collections.fleetcare.esxi.plugins.module_utils._features.hardware import FEATURE
from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import run


def main() -> None:
    run(FEATURE)


if __name__ == "__main__":
    main()
