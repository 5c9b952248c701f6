# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state dump: everything that matters of every host, in a form that two dumps can be compared by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import software
from .crypto import host_dump
from .objects import certificate_manager, datastore_files
from .ways import HEARTBEAT, HTTPS

if TYPE_CHECKING:
    from .world import World


def snapshot(world: World) -> dict[str, Any]:
    """Times are in virtual seconds since the scenario began ("before start" where a daemon worked before it): real dates would differ
    from run to run and make every comparison fail."""
    return {
        "kind": world.kind,
        "name": world.name,
        "api": world.api.name,
        "address": world.address if world.kind == "vcenter" else None,
        "client_address": world.client_address,
        "clock_offset": round(world.server_offset, 3),
        "time_servers": {name: dict(row) for name, row in sorted(world.time_servers.items())},
        "licenses": world.licenses.dump(),
        "license": world.licenses.told(world.licenses.own()) if world.kind == "vcenter" else None,
        "vsan_licenses": {
            f"{one.name} ({one.id})": world.licenses.told(one) for one in world.licenses.holders.values() if one.kind == "cluster"
        },
        "crypto": world.crypto.dump(),
        "datastores": datastore_files.dump(world),
        "hosts": {_unique(item, world): _host(item) for item in world.hosts},
    }


def _unique(item: Any, world: World) -> str:
    """A host's name, or name and id where several have the same."""
    same = sum(other.state.name == item.state.name for other in world.hosts) if len(world.hosts) < 200 else 1
    return item.state.name if same == 1 else f"{item.state.name} ({item.moid})"


def _host(item: Any) -> dict[str, Any]:
    host = item.state
    offset = host.clock_offset()
    now = host.world.virtual_now()
    clock = host.clock
    synced = clock.synced_at is not None
    last = clock.polled(now)
    settings = host.time
    return {
        "moid": item.moid,
        "uuid": host.uuid,
        "profile": host.profile.name,
        "connection": host.connection,
        "maintenance": host.maintenance,
        "powered_on": host.powered_on,
        "boots": host.boots,
        "reboot_required": host.reboot_required,
        "clock_offset": round(offset, 3),
        "drift_ppm": clock.drift_ppm,
        "synced": synced,
        "source": clock.source.name if synced and clock.source is not None else None,
        "last_sync": None if last is None else ("before start" if last < 0 else "since start"),
        "in_fallback": host.in_fallback,
        "time": {
            "time_zone": settings.time_zone,
            "servers": list(settings.servers),
            "active_servers": list(host.active_servers),
            "config": list(settings.extra),
            "protocol": settings.protocol,
            "enabled": settings.enabled if host.profile.has_time_service else None,
            "disable_events": settings.disable_events,
            "disable_fallback": settings.disable_fallback,
            "ptp_domain": settings.ptp_domain,
            "ptp_ports": [list(port) for port in settings.ptp_ports],
            "ptp_grandmaster": "reachable" if host.grandmaster else "gone",
        },
        "services": {key: {"running": state.running, "policy": state.policy} for key, state in sorted(host.services.items())},
        "rulesets": {
            key: {
                "enabled": state.enabled,
                "all_ip": state.all_ip,
                "ip_address": list(state.ip_address),
                "ip_network": [f"{network}/{prefix}" for network, prefix in state.ip_network],
            }
            for key, state in sorted(host.rulesets.items())
        },
        "default_policy": {"incoming_blocked": host.incoming_blocked, "outgoing_blocked": host.outgoing_blocked},
        "lets_vcenter_in": host.lets_in_from("tcp", HTTPS, host.managed_by) if host.managed_by else None,
        "lets_heartbeats_out": host.lets_out_to("udp", HEARTBEAT, host.managed_by) if host.managed_by else None,
        "managed_by": host.managed_by,
        "dns": list(host.dns),
        "dhcp": host.dhcp,
        "nfs": [{"server": mount.server, "address": mount.address, "version": mount.version} for mount in host.nfs],
        "iscsi": [{"address": address, "port": port} for address, port in host.iscsi],
        "vsan": host.vsan,
        "advanced": dict(sorted(host.advanced.items())),
        "vms": len(item.machines),
        "running_vms": sum(machine.powered_on for machine in item.machines),
        "sockets": host.hardware["packages"],
        "cores": host.hardware["cores"],
        "license": host.world.licenses.told(host.world.licenses.holders[item.moid]),
        "crypto": host_dump(host.crypto),
        "software": software.dump(host),
        "certificate": {
            "days": round(certificate_manager.days_left(host), 1),
            "status": certificate_manager.status(host),
            "issuer": certificate_manager.issuer(host),
            "subject": certificate_manager.subject(host),
        },
    }
