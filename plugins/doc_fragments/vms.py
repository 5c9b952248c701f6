# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that works on virtual machines: which ones."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  vm_name:
    description:
      - VMs by name, by pattern (V(app-*)) or by managed object id (V(vm-114)). V(*) is every VM, templates included.
      - On a vCenter at least one of this, O(vm_moid), O(esxi_hostname), O(cluster_name), O(datacenter) and O(folder) has to be given;
        what is given together narrows the choice.
      - A stand-alone host needs none of them.
      - A name that several VMs have is an error that lists them; O(datacenter), O(folder) or the managed object id tells
        which one is meant.
    type: list
    elements: str
    aliases: [name]
  vm_moid:
    description: VMs by managed object id alone, whatever others are named, beside those of O(vm_name).
    type: list
    elements: str
  skip_missing:
    description:
      - Leave out names and ids in O(vm_name) and O(vm_moid) that no VM has, instead of failing. For lists that somebody else made some time ago,
        such as those of events; a VM that was registered anew has another id.
    type: bool
    default: false
  esxi_hostname:
    description: VMs on these hosts, by the host's name, pattern or managed object id, running or not.
    type: list
    elements: str
    aliases: [esxi_host_name]
  cluster_name:
    description: VMs on hosts of these clusters, by name, pattern or path (V(dc1/prod)).
    type: list
    elements: str
    aliases: [cluster]
  datacenter:
    description: VMs of these datacenters, by name, pattern or path.
    type: list
    elements: str
    aliases: [datacenter_name]
  folder:
    description:
      - VMs below these folders, by name, pattern or path (V(dc1/prod/app)).
      - These are the folders of VMs, not those of hosts. A VM in a vApp is in none.
    type: list
    elements: str
  exclude:
    description: VMs to leave out, by name, pattern or managed object id.
    type: list
    elements: str
"""
