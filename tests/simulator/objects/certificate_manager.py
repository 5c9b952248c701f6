# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HostCertificateManager: what a host's own certificate says. The certificate itself and its private key do not exist here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from ..license import DAY
from ..plain import data
from ..registry import Call, operation, prop
from ..xmlwrite import frozen
from .host_part import HostPart

if TYPE_CHECKING:
    from ..host import Host

DAYS = 4 * 365
LIFE = 5 * 365  # VMCA gives a host five years
# Days left below which a status counts; the API's texts speak of eight, six and two months (memory).
_STATUS = ((0, "expired"), (60, "expirationImminent"), (180, "expiringShortly"), (240, "expiring"))


def days_left(host: Host) -> float:
    return float(host.certificate.get("days", DAYS)) - (host.world.virtual_now() - host.certificate.get("since", 0.0)) / DAY


def status(host: Host) -> str:
    """As the scenario says, else by the days that are left."""
    said = host.certificate.get("status")
    left = days_left(host)
    return said or next((name for days, name in _STATUS if left <= days), "good")


def issuer(host: Host) -> str:
    """VMCA's name below a vCenter, the installer's on a host of its own."""
    own = "O=VMware Installer"
    vmca = f"OU=VMware Engineering,O={host.world.name},ST=California,C=US,DC=local,DC=vsphere,CN=CA"
    return host.certificate.get("issuer") or (vmca if host.world.kind == "vcenter" else own)


def subject(host: Host) -> str:
    return host.certificate.get("subject") or (
        f"emailAddress=vmca@vmware.com,CN={host.name},OU=VMware Engineering,O=VMware,L=Palo Alto,ST=California,C=US"
    )


class HostCertificateManager(HostPart):
    TYPE = vim.host.CertificateManager

    @operation(privilege="Certificate.Manage", needs_host=True)
    def RetrieveCertificateInfoList(self, call: Call) -> Any:
        """Of all the host's certificates, from API 8.0.1 on (facts.md 5.2); here there is the machine's only."""
        return [self.certificateInfo()]

    @prop
    def certificateInfo(self) -> Any:
        host = self.state
        ends = float(host.certificate.get("days", DAYS)) * DAY + host.certificate.get("since", 0.0)
        values = {
            "kind": "Machine",
            "issuer": issuer(host),
            "notBefore": self.world.date_at(ends - max(LIFE * DAY, ends + DAY)),
            "notAfter": self.world.date_at(ends),
            "subject": subject(host),
            "status": status(host),
        }
        return self.owner.cached(
            "certificate", tuple(values.values()), lambda: frozen(data("vim.host.CertificateManager.CertificateInfo", values))
        )
