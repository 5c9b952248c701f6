# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which controls of hardening guides a finding touches. Private to this collection."""

from __future__ import annotations

from .audit_profile import Control

_STIG = "DISA STIG, VMware vSphere 8.0 ESXi"
_STIG_SOURCE = "https://github.com/vmware/dod-compliance-and-automation"
_GUIDE = "VMware vSphere 8 Security Configuration Guide"
_GUIDE_SOURCE = "https://github.com/vmware/vcf-security-and-compliance-guidelines"


def _stig(number: str, title: str, *codes: str) -> Control:
    return Control(f"ESXI-80-{number}", _STIG, title, _STIG_SOURCE, frozenset(codes))


def _guide(name: str, title: str, *codes: str) -> Control:
    return Control(f"esxi-8.{name}", _GUIDE, title, _GUIDE_SOURCE, frozenset(codes))


# The ids are those of the guides, the titles are ours. A code stands where the guide's own check would fail, too; what a
# guide says nothing of has no control.
CONTROLS = (
    _stig(
        "000124",
        "Clocks are synchronised with an authoritative source, by a service that starts with the host",
        *("ntp_no_servers", "ntpd_stopped", "ntpd_gave_up", "ntpd_missing", "ntp_policy_off", "ntp_unsynced", "ntp_never_synced"),
        *("ntp_wrong_server", "ntp_last_server"),
    ),
    _stig("000133", "The acceptance level is partner supported or stricter", "acceptance_community", "acceptance_vib_below"),
    _stig("000214", "The firewall blocks what no rule admits", "policy_open"),
    _stig("000239", "The firewall admits services from named networks only", "list_open_to_all", "wide_ruleset_open", "port_wide_open"),
    _guide(
        "timekeeping-services",
        "The time service runs and starts with the host",
        "ntpd_stopped",
        "ntp_policy_off",
        "ntpd_gave_up",
        "ntpd_missing",
    ),
    _guide("timekeeping-sources", "Time sources are named", "ntp_no_servers", "ntp_last_server"),
    _guide("firewall-incoming-default", "The firewall blocks incoming traffic by default", "policy_open"),
    _guide("firewall-restrict-access", "The firewall admits authorised networks only", "list_open_to_all", "wide_ruleset_open"),
)
