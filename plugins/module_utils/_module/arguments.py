# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that every module has: endpoint, hosts or VMs, and how a run behaves. Private to this collection.

Their documentation is in the doc fragments ``endpoint``, ``hosts`` or ``vms``, ``run`` and, for modules that change something, ``changes``.
"""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import env_fallback

from .feature import Feature

ENDPOINT: dict[str, dict[str, Any]] = {
    "hostname": {"type": "str", "fallback": (env_fallback, ["VMWARE_HOST", "VMWARE_SERVER"])},
    "username": {"type": "str", "aliases": ["user", "admin"], "fallback": (env_fallback, ["VMWARE_USER", "VMWARE_USERNAME"])},
    "password": {
        "type": "str",
        "aliases": ["pass", "pwd"],
        "no_log": True,
        "fallback": (env_fallback, ["VMWARE_PASSWORD"]),
    },
    "port": {"type": "int", "default": 443, "fallback": (env_fallback, ["VMWARE_PORT"])},
    "validate_certs": {"type": "bool", "default": True, "fallback": (env_fallback, ["VMWARE_VALIDATE_CERTS"])},
    "ca_file": {"type": "path", "fallback": (env_fallback, ["VMWARE_CA_FILE"])},
    "thumbprint": {"type": "str", "fallback": (env_fallback, ["VMWARE_THUMBPRINT"])},
    "proxy_host": {"type": "str", "fallback": (env_fallback, ["VMWARE_PROXY_HOST"])},
    "proxy_port": {"type": "int", "fallback": (env_fallback, ["VMWARE_PROXY_PORT"])},
    "connect_timeout": {"type": "float", "default": 10},
    "read_timeout": {"type": "float", "default": 60},
    "session": {
        "type": "str",
        "default": "keep",
        "choices": ["keep", "single", "end"],
        "fallback": (env_fallback, ["VMWARE_SESSION"]),
    },
}

HOSTS: dict[str, dict[str, Any]] = {
    "esxi_hostname": {"type": "list", "elements": "str", "aliases": ["esxi_host_name"]},
    "cluster_name": {"type": "list", "elements": "str", "aliases": ["cluster"]},
    "datacenter": {"type": "list", "elements": "str", "aliases": ["datacenter_name"]},
    "folder": {"type": "list", "elements": "str"},
    "exclude": {"type": "list", "elements": "str"},
    "unknown_hosts": {"type": "str", "default": "stop", "choices": ["stop", "go_on"]},
}

VMS: dict[str, dict[str, Any]] = {
    "vm_name": {"type": "list", "elements": "str", "aliases": ["name"]},
    "vm_moid": {"type": "list", "elements": "str"},
    "skip_missing": {"type": "bool", "default": False},
    **{name: option for name, option in HOSTS.items() if name != "unknown_hosts"},
}

RUN: dict[str, dict[str, Any]] = {
    "parallel": {"type": "int", "default": 16},
    "deadline": {"type": "float", "default": 3600},
    "fail_on": {"type": "str", "choices": ["any", "all", "none"]},
}

CHANGES: dict[str, dict[str, Any]] = {
    "waves": {"type": "list", "elements": "str"},
    "max_failures": {"type": "int"},
    "progress_file": {"type": "path"},
}


def options_of(feature: Feature) -> dict[str, dict[str, Any]]:
    """Everything that a module of this feature takes."""
    targets = {"hosts": HOSTS, "vms": VMS}[feature.targets.key]
    return {**ENDPOINT, **targets, **RUN, **(CHANGES if feature.writes else {}), **feature.options}
