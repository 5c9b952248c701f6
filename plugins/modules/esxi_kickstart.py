#!/usr/bin/python
# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: installation files for ESXi hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: esxi_kickstart
short_description: Installation files for ESXi hosts, ks.cfg and boot.cfg, checked before they are written
version_added: 0.1.0
author:
  - fleetcare.esxi contributors (@fleetcare)
description:
  - Writes the installation script of each host, and the installer's own C(boot.cfg) made to start it, below one folder, for
    an installer that is served over HTTP or PXE, or that lies on a USB stick.
  - Every value is checked before the first file is written. What a release does not know is an error that names its source;
    what its documentation leaves open is a finding.
  - Files are written whole or not at all, read back, and parsed as the installer would.
  - No plain password is taken. The licence key stands in a file only where that is asked for; differences and results show
    neither it nor the hash of the password.
  - The installer itself is yours; nothing is downloaded, and the list of its modules is never touched.
options:
  dest:
    description:
      - Folder of the files, as an absolute path, on the machine that runs the module. It is made where it is missing.
      - Below it are C(ks/NAME.cfg) and C(01-MAC/boot.cfg); with O(bios=true) also C(pxelinux.cfg/01-MAC). With O(medium=usb)
        there is a folder a host, C(NAME), with the files that are to be put on its stick.
    type: path
    required: true
  mode:
    description:
      - Mode of the files. They hold the hash of the root password.
      - With V(0640) their group can read them; give the folder the group of the web server, and its set-group-id bit.
    type: str
    choices: ['0600', '0640']
    default: '0600'
  state:
    description:
      - V(absent) removes the files of these hosts, so that none is installed again by accident and no hash lies about. Only
        O(dest), O(medium), and C(name) and C(mac) of O(hosts) are looked at then.
    type: str
    choices: [present, absent]
    default: present
  release:
    description:
      - Release that is installed. Required, unless O(state=absent).
    type: str
    choices: ['7.0', '8.0', '9.0', '9.1']
  medium:
    description:
      - Where the installer comes from. V(http) is iPXE or UEFI HTTP boot, V(pxe) is TFTP, V(usb) is a stick a host.
    type: str
    choices: [http, pxe, usb]
    required: true
  accept_eula:
    description:
      - V(true) accepts the licence agreement of ESXi for all these hosts, which the script has to say. It has no default;
        nothing is written without it.
    type: bool
  installer_boot_cfg:
    description:
      - The C(boot.cfg) that came with the installer. The hosts' own are made of it, with title, prefix and boot options of
        theirs; every other line stays as it is.
      - Left out, only scripts are written, and the result tells the boot options as C(kernelopt).
    type: path
  prefix:
    description:
      - Where the boot loader finds the installer's files, a URL with O(medium=http), a path from the root of the TFTP server on
        with O(medium=pxe). Required with O(installer_boot_cfg), and not taken with O(medium=usb).
    type: str
  ks_url:
    description:
      - URL at which the folder C(ks) below O(dest) is served, by HTTP, HTTPS, FTP or NFS. Required with O(medium=http) and
        O(medium=pxe).
      - The installer does not look at the server's certificate.
    type: str
  title:
    description:
      - What the boot loader shows, with the host's name behind it.
    type: str
    default: ESXi installer
  boot_network:
    description:
      - How the installer gets at its script. V(static) gives it the host's own address.
    type: str
    choices: [dhcp, static]
    default: dhcp
  boot_device:
    description:
      - How the installer is told the adapter for that, by its MAC address.
    type: str
    choices: [netdevice, bootif]
    default: netdevice
  bios:
    description:
      - Write the file of PXELINUX as well, for hosts with legacy BIOS. For O(medium=pxe) only.
    type: bool
    default: false
  hosts:
    description:
      - The hosts. What is the same for all can be given once, as an option of the task by the same name; a host's own value goes
        before it, whole.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the host here, in the names of its files, and in the result.
        type: str
        required: true
      fqdn:
        description: Full host name that the host gets.
        type: str
      mac:
        description:
          - MAC address of the adapter that boots. Needed where a C(boot.cfg) is written for O(medium=http) or O(medium=pxe).
          - It is the adapter of the management network as well, unless C(device) says another.
        type: str
      serial:
        description: Serial number of the machine, for the reader of the file.
        type: str
      address:
        description: IPv4 address of the host. With it, C(bootproto) is V(static) unless said otherwise.
        type: str
      installation: &installation
        description:
          - V(install) installs anew, V(upgrade) keeps what is there, V(installorupgrade) does what the disk asks for.
          - V(install) where it is left out.
        type: str
        choices: [install, upgrade, installorupgrade]
      disk: &disk
        description:
          - The disk. Exactly one of C(first) and C(name) is needed.
        type: dict
        suboptions:
          first:
            description:
              - The first disk that fits, by filters in their order; V(local), V(remote), V(usb), V(esx), a driver or a model. An
                empty list is whichever comes first, disks of the network (SAN) included.
            type: list
            elements: str
          name:
            description: The disk by its device name, V(naa.6000c29...) for example, or by its path below C(/vmfs/devices/disks).
            type: str
          overwrite_vmfs:
            description: Overwrite a datastore on the disk.
            type: bool
            default: false
          preserve_vmfs:
            description: Keep a datastore on the disk.
            type: bool
            default: false
          no_vmfs_on_disk:
            description: Make no datastore on the disk.
            type: bool
            default: false
          overwrite_vsan:
            description: Overwrite a disk of a vSAN disk group. Other disks of the group may be wiped with it.
            type: bool
            default: false
          ignore_ssd:
            description: Leave out SSDs with C(first).
            type: bool
            default: false
          system_disk:
            description: Device name of the disk for ESX-OSData, where the host boots from USB or SD.
            type: str
          repartition_system_disk:
            description: Make new partitions on C(system_disk), whatever is on it.
            type: bool
            default: false
          dpu_pci_slots:
            description: PCI slots of DPUs to install on as well. From 8.0 on.
            type: list
            elements: int
          force_unsupported_install:
            description: Go on with a CPU that the release does not support.
            type: bool
            default: false
      clear_partitions: &clear_partitions
        description:
          - Clear partitions before the installation. Exactly one of C(drives), C(except_drives) and C(all_drives) is needed.
        type: dict
        suboptions:
          drives:
            description: Disks to clear, by device name.
            type: list
            elements: str
          except_drives:
            description: Disks to leave alone; all others that the host sees are cleared, those of the network (SAN) included.
            type: list
            elements: str
          all_drives:
            description: Clear every disk that the host sees, those of the network (SAN) included.
            type: bool
            default: false
          overwrite_vmfs:
            description: Clear those with datastores, too.
            type: bool
            default: false
      bootproto: &bootproto
        description:
          - How the installed host gets its address. V(static) where an address is given, else V(dhcp). An upgrade without either
            leaves the network alone.
        type: str
        choices: [dhcp, static]
      netmask: &netmask
        description: Netmask, as V(255.255.255.0).
        type: str
      gateway: &gateway
        description: Default gateway, within the host's own network.
        type: str
      nameservers: &nameservers
        description: Up to two name servers, by IPv4 address.
        type: list
        elements: str
      vlan: &vlan
        description: VLAN of the management network, also while installing. V(0) is none.
        type: int
      device: &device
        description: Adapter of the management network, as V(vmnic0) or by MAC address.
        type: str
      vm_port_group: &vm_port_group
        description: Whether the port group C(VM Network) is made. Left out, the installer decides, and makes it.
        type: bool
      keyboard: &keyboard
        description: Layout of the keyboard, by the installer's name for it, V(US Default), V(German) or V(Swiss French) for example.
        type: str
      root_password_hash: &root_password_hash
        description:
          - Hash of the root password, by SHA-512 (C($6$...)). C(openssl passwd -6) makes one.
          - Required, unless the host is upgraded.
        type: str
      license_key: &license_key
        description:
          - Licence key. It is checked, and not written, so that M(fleetcare.esxi.esxi_license_validate) assigns it later.
        type: str
      license_key_in_file: &license_key_in_file
        description:
          - Write the licence key into the script, in clear text. Up to 8.0.
        type: bool
      reboot: &reboot
        description: Reboot at the end of the installation. V(true) where it is left out.
        type: bool
      eject: &eject
        description: Eject the medium before that. V(true) where it is left out.
        type: bool
      dry_run: &dry_run
        description: The installer only checks the script.
        type: bool
      paranoid: &paranoid
        description: The installer stops at warnings, too.
        type: bool
      secure_boot: &secure_boot
        description:
          - Whether the host has Secure Boot, under which no step of the first boot is run. It changes no file, only what is
            found.
        type: bool
      ntp_servers: &ntp_servers
        description: Time servers, set at the first boot.
        type: list
        elements: str
      rules: &rules
        description:
          - Rulesets of the firewall, set at the first boot; the same form as in M(fleetcare.esxi.esxi_firewall_ports).
        type: list
        elements: dict
        suboptions:
          name:
            description: Name of the ruleset.
            type: str
            required: true
          enabled:
            description: Whether it is open.
            type: bool
          allowed_hosts:
            description: Who may pass.
            type: dict
            suboptions:
              all_ip:
                description: Everybody.
                type: bool
              ip_address:
                description: IP addresses.
                type: list
                elements: str
              ip_network:
                description: Networks, with their mask.
                type: list
                elements: str
      acceptance_level: &acceptance_level
        description: Acceptance level of the host, set at the first boot.
        type: str
        choices: [vmware_certified, vmware_accepted, partner, community]
      ssh: &ssh
        description: V(enabled) lets the SSH service run from the first boot on, V(disabled) stops it.
        type: str
        choices: [enabled, disabled]
      first_boot: &first_boot
        description:
          - Commands of your own for the first boot, for busybox, one an entry, behind the others. They are taken as they are.
          - They are shown in differences, and can be read by whoever reads the file; put no secret there.
        type: list
        elements: str
      pre: &pre
        description: Script of your own that runs before the installation script is looked at.
        type: dict
        suboptions:
          text:
            description: The script. No line may begin with a percent sign.
            type: str
            required: true
          interpreter:
            description: What runs it.
            type: str
            choices: [busybox, python]
            default: busybox
      post: &post
        description: Script of your own that runs once the packages are installed.
        type: dict
        suboptions:
          text:
            description: The script. No line may begin with a percent sign.
            type: str
            required: true
          interpreter:
            description: What runs it.
            type: str
            choices: [busybox, python]
            default: busybox
          timeout:
            description: Seconds after which it is stopped.
            type: int
          ignore_failure:
            description: Whether the installation counts as a success although the script failed.
            type: bool
      system_media_size: &system_media_size
        description: Size of the system's partitions. V(min) is 33 GB, V(small) 69 GB, V(default) 138 GB, V(max) all there is.
        type: str
        choices: [min, small, default, max]
      os_data_size: &os_data_size
        description: Size of ESX-OSData in MB, by an option that is not documented; O(system_media_size) is.
        type: int
      allow_legacy_cpu: &allow_legacy_cpu
        description: Boot the installer on a CPU that the release no longer supports.
        type: bool
  installation: *installation
  disk: *disk
  clear_partitions: *clear_partitions
  bootproto: *bootproto
  netmask: *netmask
  gateway: *gateway
  nameservers: *nameservers
  vlan: *vlan
  device: *device
  vm_port_group: *vm_port_group
  keyboard: *keyboard
  root_password_hash: *root_password_hash
  license_key: *license_key
  license_key_in_file: *license_key_in_file
  reboot: *reboot
  eject: *eject
  dry_run: *dry_run
  paranoid: *paranoid
  secure_boot: *secure_boot
  ntp_servers: *ntp_servers
  rules: *rules
  acceptance_level: *acceptance_level
  ssh: *ssh
  first_boot: *first_boot
  pre: *pre
  post: *post
  system_media_size: *system_media_size
  os_data_size: *os_data_size
  allow_legacy_cpu: *allow_legacy_cpu
extends_documentation_fragment:
  - fleetcare.esxi.attributes
attributes:
  check_mode:
    support: full
    details: Files are made, checked and compared; none is written.
  diff_mode:
    support: full
    details: One entry a file that changes, without the hash of the password and the licence key.
  idempotent:
    support: full
    details: A second run changes nothing; no file holds a date.
notes:
  - It asks no vSphere server. What it finds is about the files, so no finding makes it fail.
seealso:
  - module: fleetcare.esxi.esxi_license_validate
  - module: fleetcare.esxi.esxi_ntp_align
  - module: fleetcare.esxi.esxi_firewall_ports
"""

EXAMPLES = r"""
- name: Scripts and boot files for two hosts that boot over HTTP
  fleetcare.esxi.esxi_kickstart:
    dest: /srv/esxi
    release: '8.0'
    medium: http
    accept_eula: true
    installer_boot_cfg: /srv/esxi/8.0.3/BOOT.CFG
    prefix: http://192.0.2.5/esxi/8.0.3
    ks_url: http://192.0.2.5/esxi/ks
    root_password_hash: "{{ vault_root_password_hash }}"
    disk:
      first: [local]
      overwrite_vmfs: true
    netmask: 255.255.255.0
    gateway: 192.0.2.1
    nameservers: [192.0.2.2, 192.0.2.3]
    secure_boot: true
    hosts:
      - {name: esx-01, fqdn: esx-01.example.com, mac: '00:50:56:00:00:01', address: 192.0.2.11}
      - {name: esx-02, fqdn: esx-02.example.com, mac: '00:50:56:00:00:02', address: 192.0.2.12}
  delegate_to: localhost

- name: A stick for a host, with time and SSH set at the first boot
  fleetcare.esxi.esxi_kickstart:
    dest: /home/admin/sticks
    release: '7.0'
    medium: usb
    accept_eula: true
    installer_boot_cfg: /media/installer/BOOT.CFG
    root_password_hash: "{{ vault_root_password_hash }}"
    secure_boot: false
    ntp_servers: [ntp1.example.com, ntp2.example.com]
    ssh: enabled
    hosts:
      - name: esx-old
        fqdn: esx-old.example.com
        disk: {name: naa.6000c29a0b1c2d3e4f5061728394a5b6, no_vmfs_on_disk: true}
  delegate_to: localhost

- name: They are installed, so their files go
  fleetcare.esxi.esxi_kickstart:
    dest: /srv/esxi
    medium: http
    state: absent
    hosts:
      - {name: esx-01, mac: '00:50:56:00:00:01'}
      - {name: esx-02, mac: '00:50:56:00:00:02'}
  delegate_to: localhost
"""

RETURN = r"""
hosts:
  description: One entry a host, by its name.
  returned: when the options are accepted
  type: dict
  contains:
    status:
      description: V(compliant), V(changed), V(would_change) or V(failed).
      type: str
    changed:
      description: Whether a file of the host was or would be changed.
      type: bool
    files:
      description:
        - The host's files, each with C(path) below C(dest) and C(state), which is V(created), V(changed), V(unchanged), V(removed)
          or V(absent).
      type: list
      elements: dict
    kernelopt:
      description: The boot options of the host's C(boot.cfg), or those that it needs where none is written.
      type: str
    reached_at:
      description: Name or address at which the host can be reached once it is installed, or V(null).
      type: str
    findings:
      description: What somebody should know of it, each with level, code, text and status (V(open)).
      type: list
      elements: dict
    failure:
      description: Why its files could not be written, with kind, fault, doing, cause, hint and message; V(null) where they could.
      type: dict
  sample:
    esx-01:
      status: changed
      changed: true
      files:
        - {path: ks/esx-01.cfg, state: created}
        - {path: 01-00-50-56-00-00-01/boot.cfg, state: created}
      kernelopt: runweasel ks=http://192.0.2.5/esxi/ks/esx-01.cfg netdevice=00:50:56:00:00:01
      reached_at: esx-01.example.com
      findings:
        - level: warning
          code: kickstart_erases
          text: overwrite_vmfs on the first disk of local
          status: open
      failure: null
hints:
  description: The next step for each code of a finding.
  returned: when the options are accepted
  type: dict
summary:
  description: Number of hosts by status.
  returned: when the options are accepted
  type: dict
  sample: {changed: 2}
dest:
  description: The folder of the files.
  returned: when the options are accepted
  type: str
msg:
  description: The outcome in a sentence.
  returned: always
  type: str
  sample: "2 hosts: 2 changed. Files below /srv/esxi: 4 created. To look at: 2 kickstart_erases."
failure:
  description: Why the whole task failed, as for a host.
  returned: when the options are not accepted
  type: dict
"""

from ansible_collections.fleetcare.esxi.plugins.module_utils._module.run import run_task
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim import kickstart

TEXTS = {"type": "list", "elements": "str"}
FLAG = {"type": "bool", "default": False}
SCRIPT = {
    "text": {"type": "str", "required": True},
    "interpreter": {"type": "str", "choices": ["busybox", "python"], "default": "busybox"},
}
ALLOWED_HOSTS = {"all_ip": {"type": "bool"}, "ip_address": TEXTS, "ip_network": TEXTS}
RULE = {
    "name": {"type": "str", "required": True},
    "enabled": {"type": "bool"},
    "allowed_hosts": {"type": "dict", "options": ALLOWED_HOSTS},
}
DISK = {
    "first": TEXTS,
    "name": {"type": "str"},
    "overwrite_vmfs": FLAG,
    "preserve_vmfs": FLAG,
    "no_vmfs_on_disk": FLAG,
    "overwrite_vsan": FLAG,
    "ignore_ssd": FLAG,
    "system_disk": {"type": "str"},
    "repartition_system_disk": FLAG,
    "dpu_pci_slots": {"type": "list", "elements": "int"},
    "force_unsupported_install": FLAG,
}
# For all hosts, or for one.
EACH = {
    "installation": {"type": "str", "choices": ["install", "upgrade", "installorupgrade"]},
    "disk": {"type": "dict", "options": DISK},
    "clear_partitions": {
        "type": "dict",
        "options": {"drives": TEXTS, "except_drives": TEXTS, "all_drives": FLAG, "overwrite_vmfs": FLAG},
    },
    "bootproto": {"type": "str", "choices": ["dhcp", "static"]},
    "netmask": {"type": "str"},
    "gateway": {"type": "str"},
    "nameservers": TEXTS,
    "vlan": {"type": "int"},
    "device": {"type": "str"},
    "vm_port_group": {"type": "bool"},
    "keyboard": {"type": "str", "no_log": False},
    "root_password_hash": {"type": "str", "no_log": True},
    "license_key": {"type": "str", "no_log": True},
    "license_key_in_file": {"type": "bool", "no_log": False},
    "reboot": {"type": "bool"},
    "eject": {"type": "bool"},
    "dry_run": {"type": "bool"},
    "paranoid": {"type": "bool"},
    "secure_boot": {"type": "bool"},
    "ntp_servers": TEXTS,
    "rules": {"type": "list", "elements": "dict", "options": RULE},
    "acceptance_level": {"type": "str", "choices": ["vmware_certified", "vmware_accepted", "partner", "community"]},
    "ssh": {"type": "str", "choices": ["enabled", "disabled"]},
    "first_boot": TEXTS,
    "pre": {"type": "dict", "options": SCRIPT},
    "post": {"type": "dict", "options": {**SCRIPT, "timeout": {"type": "int"}, "ignore_failure": {"type": "bool"}}},
    "system_media_size": {"type": "str", "choices": ["min", "small", "default", "max"]},
    "os_data_size": {"type": "int"},
    "allow_legacy_cpu": {"type": "bool"},
}
HOST = {
    "name": {"type": "str", "required": True},
    "fqdn": {"type": "str"},
    "mac": {"type": "str"},
    "serial": {"type": "str"},
    "address": {"type": "str"},
    **EACH,
}
OPTIONS = {
    "dest": {"type": "path", "required": True},
    "mode": {"type": "str", "choices": ["0600", "0640"], "default": "0600"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "release": {"type": "str", "choices": ["7.0", "8.0", "9.0", "9.1"]},
    "medium": {"type": "str", "choices": ["http", "pxe", "usb"], "required": True},
    "accept_eula": {"type": "bool"},
    "installer_boot_cfg": {"type": "path"},
    "prefix": {"type": "str"},
    "ks_url": {"type": "str"},
    "title": {"type": "str", "default": "ESXi installer"},
    "boot_network": {"type": "str", "choices": ["dhcp", "static"], "default": "dhcp"},
    "boot_device": {"type": "str", "choices": ["netdevice", "bootif"], "default": "netdevice"},
    "bios": {"type": "bool", "default": False},
    "hosts": {"type": "list", "elements": "dict", "required": True, "options": HOST},
    **EACH,
}


def main() -> None:
    run_task(OPTIONS, kickstart.work, missing=kickstart.MISSING)


if __name__ == "__main__":
    main()
