# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""esxcli system and hardware trustedboot: what guards a host's image. Commands and printed fields after vSphere Security (8.0: "Enable or
Disable the Secure Boot Enforcement", "... execInstalledOnly Enforcement", 7.0 U2 and later); over SOAP names lose their spaces."""

from __future__ import annotations

from typing import Any

from ..software import EXEC_OPTION
from .esxcli import NAMESPACES, CliFault, Parameter, command

NAMESPACES["system.version"] = "Commands to get version information."
NAMESPACES["system.hostname"] = "Operations pertaining the network name of the ESX host."
NAMESPACES["system.settings.encryption"] = "Encryption settings of the system configuration"
NAMESPACES["system.settings.kernel"] = "The VMkernel settings"
NAMESPACES["hardware.trustedboot"] = "Trusted boot status"


@command("system.version.get", kind="SystemVersion", help="Display the product name, version and build information.")
def version(item: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    profile = item.state.profile
    update, _dot, patch = profile.patch_level.partition(".")
    return {
        "Build": f"Releasebuild-{profile.build}",
        "Patch": patch or "0",
        "Product": "VMware ESXi",
        "Update": update,
        "Version": profile.version,
    }


@command("system.hostname.get", kind="FullyQualifiedHostName", help="Get the host, domain or fully qualified name of the ESX host.")
def hostname(item: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    name, _dot, domain = item.state.name.partition(".")
    return {"DomainName": domain, "FullyQualifiedDomainName": item.state.name, "HostName": name}


@command("system.settings.encryption.get", kind="EncryptionSettings", since="7.0.2.0", help="Get the encryption settings of the system.")
def encryption(item: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    host = item.state
    return {
        "Mode": host.tpm.get("mode", "TPM") if host.tpm else "NONE",
        "RequireExecutablesOnlyFromInstalledVIBs": host.require_exec_installed_only,
        "RequireSecureBoot": host.require_secure_boot,
    }


@command(
    "system.settings.encryption.set",
    since="7.0.2.0",
    parameters=[
        Parameter("mode", "--mode", "-m", help="NONE or TPM.", choices=("NONE", "TPM")),
        Parameter(
            "requireexecinstalledonly",
            "--require-exec-installed-only",
            "-e",
            help="Require executables only from installed VIBs.",
            boolean=True,
        ),
        Parameter("requiresecureboot", "--require-secure-boot", "-s", help="Require UEFI Secure Boot.", boolean=True),
    ],
    writes=True,
    help="Set the encryption settings of the system.",
)
def encryption_set(item: Any, arguments: dict[str, Any]) -> bool:
    host = item.state
    if not host.tpm:
        raise CliFault("Unable to change the encryption mode and policy. A TPM is not present.")
    with host.changing():
        if "mode" in arguments:
            host.tpm = {**host.tpm, "mode": arguments["mode"]}
        host.require_secure_boot = arguments.get("requiresecureboot", host.require_secure_boot)
        host.require_exec_installed_only = arguments.get("requireexecinstalledonly", host.require_exec_installed_only)
    return True


@command(
    "system.settings.kernel.list",
    kind="Setting",
    parameters=[
        Parameter("delta", "--delta", "-d", help="Only display options whose values differ.", flag=True),
        Parameter("option", "--option", "-o", help="Only get the information for a single VMkernel setting."),
    ],
    help="List VMkernel kernel settings.",
)
def kernel(item: Any, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    host = item.state
    wanted = arguments.get("option")
    if wanted not in (None, "", "execinstalledonly", "execInstalledOnly"):
        raise CliFault(f"Unable to find kernel setting: {wanted}")
    row = {
        "Configured": str(bool(host.advanced.get(EXEC_OPTION, False))).upper(),
        "Default": "FALSE",
        "Description": "Execute only VIB installed files",
        "Name": "execInstalledOnly",
        "Runtime": str(host.exec_installed_only).upper(),
        "Type": "Bool",
    }
    return [] if arguments.get("delta") and row["Configured"] == row["Default"] else [row]


@command("hardware.trustedboot.get", kind="TrustedbootStatus", help="Display trusted boot status.")
def trusted_boot(item: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"DrtmEnabled": False, "TpmPresent": bool(item.state.tpm) or item.state.crypto.tpm}
