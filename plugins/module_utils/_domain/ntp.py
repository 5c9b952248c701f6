# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time of ESXi hosts: what is wanted, what is wrong, what mends it. Pure. Private to this collection.

Offsets are seconds that a clock is ahead of this control node's; a bound is half of the round trip that measured it.
"""

from __future__ import annotations

import datetime
import functools
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .addresses import kept_by_host, parsed, within
from .errors import BadInput
from .plan import Change, Finding, Meaning, Plan, described, plain

_LABEL = re.compile(r"^(?!-)[a-z0-9_-]{1,63}(?<!-)$")
DEVICE_TYPES = ("none", "virtualNic", "pciPassthruNic")
_PORT_FIELDS = ("device_type", "device", "dhcp", "ip_address", "subnet_mask")
# What ntp.conf knows after the name of a server (ntpd 4.2.8, which HostNtpConfig names).
_NUMBERED_OPTIONS = frozenset("key minpoll maxpoll mode ttl version".split())
_SERVER_OPTIONS = frozenset("autokey burst iburst key minpoll maxpoll mode noselect preempt prefer true ttl version xleave".split())

MEANINGS: dict[str, Meaning] = {
    "clock_skewed": Meaning(
        "error",
        "The host's clock differs from the reference by more than max_skew, beyond the error of the measurement.",
        "With a working NTP source ntpd mends it by and by (wait_for_sync); beyond 1000 s ntpd refuses, then use step: guarded.",
        "measured: QueryDateTime between two readings of this machine's clock",
    ),
    "clock_skew_unclear": Meaning(
        "warning",
        "The measured difference plus its error crosses max_skew, so neither verdict is certain.",
        "Measure from nearer to the host, raise clock_samples, or allow more in max_skew.",
        "measured: QueryDateTime between two readings of this machine's clock",
    ),
    "clock_unmeasured": Meaning(
        "error",
        "The host's clock could not be read, so its skew is not known.",
        "Look at the failure beside it; System.Read on the host is enough for this.",
        "QueryDateTime",
    ),
    "control_node_suspect": Meaning(
        "error",
        "The hosts agree with each other and not with the machine that runs the task.",
        "Check this machine's own clock (timedatectl), or set reference to vcenter or fleet.",
        "comparison of all measured clocks",
    ),
    "vcenter_clock_suspect": Meaning(
        "error",
        "The other clocks agree with each other and not with vCenter.",
        "Check the time settings of the vCenter appliance, or set reference to control_node or fleet.",
        "comparison of all measured clocks; CurrentTime of vCenter",
    ),
    "fleet_disagrees": Meaning(
        "error",
        "The clocks of the fleet have no majority, so their median means nothing.",
        "Set reference to control_node or vcenter, after a look at that clock.",
        "comparison of all measured clocks",
    ),
    "reference_unavailable": Meaning(
        "error",
        "The reference asked for does not exist here.",
        "vcenter needs a vCenter endpoint, fleet at least three measured hosts.",
        "number and kind of the clocks that answered",
    ),
    "ntp_no_servers": Meaning("error", "No time server is configured.", "Set ntp_servers.", "dateTimeInfo.ntpConfig.server"),
    "ntp_last_server": Meaning(
        "error",
        "Removing these servers would leave the host without any.",
        "Name the servers that shall stay, with ntp_servers_state: exact.",
        "an NTP configuration without servers resets the host's list (HostNtpConfig in the vSphere API reference)",
    ),
    "ntp_never_synced": Meaning(
        "warning",
        "The time service runs and has never synchronised.",
        "Check that the servers answer from this host: test_servers: true.",
        "dateTimeInfo.lastSyncTime, API 7.0.3.0",
    ),
    "ntp_unsynced": Meaning(
        "error",
        "The clock had not synchronised when wait_for_sync ended.",
        "Give it more time, or check the servers with test_servers: true.",
        "dateTimeInfo.serviceSync, API 7.0.3.0",
    ),
    "ntp_wrong_server": Meaning(
        "warning",
        "The host synchronises with a server that is not in its list.",
        "Look for a second time source in the host's ntp.conf, and for a name that resolves elsewhere.",
        "dateTimeInfo.remoteNtpServer, API 7.0.3.0",
    ),
    "ntp_server_silent": Meaning(
        "error",
        "The host's own test says that its time service does not work normally.",
        "Check route, name resolution and udp/123 from the host's management network to the servers.",
        "TestTimeService, API 7.0.3.0",
    ),
    "ntp_test_failed": Meaning(
        "warning",
        "The host's own test of its time service could not be run.",
        "Look at the cause; the privilege Host.Config.DateTime is needed for it.",
        "TestTimeService, API 7.0.3.0",
    ),
    "ntp_test_unsupported": Meaning(
        "note", "Below 7.0.3 a host cannot test its time service.", "Nothing to do.", "TestTimeService, API 7.0.3.0"
    ),
    "ntpd_stopped": Meaning("warning", "ntpd is not running.", "Set service_state: started.", "config.service, key ntpd"),
    "ntpd_gave_up": Meaning(
        "warning",
        "ntpd stopped by itself, because the correction was beyond its bounds.",
        "Use step: guarded once, with a trusted reference; ntpd is started again after it.",
        "event esx.problem.ntpd.clock.correction.error",
    ),
    "ntpd_missing": Meaning("error", "The host has no service ntpd.", "Its image is not a usual one.", "config.service"),
    "ntp_policy_off": Meaning(
        "warning",
        "ntpd runs now and is not set to start with the host.",
        "Set service_policy: 'on'.",
        "config.service, policy of ntpd",
    ),
    "ntp_ruleset_closed": Meaning(
        "warning",
        "ntpd runs and the firewall ruleset ntpClient is closed, so no answer comes in.",
        "Set service_state: started, which opens it; from 8.0 Update 2 on the daemon does that itself when it is restarted.",
        "config.firewall, ruleset ntpClient, userControllable",
    ),
    "ntp_shut_out": Meaning(
        "error",
        "The address list of the firewall ruleset ntpClient does not let time servers in.",
        "Add the servers to the list of ntpClient, or allow all addresses there.",
        "config.firewall, ruleset ntpClient, allowedHosts",
    ),
    "ptp_in_fallback": Meaning(
        "warning",
        "The host lost its PTP source and uses NTP instead.",
        "Check the PTP port, its network and the grandmaster clock.",
        "dateTimeInfo.inFallbackState, API 7.0.3.0",
    ),
    "ptp_unsupported": Meaning(
        "error", "The host cannot do PTP as asked.", "Leave protocol at ntp for this host.", "capability.ptpConfigSupported"
    ),
    "time_config_unsupported": Meaning(
        "error",
        "protocol, ptp and ntp_fallback exist from 7.0.3 on only.",
        "Leave these options out for this host.",
        "capability.timeConfigSupported",
    ),
}


def _found(code: str, text: str, level: str = "") -> Finding:
    return MEANINGS[code].found(code, text, level=level)


@dataclass(frozen=True)
class PtpPort:
    """One PTP port; ``ip_address`` and ``subnet_mask`` only for a passthrough NIC without DHCP."""

    index: int
    device_type: str
    device: str | None = None
    dhcp: bool | None = None
    ip_address: str | None = None
    subnet_mask: str | None = None


@dataclass(frozen=True)
class Ptp:
    domain: int | None = None
    ports: tuple[PtpPort, ...] = ()


@dataclass(frozen=True)
class Service:
    running: bool
    policy: str


@dataclass(frozen=True, kw_only=True)
class Ruleset:
    """``ntpClient``. ``controllable`` None: a release that lets everybody toggle it (below 8.0 Update 2)."""

    enabled: bool
    controllable: bool | None
    all_ip: bool = True
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clock:
    offset: float
    bound: float

    def minus(self, other: Clock) -> Clock:
        return Clock(self.offset - other.offset, self.bound + other.bound)

    def within(self, limit: float) -> bool | None:
        """True or False when certain, None when the error bound crosses the limit."""
        if abs(self.offset) + self.bound <= limit:
            return True
        return False if abs(self.offset) - self.bound > limit else None

    def __str__(self) -> str:
        return f"{self.offset:+.3f} s (± {self.bound:.3f} s)"


@dataclass(frozen=True, kw_only=True)
class State:
    """One host as read. Fields that its release does not have are None."""

    version: str = ""
    servers: tuple[str, ...] = ()
    time_config: bool = False
    protocol: str | None = None
    enabled: bool | None = None
    ptp: Ptp | None = None
    ptp_ports: int = 0
    fallback: bool | None = None
    in_fallback: bool | None = None
    synced: bool | None = None
    last_sync: datetime.datetime | None = None
    remote_server: str | None = None
    service: Service | None = None
    ruleset: Ruleset | None = None
    clock: Clock | None = None
    clock_error: str | None = None
    stepped: bool = False
    gave_up: datetime.datetime | None = None
    working: bool | None = None
    test_report: tuple[str, ...] = ()
    test_error: str | None = None
    settling: bool = False
    waited: bool = False

    @property
    def running(self) -> bool:
        """Whether the host's time service works, whichever protocol it speaks."""
        if self.protocol == "ptp":
            return bool(self.enabled)
        return bool(self.service and self.service.running)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """None means: leave it as it is, and do not judge it."""

    servers: tuple[str, ...] | None = None
    servers_state: str = "exact"
    protocol: str | None = None
    ptp: Ptp | None = None
    fallback: bool | None = None
    running: bool | None = None
    policy: str | None = None
    max_skew: float | None = None
    step: bool = False
    step_threshold: float = 60.0
    reference: str = "control_node"
    samples: int = 3
    test_servers: bool = False
    wait_for_sync: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What all clocks together say: the reference, as seen from the control node, and whether it can be believed."""

    reference: Clock | None = None
    doubt: Finding | None = None

    def skew(self, state: State) -> Clock | None:
        return state.clock.minus(self.reference) if state.clock and self.reference else None


# ---- input ----------------------------------------------------------------------------------------------------------


def parse(params: Mapping[str, Any]) -> Wanted:
    """Module options as a wish. Raises BadInput."""
    servers = params.get("ntp_servers")
    if servers is not None and not servers:
        raise BadInput(
            "ntp_servers is an empty list, which would take every time server away",
            hint="Leave the option out to keep the servers; to remove some, name them with ntp_servers_state: absent.",
        )
    if params.get("ptp") is not None and params.get("protocol") != "ptp":
        raise BadInput("ptp is given and protocol is not ptp", hint="Set protocol: ptp, or leave ptp out.")
    if params.get("step") == "guarded" and params.get("max_skew") is None:
        raise BadInput("step: guarded needs max_skew", hint="Say how many seconds of skew are allowed, for example max_skew: 1.")
    for option in ("max_skew", "step_threshold"):
        value = params.get(option)
        if value is not None and not 0 < value < 86400 * 366:
            raise BadInput(f"{option} {value:g} is not a number of seconds above 0", hint="Use for example 0.5 or 60.")
    wait = params.get("wait_for_sync") or 0
    if not 0 <= wait <= 86400:
        raise BadInput(f"wait_for_sync {wait:g} is not between 0 and 86400 seconds", hint="0 means: do not wait.")
    samples = 3 if params.get("clock_samples") is None else params["clock_samples"]
    if not 1 <= samples <= 20:
        raise BadInput(f"clock_samples {samples} is not between 1 and 20", hint="3 is enough on most networks.")
    return Wanted(
        servers=None if servers is None else _entries(servers),
        servers_state=params.get("ntp_servers_state") or "exact",
        protocol=params.get("protocol"),
        ptp=_ptp(params["ptp"]) if params.get("ptp") else None,
        fallback=params.get("ntp_fallback"),
        running={"started": True, "stopped": False}.get(params.get("service_state") or ""),
        policy=params.get("service_policy"),
        max_skew=params.get("max_skew"),
        step=params.get("step") == "guarded",
        step_threshold=params.get("step_threshold") or 60.0,
        reference=params.get("reference") or "control_node",
        samples=samples,
        test_servers=bool(params.get("test_servers")),
        wait_for_sync=float(wait),
    )


def _entries(servers: Iterable[str]) -> tuple[str, ...]:
    entries: dict[str, str] = {}
    for position, text in enumerate(servers, 1):
        entry = " ".join(str(text).partition("#")[0].split())
        if not entry:
            raise BadInput(f"ntp_servers entry {position} is empty", hint="Remove it; often a variable is empty there.")
        name = entry.split()[0]
        strange = _strange_option(entry.split()[1:])
        if strange:
            raise BadInput(
                f"ntp_servers entry {position} has {strange!r} behind {name!r}, which is no ntp.conf option",
                hint="Use one server an entry; options such as iburst or minpoll 4 may follow after a space.",
            )
        if _is_address(name) and _nobody(ipaddress.ip_address(name)):
            raise BadInput(
                f"ntp_servers entry {position}, {name!r}, is an address that no server can have",
                hint="Use the address of a time server, for example 192.0.2.1.",
            )
        if not _is_address(name) and not _is_hostname(name):
            raise BadInput(
                f"ntp_servers entry {position}, {name!r}, is neither an IP address nor a host name",
                hint="Use one server an entry, for example 192.0.2.1 or ntp.example.com; options may follow after a space.",
            )
        key = address_of(entry)
        if key in entries:
            raise BadInput(f"ntp_servers names {name!r} twice", hint="Keep one of the two entries.")
        entries[key] = entry
    return tuple(entries.values())


def _strange_option(words: list[str]) -> str:
    """The first word that ntp.conf would not take after a server's name, or "" ."""
    number_due = False
    for word in words:
        if word.isdigit() != number_due or (not number_due and word not in _SERVER_OPTIONS):
            return word
        number_due = word in _NUMBERED_OPTIONS
    return words[-1] if number_due else ""


def _nobody(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_unspecified or address.is_loopback or address.is_multicast or str(address) == "255.255.255.255"


@functools.lru_cache(maxsize=4096)
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_hostname(name: str) -> bool:
    labels = name.lower().rstrip(".").split(".")
    return len(name) <= 253 and all(_LABEL.match(label) for label in labels) and not labels[-1].isdigit()


def _ptp(given: Mapping[str, Any]) -> Ptp:
    domain = given.get("domain")
    if domain is not None and not 0 <= domain <= 255:
        raise BadInput(f"ptp.domain {domain} is not between 0 and 255", hint="The default domain of PTP is 0.")
    ports = []
    for port in given.get("ports") or ():
        index = port["index"]
        if index < 0:
            raise BadInput(f"ptp.ports index {index} is negative", hint="The first port has index 0.")
        if port["device_type"] != "none" and not port.get("device"):
            raise BadInput(f"ptp.ports index {index} has no device", hint="Name it, for example vmk1 or 0000:03:00.1.")
        for option in ("ip_address", "subnet_mask"):
            if port.get(option) and not _is_address(port[option]):
                raise BadInput(f"ptp.ports {option} {port[option]!r} is no IP address", hint="Use for example 192.0.2.10.")
        ports.append(PtpPort(index, port["device_type"], *(port.get(k) for k in ("device", "dhcp", "ip_address", "subnet_mask"))))
    if len({port.index for port in ports}) != len(ports):
        raise BadInput("ptp.ports names an index twice", hint="Each port has its own index.")
    return Ptp(domain, tuple(sorted(ports, key=lambda port: port.index)))


@functools.lru_cache(maxsize=4096)
def address_of(entry: str) -> str:
    """What identifies a server: its first word, without case or spelling of the address.

    The rest are ntp.conf options, which a host keeps: comparing whole entries would change them back and forth.
    """
    name = (entry.split() or [""])[0].lower().rstrip(".")
    return str(ipaddress.ip_address(name)) if _is_address(name) else name


def _canonical(entry: str) -> tuple[str, ...]:
    return (address_of(entry), *entry.split()[1:])


def wanted_servers(current: tuple[str, ...], wanted: Wanted) -> tuple[str, ...]:
    """The list to write; entries that stay keep the options that the host has for them."""
    have = {address_of(entry): entry for entry in current}
    want = {address_of(entry): entry for entry in wanted.servers or ()}
    if wanted.servers_state == "absent":
        return tuple(entry for key, entry in have.items() if key not in want)
    merged = {key: have[key] if key in have and " " not in entry else entry for key, entry in want.items()}
    if wanted.servers_state == "present":
        return tuple({**have, **merged}.values())
    return tuple(merged.values())


# ---- changes --------------------------------------------------------------------------------------------------------


class _Write:
    def describe(self) -> dict[str, Any]:
        return described(self)


@dataclass(frozen=True, kw_only=True)
class ConfigureTime(_Write):
    """One UpdateDateTimeConfig. A host never sees a protocol without its servers."""

    servers: tuple[str, ...] | None = None
    protocol: str | None = None
    enabled: bool | None = None
    ptp: Ptp | None = None
    fallback: bool | None = None

    def applied_to(self, state: State) -> State:
        changed = {key: value for key in ("servers", "protocol", "enabled", "ptp", "fallback") if (value := getattr(self, key)) is not None}
        state = replace(state, **changed, settling=True)
        if state.service and self.enabled is not None and state.protocol != "ptp":
            state = _service(state, self.enabled)
        return state


@dataclass(frozen=True)
class StopNtpd(_Write):
    def applied_to(self, state: State) -> State:
        return _service(state, False)


@dataclass(frozen=True)
class StartNtpd(_Write):
    even_after_failure = True

    def applied_to(self, state: State) -> State:
        return replace(_service(state, True), gave_up=None)


@dataclass(frozen=True)
class SetNtpdPolicy(_Write):
    policy: str

    def applied_to(self, state: State) -> State:
        running = bool(state.service and state.service.running)
        return replace(state, service=Service(running, self.policy))


@dataclass(frozen=True)
class OpenNtpClient(_Write):
    """EnableRuleset; it also starts a service whose policy is automatic."""

    def applied_to(self, state: State) -> State:
        if state.ruleset:
            state = replace(state, ruleset=replace(state.ruleset, enabled=True))
        automatic = state.service and state.service.policy == "automatic"
        return _service(state, True) if automatic else state


@dataclass(frozen=True)
class StepClock(_Write):
    """``shift``: seconds to add to the control node's time to get the reference's."""

    reference: str
    shift: float

    def applied_to(self, state: State) -> State:
        return replace(state, clock=None, stepped=True, settling=True)

    def describe(self) -> dict[str, Any]:
        return {"change": "step_clock", "reference": self.reference}


def _service(state: State, running: bool) -> State:
    policy = state.service.policy if state.service else "off"
    state = replace(state, service=Service(running, policy), settling=True)
    if state.ruleset and state.ruleset.controllable is False:
        state = replace(state, ruleset=replace(state.ruleset, enabled=running))
    return state


# ---- judgement ------------------------------------------------------------------------------------------------------


def survey(states: Iterable[State], common: Mapping[str, Any], wanted: Wanted) -> Survey:
    """Choose the reference and ask all other clocks whether it can be believed. ``common``: vCenter's own ``clock``."""
    if wanted.max_skew is None:
        return Survey()
    vcenter = common.get("clock")
    hosts = [state.clock for state in states if state.clock]
    here = Clock(0.0, 0.0)
    if wanted.reference == "fleet":
        if len(hosts) < 3:
            return Survey(doubt=_found("reference_unavailable", f"only {len(hosts)} clocks answered, too few for a median"))
        middle = _middle(hosts)
        near = [clock for clock in hosts if clock.minus(middle).within(wanted.max_skew) is not False]
        if len(near) * 2 <= len(hosts):
            return Survey(doubt=_found("fleet_disagrees", f"only {len(near)} of {len(hosts)} clocks are near their median"))
        return Survey(reference=middle)
    if wanted.reference == "vcenter":
        if vcenter is None:
            return Survey(doubt=_found("reference_unavailable", "the endpoint is a stand-alone host, there is no vCenter clock"))
        return Survey(reference=vcenter, doubt=_doubt("vcenter_clock_suspect", "vCenter", vcenter, [*hosts, here], wanted.max_skew))
    others = [*hosts, *([vcenter] if vcenter else [])]
    return Survey(reference=here, doubt=_doubt("control_node_suspect", "this control node", here, others, wanted.max_skew))


def _middle(clocks: list[Clock]) -> Clock:
    offsets = sorted(clocks, key=lambda clock: (clock.offset, clock.bound))
    low, high = offsets[(len(offsets) - 1) // 2], offsets[len(offsets) // 2]
    return Clock((low.offset + high.offset) / 2, max(low.bound, high.bound))


def _doubt(code: str, whose: str, reference: Clock, others: list[Clock], limit: float) -> Finding | None:
    """A reference is doubted when most of the others, at least two, agree with each other and not with it."""
    if len(others) < 2:
        return None
    middle = _middle(others)
    agree = [clock for clock in others if clock.minus(middle).within(limit) is not False]
    apart = middle.minus(reference)
    if apart.within(limit) is not False or len(agree) < 2 or len(agree) * 2 <= len(others):
        return None
    return _found(
        code,
        f"{len(agree)} of {len(others)} other clocks agree with each other and differ by {apart.offset:+.1f} s from {whose}",
    )


def plan(state: State, wanted: Wanted, seen: Survey) -> Plan:
    """The writes that bring ``state`` to ``wanted``, and what there is to say about ``state``."""
    refusals = _refusals(state, wanted)
    return Plan(
        observed=state,
        changes=tuple(_changes(state, wanted, seen, {finding.code for finding in refusals})),
        findings=(*refusals, *_diagnose(state, wanted, seen)),
    )


def _refusals(state: State, wanted: Wanted) -> list[Finding]:
    """What is asked for and cannot be had on this host."""
    found = []
    if state.service is None:
        found.append(_found("ntpd_missing", "the host lists no service ntpd"))
    stuck_in_ptp = state.protocol == "ptp" and wanted.protocol == "ntp"
    if not state.time_config and (wanted.fallback is not None or wanted.protocol == "ptp" or stuck_in_ptp):
        found.append(_found("time_config_unsupported", f"ESXi {state.version} takes servers and the service state only"))
    elif wanted.protocol == "ptp":
        too_high = [port.index for port in (wanted.ptp.ports if wanted.ptp else ()) if port.index >= state.ptp_ports]
        if not state.ptp_ports:
            found.append(_found("ptp_unsupported", "the host reports no PTP support"))
        elif too_high:
            found.append(_found("ptp_unsupported", f"port index {too_high[0]} is asked for, the host has {state.ptp_ports} port(s)"))
    if wanted.servers and wanted.servers_state == "absent" and state.servers and not wanted_servers(state.servers, wanted):
        found.append(_found("ntp_last_server", f"{', '.join(state.servers)} would all be removed"))
    return found


def _changes(state: State, wanted: Wanted, seen: Survey, refused: set[str]) -> list[Change]:
    if state.service is None:
        return []
    config: dict[str, Any] = {}
    if wanted.servers is not None and "ntp_last_server" not in refused:
        servers = wanted_servers(state.servers, wanted)
        if [_canonical(entry) for entry in servers] != [_canonical(entry) for entry in state.servers]:
            config["servers"] = servers
    if state.time_config and "ptp_unsupported" not in refused:
        if wanted.protocol and wanted.protocol != state.protocol:
            config["protocol"] = wanted.protocol
        if wanted.ptp and not _ptp_holds(state.ptp, wanted.ptp):
            config["ptp"] = _ptp_merged(state.ptp, wanted.ptp)
        if wanted.fallback is not None and wanted.fallback != state.fallback:
            config["fallback"] = wanted.fallback
        if wanted.running is not None and wanted.running != state.enabled:
            config["enabled"] = wanted.running
    step = _step(state, wanted, seen, config)
    changes: list[Change] = []
    now = state

    def then(change: Change) -> None:
        nonlocal now
        changes.append(change)
        now = change.applied_to(now)

    # ntpd takes a stepped clock, and before 7.0.3 a new list of servers, only when it starts. Stopped first, it is
    # seen to be stopped should the run break off in the middle; restarted after, nobody would notice.
    paused = state.service.running and bool(step or ("servers" in config and not state.time_config))
    if paused:
        then(StopNtpd())
    if step:
        then(step)
    if config:
        then(ConfigureTime(**config))
    speaks_ntp = now.protocol != "ptp"
    revived = step is not None and state.gave_up is not None
    runs = wanted.running if wanted.running is not None else state.running or revived
    if (wanted.running or revived) and speaks_ntp and now.ruleset and not now.ruleset.enabled and now.ruleset.controllable is not False:
        then(OpenNtpClient())
    if wanted.policy and now.service and now.service.policy != wanted.policy:
        then(SetNtpdPolicy(wanted.policy))
    if now.service and not now.service.running:
        if (runs and speaks_ntp) or (paused and wanted.running is not False):
            then(StartNtpd())
    elif speaks_ntp and wanted.running is False:
        then(StopNtpd())
    return changes


def _step(state: State, wanted: Wanted, seen: Survey, config: Mapping[str, Any]) -> StepClock | None:
    """Guarded: asked for, certain, beyond the threshold, from a reference nobody doubts, and never against PTP or
    against a time server that the host is in sync with."""
    skew = seen.skew(state)
    if not wanted.step or skew is None or seen.reference is None or seen.doubt or state.stepped or state.settling:
        return None
    if state.protocol == "ptp" or wanted.protocol == "ptp" or wanted.max_skew is None:
        return None
    if state.synced and "servers" not in config:
        # It follows a server that it trusts and would go back to it; then the server, or the reference, is wrong.
        return None
    if skew.within(max(wanted.step_threshold, wanted.max_skew)) is not False:
        return None
    return StepClock(wanted.reference, seen.reference.offset)


def _ptp_holds(have: Ptp | None, want: Ptp) -> bool:
    if have is None or (want.domain is not None and want.domain != have.domain):
        return False
    ports = {port.index: port for port in have.ports}
    return all(
        port.index in ports
        and all(getattr(port, name) is None or getattr(port, name) == getattr(ports[port.index], name) for name in _PORT_FIELDS)
        for port in want.ports
    )


def _ptp_merged(have: Ptp | None, want: Ptp) -> Ptp:
    """What is not named keeps its value, down to the settings of a port whose kind of device stays."""
    ports = {port.index: port for port in (have.ports if have else ())}
    for port in want.ports:
        old = ports.get(port.index)
        if old and old.device_type == port.device_type:
            named = {name: value for name in _PORT_FIELDS if (value := getattr(port, name)) is not None}
            port = replace(old, **named)
        ports[port.index] = port
    domain = want.domain if want.domain is not None else have.domain if have else None
    return Ptp(domain, tuple(ports[index] for index in sorted(ports)))


def after(read: State, predicted: State, waited: bool) -> State:
    """A state read back after writes, with what only this run knows of it."""
    return replace(read, clock=read.clock or predicted.clock, settling=predicted.settling, stepped=predicted.stepped, waited=waited)


def settled(state: State, wanted: Wanted, seen: Survey) -> bool:
    """Whether there is nothing left to wait for: synchronised where the host says so, within max_skew where asked,
    or kept from it by something that time does not mend."""
    if any(finding.level == "error" for finding in (*_service_findings(state, wanted), *_source_findings(state, wanted))):
        return True
    skew = seen.skew(state)
    in_time = wanted.max_skew is None or skew is None or seen.doubt is not None or skew.within(wanted.max_skew) is not False
    return not state.running or (state.synced is not False and in_time)


def _diagnose(state: State, wanted: Wanted, seen: Survey) -> list[Finding]:
    """Causes before symptoms: the first error's next step is the one that people read."""
    return [*_service_findings(state, wanted), *_source_findings(state, wanted), *_clock_findings(state, wanted, seen)]


def _clock_findings(state: State, wanted: Wanted, seen: Survey) -> list[Finding]:
    if wanted.max_skew is None:
        return []
    if seen.doubt:
        return [seen.doubt]
    skew = seen.skew(state)
    if skew is None:
        return [] if state.stepped else [_found("clock_unmeasured", state.clock_error or "no reading was made")]
    verdict = skew.within(wanted.max_skew)
    text = f"{skew} against {wanted.reference}, allowed are {wanted.max_skew:g} s"
    if verdict is None:
        return [_found("clock_skew_unclear", text)]
    if verdict is False:
        # A service that has just been set right needs minutes; that is no failure unless waiting was asked for.
        patient = state.settling and not state.waited and not state.stepped
        return [_found("clock_skewed", text, level="warning" if patient else "")]
    return []


def _source_findings(state: State, wanted: Wanted) -> list[Finding]:
    found = []
    ntp = state.protocol != "ptp"
    if ntp and not state.servers and (state.running or wanted.running):
        found.append(_found("ntp_no_servers", "the time service has nobody to ask"))
    if state.running and state.time_config and not state.settling and state.last_sync is None and state.synced is not True:
        found.append(_found("ntp_never_synced", "the host has no time of a last synchronisation"))
    if state.waited and state.synced is False:
        found.append(_found("ntp_unsynced", f"not synchronised after {wanted.wait_for_sync:g} s"))
    if ntp and not state.settling and _follows_stranger(state):
        found.append(_found("ntp_wrong_server", f"it follows {state.remote_server}, configured: {', '.join(state.servers)}"))
    if wanted.test_servers and (state.waited or not state.settling):
        if state.working is False:
            found.append(_found("ntp_server_silent", "; ".join(state.test_report) or "the test gave no report"))
        elif state.test_error:
            found.append(_found("ntp_test_failed", state.test_error))
        elif state.working is None and not state.time_config:
            found.append(_found("ntp_test_unsupported", f"ESXi {state.version} has no such test"))
    if state.in_fallback:
        found.append(_found("ptp_in_fallback", "PTP is configured, NTP is used"))
    return found


def _follows_stranger(state: State) -> bool:
    """Only like can be compared with like: a configured name may resolve to the address that the host reports."""
    known = {address_of(entry) for entry in state.servers}
    remote = address_of(state.remote_server or "")
    return bool(remote and known) and remote not in known and all(_is_address(name) == _is_address(remote) for name in known)


def _service_findings(state: State, wanted: Wanted) -> list[Finding]:
    found: list[Finding] = []
    ntp = state.protocol != "ptp"
    service, ruleset = state.service, state.ruleset
    if service is None or not ntp:
        return found
    if not service.running and wanted.running is not False:
        if state.gave_up:
            found.append(_found("ntpd_gave_up", f"it gave up at {state.gave_up.isoformat(timespec='seconds')}"))
        else:
            found.append(_found("ntpd_stopped", f"policy is {service.policy}"))
    if service.running and service.policy == "off" and wanted.policy is None and wanted.running is not False:
        # A real 8.0.3 host ran ntpd with policy off and `enabled` true: there the policy says little.
        found.append(_found("ntp_policy_off", "running, policy off", level="note" if state.enabled else ""))
    if ruleset and service.running and not ruleset.enabled and not state.settling:
        found.append(_found("ntp_ruleset_closed", "ntpd runs, ntpClient is closed"))
    if ruleset and not ruleset.all_ip and state.servers:
        out = [entry.split()[0] for entry in state.servers if not _admits(ruleset.allowed, address_of(entry))]
        if out:
            named = [name for name in out if not _is_address(name)]
            level = "error" if len(out) == len(state.servers) and not named else "warning"
            unsure = " (whether the names in it resolve to listed addresses cannot be told from here)" if named else ""
            found.append(_found("ntp_shut_out", f"{', '.join(out)} not in {', '.join(ruleset.allowed) or 'an empty list'}{unsure}", level))
    return found


def _admits(allowed: Iterable[str], address: str) -> bool:
    known = parsed(address)
    return known is not None and within((known,), kept_by_host(tuple(allowed), ()))


def patience(wanted: Wanted) -> float:
    return wanted.wait_for_sync


def settings(state: State) -> dict[str, Any]:
    """What a diff shows of a host: what this feature can change, nothing that moves by itself."""
    shown: dict[str, Any] = {"ntp_servers": list(state.servers), "service_policy": state.service.policy if state.service else None}
    if state.protocol != "ptp":
        # Under PTP the host decides by itself whether ntpd runs, as its fallback.
        shown["service_running"] = state.service.running if state.service else None
        shown["ntp_client_open"] = state.ruleset.enabled if state.ruleset else None
    if state.time_config:
        shown.update(protocol=state.protocol, enabled=state.enabled, ntp_fallback=state.fallback, ptp=plain(state.ptp))
    if state.stepped:
        shown["clock"] = "stepped to the reference"
    return shown


def clock(state: State, wanted: Wanted, seen: Survey) -> dict[str, Any]:
    """Offset from the reference, its error and what is allowed, in seconds; empty where nothing is asked, or was measured."""
    skew = seen.skew(state)
    if skew is None or wanted.max_skew is None:
        return {}
    return {"offset": round(skew.offset, 6), "bound": round(skew.bound, 6), "limit": wanted.max_skew}


def report(state: State, wanted: Wanted, seen: Survey, *, full: bool) -> dict[str, Any]:
    """What a result says of a host beside its findings."""
    skew = seen.skew(state)
    measured = skew and {
        "offset": round(skew.offset, 6),
        "bound": round(skew.bound, 6),
        "aligned": None if wanted.max_skew is None else skew.within(wanted.max_skew),
    }
    if not full:
        return {"skew": measured}
    return {
        **settings(state),
        "version": state.version,
        "synced": state.synced,
        "last_sync": plain(state.last_sync),
        "remote_server": state.remote_server,
        "in_fallback": state.in_fallback,
        "skew": measured,
        "test": None if state.working is None else {"working": state.working, "report": list(state.test_report)},
    }
