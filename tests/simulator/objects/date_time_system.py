# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HostDateTimeSystem: what the time settings are, what the clock says, and what a change does. Facts: facts.md 2.1 to 2.4."""

from __future__ import annotations

import datetime
import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from ..errors import SoapFault
from ..host import Host, server_name
from ..plain import data
from ..registry import Call, operation, prop
from ..state import TimeState
from ..xmlwrite import frozen
from .host_part import HostPart

if TYPE_CHECKING:
    from .host_system import HostSystem

# The captured host knows only UTC (ESXi shows it so); a few more for clients that look one up. Key, name, description, offset in seconds.
TIME_ZONES = (
    ("UTC", "UTC", "UTC", 0),
    ("Europe/Berlin", "CET", "Europe/Berlin", 3600),
    ("America/New_York", "EST", "America/New_York", -18000),
    ("Asia/Tokyo", "JST", "Asia/Tokyo", 32400),
)
_FIXED_COMMANDS = ("restrict", "drift", "driftfile")  # "will be ignored as they are set to fixed defaults" (API text)


@functools.cache
def _zone(key: str) -> Any:
    row = next(zone for zone in TIME_ZONES if zone[0] == key)
    return frozen(data("vim.host.DateTimeSystem.TimeZone", key=row[0], name=row[1], description=row[2], gmtOffset=row[3]))


@functools.cache
def _ntp_config(servers: tuple[str, ...], extra: tuple[str, ...], defaults: tuple[str, ...]) -> Any:
    lines = [*defaults, *extra, *(f"server {entry}" for entry in servers)]
    return frozen(vim.host.NtpConfig(server=list(servers), configFile=lines))


@functools.cache
def _ptp_config(domain: int, ports: tuple[tuple[int, str | None, str | None, str | None], ...]) -> Any:
    rows = []
    for index, kind, device, address in ports:
        row: dict[str, Any] = {"index": index, "deviceType": kind, "device": device}
        if address is not None:
            row["ipConfig"] = {"dhcp": False, "ipAddress": address}
        rows.append(row)
    return frozen(data("vim.host.PtpConfig", {"domain": domain, "port": rows}))


def _duration(seconds: float) -> str:
    """Durations are texts on the wire; the captured ones even held an untranslated key, so clients must not parse them."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return "less than a minute"
    days, rest = divmod(minutes, 1440)
    hours, minutes = divmod(rest, 60)
    parts = [f"{value} {unit}{'s' if value != 1 else ''}" for value, unit in ((days, "day"), (hours, "hour"), (minutes, "minute")) if value]
    return ", ".join(parts)


def host_time(host: Host) -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=host.clock_offset())


def date_time_info(owner: HostSystem) -> Any:
    """HostDateTimeInfo, made anew only when something in it differs (the run times count in minutes)."""
    host = owner.state
    host.settle()
    now = host.world.virtual_now()
    clock = host.clock
    polled = clock.polled(now)
    stamp = (
        host.time,
        clock.source,
        clock.synced_at is not None,
        polled,
        host.in_fallback,
        host.is_running("ntpd") and int((now - host.ntpd_started) // 60),
        host.is_running("ptpd") and int((now - host.ptpd_started) // 60),
    )
    return owner.cached("time", stamp, lambda: _info(host, host.time, now, polled))


def _info(host: Host, settings: TimeState, now: float, polled: float | None) -> Any:
    made: Any = vim.host.DateTimeInfo(
        timeZone=_zone(settings.time_zone),
        ntpConfig=_ntp_config(settings.servers, settings.extra, tuple(host.profile.time["config_file"])),
        systemClockProtocol=settings.protocol,
    )
    if not host.profile.has_time_service:
        return frozen(made)
    clock = host.clock
    synced = clock.synced_at is not None and clock.source is not None
    made.ptpConfig = _ptp_config(settings.ptp_domain, settings.ptp_ports)
    made.enabled = settings.enabled
    made.disableEvents = settings.disable_events
    made.disableFallback = settings.disable_fallback
    if not settings.disable_fallback:
        made.inFallbackState = host.in_fallback  # only there when fallback is allowed (facts.md 2.1)
    made.serviceSync = synced
    if polled is not None:
        seconds = clock.offset_at(now) - (now - polled)
        made.lastSyncTime = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    if synced and clock.source is not None and clock.source.kind == "ntp":
        made.remoteNtpServer = clock.source.name
    # Seconds or minutes? The capture shows 0 next to "less than a minute"; whole minutes in seconds fit both readings.
    if host.is_running("ntpd"):
        made.ntpRunTime = max(0, int((now - host.ntpd_started) // 60) * 60)
        made.ntpDuration = _duration(now - host.ntpd_started)
    if host.is_running("ptpd"):
        made.ptpRunTime = max(0, int((now - host.ptpd_started) // 60) * 60)
        made.ptpDuration = _duration(now - host.ptpd_started)
    return frozen(made)


def _entry(text: str) -> str:
    """A server entry as the host keeps it: ntp.conf options stay, a comment after '#' goes (API text)."""
    return " ".join(text.split("#", 1)[0].split())


def _ntp_settings(old: TimeState, config: Any) -> TimeState:
    """What HostNtpConfig does. With neither server nor configFile it RESETS the servers (API text, facts.md 0.4)."""
    servers = [entry for entry in (_entry(str(text)) for text in config.server) if entry]
    extra: list[str] = list(old.extra)
    if config.configFile:
        extra, listed = [], []
        for raw in config.configFile:
            line = str(raw).strip()
            words = line.split()
            if not words or words[0] in _FIXED_COMMANDS:
                continue
            if words[0] == "server" and len(words) > 1:
                entry = _entry(line.split(None, 1)[1])
                if entry:
                    listed.append(entry)
            elif words[0] != "logconfig":
                extra.append(line)
        # Both given: the list of servers is the more specific one. Not documented.
        servers = servers or listed
    return replace(old, servers=tuple(servers), extra=tuple(extra))


class HostDateTimeSystem(HostPart):
    TYPE = vim.host.DateTimeSystem

    @prop
    def dateTimeInfo(self) -> Any:
        return self.owner.date_time_info()

    @operation(privilege="Host.Config.DateTime", writes=True, needs_host=True)
    def UpdateDateTimeConfig(self, call: Call, config: Any) -> None:
        state = self.state
        new = state.time
        if state.profile.has_time_service and config.resetToFactoryDefaults:
            # The reset is scoped by protocol and runs before the rest of the same spec (API text).
            new = self._factory(new, config.protocol or new.protocol)
        if config.timeZone is not None:
            if config.timeZone not in {row[0] for row in TIME_ZONES}:
                raise SoapFault(
                    "InvalidArgument",
                    f"A specified parameter was not correct: config.timeZone {config.timeZone}",
                    invalidProperty="config.timeZone",
                )
            new = replace(new, time_zone=str(config.timeZone))
        if config.ntpConfig is not None:
            new = _ntp_settings(new, config.ntpConfig)
        if state.profile.has_time_service:
            new = self._time_service(new, config)
        with state.changing():
            # `enabled: true` said in so many words also starts a daemon that had given up (inference from "starts/stops the time services").
            state.apply_time(new, align=config.enabled is not None)

    def _factory(self, old: TimeState, protocol: str) -> TimeState:
        if protocol == "ptp":
            return replace(old, ptp_domain=0, ptp_ports=TimeState().ptp_ports, disable_fallback=True)
        return replace(old, servers=(), extra=())

    def _time_service(self, old: TimeState, config: Any) -> TimeState:
        """The fields of API 7.0.3.0; an older host ignores them because they do not exist in its API."""
        new = old
        if config.protocol is not None:
            if config.protocol not in ("ntp", "ptp"):
                raise SoapFault(
                    "InvalidArgument",
                    f"A specified parameter was not correct: config.protocol {config.protocol}",
                    invalidProperty="config.protocol",
                )
            new = replace(new, protocol=str(config.protocol))
        if config.ptpConfig is not None:
            new = self._ptp(new, config.ptpConfig)
        if config.enabled is not None:
            new = replace(new, enabled=bool(config.enabled))
        if config.disableEvents is not None:
            new = replace(new, disable_events=bool(config.disableEvents))
        if config.disableFallback is not None:
            new = replace(new, disable_fallback=bool(config.disableFallback))
        return new

    def _ptp(self, old: TimeState, config: Any) -> TimeState:
        limit = int(self.state.profile.capability.get("maxSupportedPtpPorts", 1))
        if config.domain is not None and not 0 <= config.domain <= 255:
            raise SoapFault("HostConfigFault", f"PTP domain {config.domain} is out of range 0-255.")
        ports = {port[0]: port for port in old.ptp_ports}
        for port in config.port:
            if not 0 <= port.index < limit:
                raise SoapFault("HostConfigFault", f"PTP port index {port.index} is out of range: this host supports {limit} port(s).")
            address = port.ipConfig.ipAddress if port.ipConfig is not None else None
            ports[int(port.index)] = (int(port.index), port.deviceType, port.device, address)
        domain = old.ptp_domain if config.domain is None else int(config.domain)
        return replace(old, ptp_domain=domain, ptp_ports=tuple(ports[index] for index in sorted(ports)))

    @operation(privilege="System.Read", needs_host=True)
    def QueryDateTime(self, call: Call) -> datetime.datetime:
        return host_time(self.state)

    @operation(privilege="Host.Config.DateTime", writes=True, needs_host=True)
    def UpdateDateTime(self, call: Call, dateTime: datetime.datetime) -> None:
        state = self.state
        if dateTime.tzinfo is None:
            dateTime = dateTime.replace(tzinfo=datetime.timezone.utc)
        offset = (dateTime - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
        with state.changing():
            state.clock.set(self.world.virtual_now(), offset)

    @operation(privilege="Host.Config.DateTime", writes=True, needs_host=True)
    def RefreshDateTimeSystem(self, call: Call) -> None:
        self.world.touch()

    @operation(privilege="System.Read", needs_host=True)
    def QueryAvailableTimeZones(self, call: Call) -> Any:
        return [_zone(row[0]) for row in TIME_ZONES]

    # Not a write although it needs a configuration privilege: a probe, it changes nothing.
    @operation(privilege="Host.Config.DateTime", needs_host=True)
    def TestTimeService(self, call: Call) -> Any:
        state = self.state
        state.settle()
        report, good = [], False
        settings = state.time
        daemon = "ptpd" if settings.protocol == "ptp" else "ntpd"
        if not settings.enabled:
            report.append("Time service is not enabled.")
        if not state.is_running(daemon) and not state.in_fallback:
            report.append(f"Service {daemon} is not running.")
        if settings.protocol == "ptp":
            report.append("PTP grandmaster is answering." if state.grandmaster else "No PTP grandmaster was found.")
            good = state.grandmaster
        if settings.protocol == "ntp" or state.in_fallback:
            if not settings.servers:
                report.append("No NTP servers are configured.")
            for entry in settings.servers:
                answers = state.answer(entry) is not None
                report.append(f"NTP server {server_name(entry)}: {'responded' if answers else 'did not respond'}.")
                good = good or answers
        good = good and settings.enabled and (state.is_running(daemon) or state.in_fallback)
        if not good:
            report.append("Time service is not working normally.")
        return vim.host.DateTimeSystem.ServiceTestResult(workingNormally=good, report=report)
