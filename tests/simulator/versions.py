# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""API versions: which a client asks for, which a product speaks, and the smaller of two."""

from __future__ import annotations

from dataclasses import dataclass

from pyVmomi.VmomiSupport import IsChildVersion, versionMap

# Newest first, as vCenter 8.0.3 lists them in /sdk/vimServiceVersions.xml (pyVmomi fixtures), with what pyVmomi 9.1 knows on top.
_NAMES = (
    "9.1.1.0", "9.1.0.0", "9.0.0.0", "8.0.3.1", "8.0.3.0", "8.0.2.0", "8.0.1.0", "8.0.0.2", "8.0.0.1", "8.0.0.0",
    "7.0.3.2", "7.0.3.1", "7.0.3.0", "7.0.2.1", "7.0.2.0", "7.0.1.1", "7.0.1.0", "7.0.0.2", "7.0.0.0", "6.9.1", "6.8.7",
    "6.7.3", "6.7.2", "6.7.1", "6.7", "6.5", "6.0", "5.5", "5.1", "5.0", "4.1", "4.0",
)  # fmt: skip


@dataclass(frozen=True)
class Api:
    """One API version: its wire name ("8.0.3.0"), pyVmomi's name for it, and its age rank (0 = newest)."""

    name: str
    version: str
    rank: int

    def has(self, since: str) -> bool:
        """Whether a type, field or method that came with pyVmomi version `since` exists here."""
        return IsChildVersion(self.version, since)


APIS = {name: Api(name, versionMap["vim25/" + name], rank) for rank, name in enumerate(_NAMES) if "vim25/" + name in versionMap}
OLDEST = max(APIS.values(), key=lambda api: api.rank)


def older(one: Api, two: Api) -> Api:
    return one if one.rank >= two.rank else two


def at_least(api: Api, name: str) -> bool:
    return api.rank <= APIS[name].rank


def negotiate(soap_action: str | None, server: Api) -> Api:
    """The version of the reply: what SOAPAction names, never newer than the server.

    No SOAPAction means the server's oldest (facts.md 5.1). A name nobody knows (internal builds announce "uA046D008") is taken as newest.
    """
    if not soap_action:
        return OLDEST
    name = soap_action.strip().strip('"').removeprefix("urn:vim25").removeprefix("/")
    if not name:
        return OLDEST
    return older(APIS.get(name, server), server)


def service_versions(server: Api) -> str:
    """The body of /sdk/vimServiceVersions.xml, from which pyVmomi and govc pick the newest version they know."""
    names = [api.name for api in sorted(APIS.values(), key=lambda api: api.rank) if api.rank >= server.rank]
    prior = "".join(f"<version>{name}</version>" for name in names[1:])
    return (
        '<?xml version="1.0" encoding="UTF-8" ?>\n<namespaces version="1.0"><namespace><name>urn:vim25</name>'
        f"<version>{names[0]}</version><priorVersions>{prior}</priorVersions></namespace></namespaces>"
    )
