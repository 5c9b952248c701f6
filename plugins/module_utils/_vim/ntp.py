# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time of ESXi hosts, between vSphere's objects and plain values. Private to this collection."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from typing import Any

from .._client.clock import SERVICE, offset
from .._client.fanout import fan_out
from .._client.inventory import Target
from .._client.properties import Row
from .._client.session import Session
from .._client.vmomi import Ref, vim
from .._domain.errors import FleetcareError
from .._domain.ntp import (
    Clock,
    ConfigureTime,
    OpenNtpClient,
    Ptp,
    PtpPort,
    Ruleset,
    Service,
    SetNtpdPolicy,
    StartNtpd,
    State,
    StepClock,
    StopNtpd,
    Wanted,
)
from .._domain.plan import Change

_TIME = "configManager.dateTimeSystem"
_SERVICES = "configManager.serviceSystem"
_FIREWALL = "configManager.firewallSystem"
_TIME_INFO = f"{_TIME}/dateTimeInfo"
_NTPD = f'{_SERVICES}/serviceInfo.service["ntpd"]'
_NTP_CLIENT = f'{_FIREWALL}/firewallInfo.ruleset["ntpClient"]'
PROPERTIES = (
    "config.product.version",
    "capability.timeConfigSupported",
    "capability.ptpConfigSupported",
    "capability.maxSupportedPtpPorts",
    _TIME_INFO,
    _NTPD,
    _NTP_CLIENT,
)
SHRINK: dict[str, Any] = {}
PROBES = ("TestTimeService",)
GAVE_UP = "esx.problem.ntpd.clock.correction.error"
# An older event says nothing of why the service is down today.
_GAVE_UP_COUNTS = datetime.timedelta(hours=24)


def properties(wanted: Wanted) -> Sequence[str]:
    return PROPERTIES


def measure(session: Session, rows: Mapping[Target, Row], wanted: Wanted, parallel: int) -> dict[Any, Any]:
    """What properties do not tell: clocks, the hosts' own tests, ntpd's reason for being down.

    Keyed by target; under None, what concerns vCenter.
    """
    found: dict[Any, Any] = {target: {} for target in rows}
    if wanted.max_skew is not None:
        enough = wanted.max_skew / 10
        if session.is_vcenter:
            found[None] = {"clock": Clock(*offset(session, SERVICE, "CurrentTime", samples=wanted.samples, enough=enough))}

        def clock(target: Target) -> Clock:
            return Clock(*offset(session, rows[target].values[_TIME], "QueryDateTime", samples=wanted.samples, enough=enough))

        for target, clock_or_error in fan_out(rows, clock, parallel=parallel, guard=session.guard).items():
            found[target]["clock"] = clock_or_error
    if wanted.test_servers:
        able = [target for target, row in rows.items() if row.values.get("capability.timeConfigSupported")]

        def test(target: Target) -> Any:
            return session.probe(rows[target].values[_TIME], "TestTimeService")

        for target, result in fan_out(able, test, parallel=parallel, guard=session.guard).items():
            found[target]["test"] = result
    down = {target.ref: target for target, row in rows.items() if not _service(row).get("running")}
    for event in _events(session) if down else ():
        stopped = down.get(Ref("HostSystem", event.host.host._moId)) if event.host else None
        if stopped is not None:
            found[stopped]["gave_up"] = event.createdTime
    return found


def _events(session: Session) -> list[Any]:
    manager = session.manager("eventManager")
    if manager is None:
        return []
    try:
        since = datetime.datetime.now(datetime.timezone.utc) - _GAVE_UP_COUNTS
        by_time = vim.event.EventFilterSpec.ByTime(beginTime=since)
        return session.read(manager, "QueryEvents", filter=vim.event.EventFilterSpec(eventTypeId=[GAVE_UP], time=by_time)) or []
    except FleetcareError:
        return []  # Evidence for a better hint, nothing more: a user who may not read events still gets a repair.


def observe(row: Row, extra: Mapping[str, Any]) -> State:
    values = row.values
    time_info = values.get(_TIME_INFO) or {}
    service = _service(row)
    ruleset = values.get(_NTP_CLIENT)
    clock = extra.get("clock")
    test = extra.get("test")
    return State(
        version=values.get("config.product.version", ""),
        servers=tuple(" ".join(entry.split()) for entry in (time_info.get("ntpConfig") or {}).get("server", ())),
        time_config=bool(values.get("capability.timeConfigSupported")),
        protocol=time_info.get("systemClockProtocol"),
        enabled=time_info.get("enabled"),
        ptp=_ptp(time_info.get("ptpConfig")),
        ptp_ports=values.get("capability.maxSupportedPtpPorts", 0) if values.get("capability.ptpConfigSupported") else 0,
        fallback=None if time_info.get("disableFallback") is None else not time_info["disableFallback"],
        in_fallback=time_info.get("inFallbackState"),
        synced=time_info.get("serviceSync"),
        last_sync=time_info.get("lastSyncTime"),
        remote_server=time_info.get("remoteNtpServer"),
        service=Service(service["running"], service["policy"]) if service else None,
        ruleset=None if ruleset is None else _ruleset(ruleset),
        clock=clock if isinstance(clock, Clock) else None,
        clock_error=clock.sentence if isinstance(clock, FleetcareError) else None,
        gave_up=_newer(extra.get("gave_up"), time_info.get("lastSyncTime")),
        working=None if test is None or isinstance(test, FleetcareError) else bool(test.workingNormally),
        test_report=tuple(getattr(test, "report", None) or ()),
        test_error=test.sentence if isinstance(test, FleetcareError) else None,
    )


def _newer(event: datetime.datetime | None, sync: datetime.datetime | None) -> datetime.datetime | None:
    return event if event and (sync is None or event > sync) else None


def _service(row: Row) -> dict[str, Any]:
    return row.values.get(_NTPD) or {}


def _ruleset(ruleset: Mapping[str, Any]) -> Ruleset:
    allowed = ruleset.get("allowedHosts") or {"allIp": True}
    networks = [f"{item['network']}/{item['prefixLength']}" for item in allowed.get("ipNetwork", ())]
    return Ruleset(
        enabled=ruleset["enabled"],
        controllable=ruleset.get("userControllable"),
        all_ip=allowed["allIp"],
        allowed=(*allowed.get("ipAddress", ()), *networks),
    )


def _ptp(config: Mapping[str, Any] | None) -> Ptp | None:
    if not config:
        return None
    ports = []
    for port in config.get("port", ()):
        address = port.get("ipConfig") or {}
        ports.append(
            PtpPort(
                port["index"],
                port.get("deviceType") or "none",
                port.get("device"),
                address.get("dhcp"),
                address.get("ipAddress"),
                address.get("subnetMask"),
            )
        )
    return Ptp(config.get("domain"), tuple(ports))


def apply(session: Session, target: Target, row: Row, change: Change) -> None:
    times = row.values[_TIME]
    services = row.values[_SERVICES]
    if isinstance(change, ConfigureTime):
        session.write(target.path, times, "UpdateDateTimeConfig", config=_config(change))
    elif isinstance(change, StepClock):
        shift = change.shift

        def now() -> datetime.datetime:
            return datetime.datetime.fromtimestamp(time.time() + shift, datetime.timezone.utc)

        session.write(target.path, times, "UpdateDateTime", dateTime=now)
    elif isinstance(change, OpenNtpClient):
        session.write(target.path, row.values[_FIREWALL], "EnableRuleset", id="ntpClient")
    elif isinstance(change, SetNtpdPolicy):
        session.write(target.path, services, "UpdateServicePolicy", id="ntpd", policy=change.policy)
    elif isinstance(change, StartNtpd):
        session.write(target.path, services, "StartService", id="ntpd")
    elif isinstance(change, StopNtpd):
        session.write(target.path, services, "StopService", id="ntpd")
    else:
        raise TypeError(f"{type(change).__name__} is not a change of this feature")


def _config(change: ConfigureTime) -> Any:
    config = vim.host.DateTimeConfig()
    if change.servers is not None:
        # pyVmomi drops an empty list from the wire, and an NtpConfig without servers resets the host's list.
        if not change.servers:
            raise ValueError("an empty list of servers must never be sent")
        config.ntpConfig = vim.host.NtpConfig(server=list(change.servers))
    if change.protocol is not None:
        config.protocol = change.protocol
    if change.enabled is not None:
        config.enabled = change.enabled
    if change.fallback is not None:
        config.disableFallback = not change.fallback
    if change.ptp is not None:
        config.ptpConfig = vim.host.PtpConfig(domain=change.ptp.domain, port=[_port(port) for port in change.ptp.ports])
    return config


def _port(port: PtpPort) -> Any:
    made = vim.host.PtpConfig.PtpPort(index=port.index, deviceType=port.device_type, device=port.device)
    if port.dhcp is not None or port.ip_address:
        made.ipConfig = vim.host.IpConfig(dhcp=bool(port.dhcp), ipAddress=port.ip_address, subnetMask=port.subnet_mask)
    return made
