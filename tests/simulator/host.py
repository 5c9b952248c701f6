# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One simulated host as plain state: settings, clock, daemons. No pyVmomi here; objects/ turn it into what goes over the wire."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ipaddress
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .clock import Clock, Source
from .crypto import HostCrypto
from .profile import Profile, Ruleset
from .software import DEFAULT_LEVEL, EXEC_OPTION, base_image
from .state import NfsMount, RulesetState, ServiceState, StateMap, TimeState

if TYPE_CHECKING:
    from .world import World

PTP_GRANDMASTER = "ptp-grandmaster"
_NONE = StateMap()


def server_name(entry: str) -> str:
    """The server of an entry that may carry ntp.conf options ("host iburst")."""
    words = entry.split()
    return words[0] if words else ""


class Host:
    """A host's settings and what its daemons make of them. All changes happen inside `with host.changing():`."""

    def __init__(self, world: World, name: str, number: int, profile: Profile) -> None:
        self.world = world
        self.system: Any = None  # the HostSystem of this state, once it is in the inventory
        self.name = name
        self.number = number
        self.profile = profile
        self.options: dict[str, Any] = profile.options
        self.connection = "connected"
        self.maintenance = False
        self.powered_on = True
        # The boot time of the captured host.
        self.booted = datetime.datetime(2026, 1, 5, 9, 7, 1, 778318, tzinfo=datetime.timezone.utc)
        self.boots = 0
        self.reboot_required = False
        self.time = TimeState()
        self.services: StateMap = profile.service_states
        self.rulesets: StateMap = profile.ruleset_states
        self.incoming_blocked = True  # both captured hosts block both directions (facts.md 3.1)
        self.outgoing_blocked = True
        self.unreachable_servers: frozenset[str] = frozenset()
        self.grandmaster = False
        self.active_servers: tuple[str, ...] = ()
        self.clock: Clock = Clock(name, 0.0, 0.0, world.sync_after, float(profile.options["panic_threshold"]))
        self.ntpd_started: float = 0.0
        self.ptpd_started: float = 0.0
        self.advanced: StateMap = StateMap(profile.advanced)
        self.dns: tuple[str, ...] = ()
        self.dhcp = False
        self.nfs: tuple[NfsMount, ...] = ()
        self.iscsi: tuple[tuple[str, int], ...] = ()
        self.vsan = False
        self.hardware: dict[str, Any] = profile.hardware
        self.certificate: dict[str, Any] = {}
        self.crypto = HostCrypto()
        self.managed_by: str | None = None
        # Software and what guards it; image.py installs, removes and boots.
        self.software: StateMap = base_image(profile)
        self.boot_software: StateMap | None = None  # the image that the next boot loads, where it differs
        self.acceptance = DEFAULT_LEVEL
        self.secure_boot = False
        self.require_secure_boot = False
        self.exec_installed_only = bool(profile.advanced.get(EXEC_OPTION, False))  # as it runs; the option says what the next boot takes
        self.require_exec_installed_only = False
        self.tpm: dict[str, Any] = {}
        self.image_managed = False
        self.own_rulesets: StateMap = _NONE  # rulesets that the release does not ship: from packages and made by hand
        self.hand_made: tuple[Ruleset, ...] = ()
        self.remembered_rulesets: dict[str, RulesetState] = {}  # of rulesets that are gone
        self.boot_failure: str | None = None
        self.views: dict[str, tuple[Any, Any]] = {}

    # ---- identity -------------------------------------------------------------------------------------------------------------
    @property
    def uuid(self) -> str:
        return str(uuid.UUID(hashlib.md5(f"{self.world.seed}:{self.name}:{self.number}".encode()).hexdigest()))

    @property
    def address(self) -> str:
        """A management address from the benchmark range 198.18.0.0/15 (RFC 2544): RFC 5737's ranges are too small for 5,000 hosts."""
        return str(ipaddress.ip_address("198.18.0.0") + 10 + self.number)

    @property
    def thumbprint(self) -> str:
        """Of the host's own certificate, which nobody sees; 20 bytes, as the captured host's is in summary.config.sslThumbprint."""
        digest = hashlib.sha1(f"certificate:{self.uuid}".encode()).hexdigest().upper()
        return ":".join(digest[i : i + 2] for i in range(0, 40, 2))

    @property
    def mac(self) -> str:
        digest = hashlib.md5(self.uuid.encode()).hexdigest()
        return "00:50:56:" + ":".join(digest[i : i + 2] for i in (0, 2, 4))

    # ---- change and time ------------------------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Around every change: the daemons work up to now under the old conditions, then look at the new ones."""
        self.settle()
        yield
        self.reconsider()
        self.world.touch()

    def settle(self) -> None:
        event = self.clock.advance(self.world.virtual_now())
        if event is None:
            return
        if event.kind == "panic":
            self._set_service("ntpd", running=False)
            self.world.log_host_event(
                self,
                "esx.problem.ntpd.clock.correction.error",
                f"NTP daemon stopped. Time correction out of bounds: {event.correction:.3f} seconds",
                severity="error",
            )
            self.reconsider()
        self.world.touch()

    def reconsider(self) -> None:
        self._fall_back()
        self.clock.follow(self.world.virtual_now(), self.current_source())
        self.world.ways.look(self)

    def rebooted(self) -> None:
        """The host has just booted: here goes what a boot does to its settings."""

    def clock_offset(self) -> float:
        self.settle()
        return self.clock.offset_at(self.world.virtual_now())

    # ---- what the host follows ------------------------------------------------------------------------------------------------
    @property
    def time_service_enabled(self) -> bool:
        return self.time.enabled if self.profile.has_time_service else True

    def is_running(self, service: str) -> bool:
        state = self.services.get(service)
        return bool(state and state.running)

    @property
    def in_fallback(self) -> bool:
        return (
            self.time.protocol == "ptp"
            and self.time_service_enabled
            and self.is_running("ptpd")
            and not self.grandmaster
            and not self.time.disable_fallback
        )

    def _fall_back(self) -> None:
        """NTP fallback means that the host runs ntpd itself while the PTP grandmaster is away, and stops it when PTP is back."""
        if self.time.protocol == "ptp" and self.profile.has_time_service and self.is_running("ptpd"):
            self._set_service("ntpd", running=self.in_fallback)

    def current_source(self) -> Source | None:
        if not self.time_service_enabled:
            return None
        if self.profile.has_time_service and self.time.protocol == "ptp":
            if self.is_running("ptpd") and self.grandmaster:
                return Source("ptp", PTP_GRANDMASTER, 0.0)
            if not self.in_fallback:
                return None
        elif not self.is_running("ntpd"):
            return None
        answering = [s for s in (self.answer(name) for name in self.servers_in_use) if s is not None]
        if not answering:
            return None
        if len(answering) >= 3:
            # ntpd believes the majority: the server nearest to the median wins.
            median = sorted(source.offset for source in answering)[len(answering) // 2]
            return min(answering, key=lambda source: abs(source.offset - median))
        return answering[0]

    @property
    def servers_in_use(self) -> tuple[str, ...]:
        """What the running daemon asks, which may differ from what is configured (a restart is needed below 7.0.3)."""
        return self.active_servers

    def answer(self, entry: str) -> Source | None:
        """The server of an entry if this host gets answers from it."""
        name = server_name(entry)
        server = self.world.time_servers.get(name)
        if server is None:
            if not self.world.unknown_servers_reachable:
                return None
            server = {}
        if not server.get("reachable", True) or name in self.unreachable_servers:
            return None
        if not self.lets_out_to("udp", 123, str(server.get("address", name))):
            return None
        return Source("ntp", name, float(server.get("offset", 0.0)))

    def lets_out_to(self, protocol: str, port: int, address: str) -> bool:
        """Whether the firewall lets a packet out: some enabled ruleset has the port and admits the address.

        The wide-open rulesets count too, as on a real host.
        """
        return not self.outgoing_blocked or self._admitted("outbound", protocol, port, address)

    def lets_in_from(self, protocol: str, port: int, address: str) -> bool:
        """Whether the firewall lets a packet of this peer in to a port of the host."""
        return not self.incoming_blocked or self._admitted("inbound", protocol, port, address)

    def _admitted(self, direction: str, protocol: str, port: int, address: str) -> bool:
        # Kept with the map, which thousands of hosts share: each question is worked out once.
        question = (direction, protocol, port, address)
        found = self.rulesets.asked.get(question)
        if found is None:
            covering = (
                *self.profile.covering(direction, protocol, port),
                *(row.key for row in self._own_covering(direction, protocol, port)),
            )
            states = (self.rulesets[key] for key in covering)
            found = self.rulesets.asked[question] = any(state.enabled and admits(state, address) for state in states)
        return found

    def _own_covering(self, direction: str, protocol: str, port: int) -> Iterator[Ruleset]:
        return (row for row in self.own_rulesets.values() if row.covers(direction, protocol, port))

    def ruleset_row(self, key: str) -> Ruleset | None:
        """What a ruleset is, whether the release, a package or somebody's hand brought it."""
        return self.own_rulesets.get(key) or self.profile.rulesets.get(key)

    # ---- services and rulesets ------------------------------------------------------------------------------------------------
    def _set_service(self, key: str, *, running: bool | None = None, policy: str | None = None) -> None:
        old: ServiceState = self.services[key]
        new = replace(old, running=old.running if running is None else running, policy=policy or old.policy)
        if new == old:
            return
        self.services = self.services.changed(key, new)
        if new.running == old.running:
            return
        if new.running and key == "ntpd":
            self.active_servers = self.time.servers
            self.ntpd_started = self.world.virtual_now()
        if new.running and key == "ptpd":
            self.ptpd_started = self.world.virtual_now()
        if self.options["service_opens_ruleset"] and self.profile.daemons_own_rulesets:
            for row in self.profile.rulesets.values():
                if row.owner == key and row.toggle is False:
                    self.set_ruleset(row.key, replace(self.rulesets[row.key], enabled=new.running))

    def start_service(self, key: str) -> None:
        self._set_service(key, running=True)
        self._mirror_enabled(key)

    def stop_service(self, key: str) -> None:
        self._set_service(key, running=False)
        self._mirror_enabled(key)

    def restart_service(self, key: str) -> None:
        # ntpd takes its configuration afresh, which is what a restart is for below 7.0.3.
        if key == "ntpd":
            self.active_servers = self.time.servers
            self.ntpd_started = self.world.virtual_now()
            self.clock.follow(self.world.virtual_now(), None)
        self.start_service(key)

    def set_policy(self, key: str, policy: str) -> None:
        self._set_service(key, policy=policy)

    def _mirror_enabled(self, key: str) -> None:
        daemon = "ptpd" if self.time.protocol == "ptp" else "ntpd"
        if key == daemon and self.profile.has_time_service and self.options["enabled_follows_service"]:
            self.time = replace(self.time, enabled=self.is_running(key))

    def set_ruleset(self, key: str, state: RulesetState) -> None:
        if self.rulesets[key] != state:
            self.rulesets = self.rulesets.changed(key, state)

    def toggle_ruleset(self, key: str, enabled: bool) -> None:
        """EnableRuleset / DisableRuleset where they are allowed; an "automatic" service follows its rulesets (DOC8)."""
        self.set_ruleset(key, replace(self.rulesets[key], enabled=enabled))
        row = self.ruleset_row(key)
        service = row.owner if row is not None else None
        if service is None or self.services[service].policy != "automatic":
            return
        if enabled:
            self.start_service(service)
        elif not any(self.rulesets[row.key].enabled for row in self.profile.rulesets.values() if row.owner == service):
            self.stop_service(service)

    def apply_time(self, new: TimeState, *, align: bool = False) -> None:
        """Settings of UpdateDateTimeConfig; `enabled` and `protocol` start and stop the daemons (facts.md 2.1)."""
        old, self.time = self.time, new
        if new.servers != old.servers and not self.options["ntp_restart_needed"]:
            self.active_servers = new.servers
        if not self.profile.has_time_service:
            return
        if align or (new.enabled, new.protocol) != (old.enabled, old.protocol):
            wanted = ("ptpd" if new.protocol == "ptp" else "ntpd") if new.enabled else None
            for daemon in ("ntpd", "ptpd"):
                if daemon in self.services:
                    self._set_service(daemon, running=daemon == wanted)

    def begin(self, *, synced: bool, active_servers: tuple[str, ...] | None) -> None:
        """Once all settings stand: what the daemons have been doing before the scenario starts."""
        self._fall_back()
        self.active_servers = self.time.servers if active_servers is None else active_servers
        self.ntpd_started = self.ptpd_started = -3600.0
        source = self.current_source()
        if source is None:
            return
        if synced:
            self.clock.start_synced(source, 0.0)
        else:
            self.clock.follow(0.0, source)


def admits(state: RulesetState, address: str) -> bool:
    """Whether a ruleset's list of allowed addresses lets this one through."""
    if state.all_ip or address in state.ip_address:
        return True
    try:
        wanted = ipaddress.ip_address(address)
    except ValueError:
        return False
    if any(wanted == _address(text) for text in state.ip_address):
        return True
    for network, prefix in state.ip_network:
        with contextlib.suppress(ValueError):
            if wanted in ipaddress.ip_network(f"{network}/{prefix}", strict=False):
                return True
    return False


def _address(text: str) -> Any:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
