# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that works on hosts: which ones."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  esxi_hostname:
    description:
      - Hosts by name, by pattern (V(esx-*.example.com)) or by managed object id (V(host-14)). V(*) is every host.
      - On a vCenter at least one of this, O(cluster_name), O(datacenter) and O(folder) has to be given; what is given
        together narrows the choice.
      - A stand-alone host needs none of them.
    type: list
    elements: str
    aliases: [esxi_host_name]
  cluster_name:
    description: Hosts of these clusters, by name, pattern or path (V(dc1/prod)).
    type: list
    elements: str
    aliases: [cluster]
  datacenter:
    description: Hosts of these datacenters, by name, pattern or path.
    type: list
    elements: str
    aliases: [datacenter_name]
  folder:
    description: Hosts below these folders, by name, pattern or path.
    type: list
    elements: str
  exclude:
    description: Hosts to leave out, by name, pattern or managed object id.
    type: list
    elements: str
  unknown_hosts:
    description:
      - What becomes of a name in O(esxi_hostname) that stands for no host, or for several.
      - V(stop) ends the task before anything is changed.
      - V(go_on) makes it an entry of its own in the result, failed, and goes on with the others; for names that come from
        an inventory of Ansible. Then O(exclude) may name what is not there, and may leave nobody.
    type: str
    choices: [stop, go_on]
    default: stop
"""
