# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated world: inventory, users, clocks, events. Built from a scenario, thrown away and built again by reset()."""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import random
import re
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from typing import Any

from pyVmomi import VmomiSupport, vim

from . import hardware as devices
from . import image
from . import profile as profiles
from .crypto import Crypto
from .errors import ScenarioError, SoapFault
from .host import Host
from .license import LicenseServer
from .objects import service
from .objects.builder import Builder
from .objects.events import make_event
from .objects.tasks import start as start_task
from .power import Power
from .profile import Profile, near
from .registry import Call, Managed
from .scenario import Scenario, scaled
from .session import Session, Sessions, User
from .state import NfsMount, RulesetState, ServiceState, TimeState
from .versions import at_least
from .ways import HTTPS, Ways

DEFAULT_PROFILE = "8.0.3"
DEFAULT_ADDRESS = "192.0.2.2"
DEFAULT_DNS = ("192.0.2.53",)
# What vcenter.options may say for all hosts.
COMMON_OPTIONS = ("keyed_paths", "config_when_disconnected", "firewall_established")
_SUFFIX = re.compile(r"(.+)-(\d+)\Z")


class World:
    """Everything a client can see or change. One lock: operations are short, and what waits waits outside of it."""

    def __init__(self, scenario: Scenario, kind: str | None, hosts: int | None, seed: int | None) -> None:
        self.scenario = scenario
        self.kind = kind or scenario.kind
        self.seed = scenario.seed if seed is None else seed
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.revision = 0
        self.stopping = threading.Event()
        self.errors: list[str] = []
        self._started = time.monotonic()
        self._began = datetime.datetime.now(datetime.timezone.utc)
        self._advanced = 0.0
        data = scenario.data
        self.sync_after = float(data.get("sync_after", 2.0))
        self.time_servers: dict[str, dict[str, Any]] = {name: dict(row or {}) for name, row in data.get("time_servers", {}).items()}
        self.unknown_servers_reachable = data.get("time_servers_default", "unreachable") == "reachable"
        vcenter = data.get("vcenter", {})
        self.profile: Profile = profiles.load(vcenter.get("profile", DEFAULT_PROFILE))
        self.name = vcenter.get("name", "vcenter.example.com")
        self.address: str = vcenter.get("address", DEFAULT_ADDRESS)  # vCenter's, as hosts see it
        self.client_address: str | None = data.get("client_address")
        self.server_offset = float(vcenter.get("clock", {}).get("offset", 0.0))
        self.options: dict[str, Any] = {"task_delay": 0.02, "heartbeat_timeout": 60, **vcenter.get("options", {})}
        self.users = self._users(data.get("users"))
        self.sessions = Sessions(self.options.get("session_idle_timeout"), self.options.get("max_sessions"))
        self.objects: dict[str, Managed] = {}
        self.hosts: list[Any] = []  # HostSystem objects in scenario order
        self.events: list[Any] = []
        self.tasks: list[Any] = []
        self.licenses: LicenseServer
        self.custom_fields: dict[int, str] = {}
        self.generation = 0  # of vCenter: one that takes another's place is a new one
        self._machines = 0
        self.crypto = Crypto(self)
        self._named: dict[str, Any] | None = None
        self._numbers = iter(range(1, 1_000_000_000))
        self.root: Any = None
        self.clusters: dict[str, dict[str, Any]] = {name: dict(row or {}) for name, row in data.get("clusters", {}).items()}
        self.has_own_machine = False
        self.power = Power(self)
        self.ways = Ways(self)
        self._build(scaled(data.get("hosts", []), hosts))
        if self.kind == "esxi" and self.hosts:
            only = self.hosts[0].state
            self.profile, self.name = only.profile, only.name
        self.api = self.profile.api
        # bosh-vsphere-cpi-release PR 371: releases before 8.0.3 ignored Accept-Encoding.
        self.gzip = bool(self.options.get("gzip", at_least(self.api, "8.0.3.0")))

    # ---- users ----------------------------------------------------------------------------------------------------------------
    def _users(self, rows: dict[str, Any] | None) -> dict[str, User]:
        if not rows:
            name = "root" if self.kind == "esxi" else "administrator@vsphere.local"
            rows = {name: {"password": "Simulated-1"}}
        made = {}
        for name, row in rows.items():
            row = row or {}
            deny = tuple((item.get("privilege", "*"), item.get("entity", "*")) for item in row.get("deny", ()))
            made[name] = User(name, row.get("password", "Simulated-1"), tuple(row.get("privileges", ["*"])), deny)
        return made

    def allowed(self, session: Session, privilege: str, target: Managed) -> bool:
        if session.user.unlimited:
            return True
        return session.user.has(privilege, target.path_names)

    def basic(self, header: str) -> Session | None:
        """A session for one request with HTTP basic authentication, which /folder takes (community.vmware vsphere_copy)."""
        kind, _space, coded = header.partition(" ")
        try:
            name, _colon, password = base64.b64decode(coded, validate=True).decode().partition(":")
        except ValueError:
            return None
        user = self.users.get(name)
        if kind.lower() != "basic" or user is None or user.password != password:
            return None
        return Session(user, "", "", "en")

    def check(self, call: Call, privilege: str, target: Managed) -> None:
        """NoPermission unless the session's user holds the privilege on the object's entity."""
        if call.session is not None and not self.allowed(call.session, privilege, target):
            raise SoapFault(
                "NoPermission", "Permission to perform this operation was denied.", object=target.entity.ref, privilegeId=privilege
            )

    # ---- time -----------------------------------------------------------------------------------------------------------------
    def virtual_now(self) -> float:
        return time.monotonic() - self._started + self._advanced

    def advance(self, seconds: float) -> None:
        with self.lock:
            self._advanced += seconds
            for host in self.hosts:
                host.state.settle()
            self.ways.tick()
            self.licenses.tick()
            self.touch()

    def date_at(self, virtual: float) -> datetime.datetime:
        """The date of something that happens at a virtual time. Wall clocks do not jump with advance(), so such dates come nearer instead."""
        return self._began.replace(microsecond=0) + datetime.timedelta(seconds=round(virtual - self._advanced))

    def server_time(self) -> datetime.datetime:
        """The server's own clock: vCenter's, or the host's on a stand-alone one (facts.md 2.4)."""
        shift = self.hosts[0].state.clock_offset() if self.kind == "esxi" and self.hosts else self.server_offset
        return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=shift)

    @property
    def instance_uuid(self) -> str:
        """vCenter's, which is also how licences name it."""
        who = f"{self.seed}:{self.name}" + (f":{self.generation}" if self.generation else "")
        return str(uuid.UUID(hashlib.md5(who.encode()).hexdigest()))

    @property
    def server_profile(self) -> Profile:
        """The release of the server itself: a stand-alone host's, or vCenter's."""
        return self.hosts[0].state.profile if self.kind == "esxi" and self.hosts else self.profile

    def touch(self) -> None:
        """Something changed: waiting property filters look again."""
        with self.lock:
            self.revision += 1
            self.changed.notify_all()

    # ---- objects --------------------------------------------------------------------------------------------------------------
    def find(self, moid: str, session: Session | None = None) -> Managed | None:
        found = self.objects.get(moid)
        if found is not None:
            return found
        if session is not None and moid in session.objects:
            return session.objects[moid]
        # A host's managers ("dateTimeSystem-14") are made when somebody asks for them: 5,000 hosts have 190,000.
        parts = _SUFFIX.match(moid)
        owner = self.objects.get(f"host-{parts.group(2)}") if parts else None
        return owner.make_manager(moid) if owner is not None and hasattr(owner, "make_manager") else None

    def add(self, made: Any) -> Any:
        self.objects[made.moid] = made
        return made

    def next_id(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers)}"

    def unreachable(self, host: Any) -> SoapFault | None:
        """Why a call that needs the host itself cannot be passed on to it. A host that its firewall has cut off is not responding, too."""
        state = host.state.connection
        if not host.state.powered_on and state == "connected":  # vCenter has not noticed yet
            state = "notResponding"
        if state == "disconnected":
            return SoapFault(
                "HostNotConnected", f"The host {host.state.name} is not connected: the operation is not allowed in the current state."
            )
        if state == "notResponding":
            return SoapFault("HostNotReachable", f"Unable to communicate with the remote host {host.state.name}: it is not responding.")
        return None

    def lets_client_in(self, peer: str) -> bool:
        """Whether a stand-alone host's firewall admits a client to the HTTPS port. vCenter's own is no host's business."""
        if self.power.busy:
            with self.lock:
                self.power.tick()
        if self.power.endpoint_down:
            return False
        return self.kind != "esxi" or self.hosts[0].state.lets_in_from("tcp", HTTPS, self.client_address or peer)

    def cuts(self, peer: str) -> bool:
        """Whether a client's connection that stands is at its end."""
        if self.lets_client_in(peer):
            return False
        return self.power.endpoint_down or self.hosts[0].option("firewall_established") == "cut"

    def cluster_settings(self, item: Any) -> dict[str, Any]:
        """What the scenario says of a host's cluster."""
        return self.clusters.get(item.above.title, {}) if hasattr(item.above, "_settings") else {}

    def named(self, name: str) -> Any:
        """The host that a name or an address leads to, None for nobody."""
        if self._named is None:
            self._named = {key: item for item in reversed(self.hosts) for key in (item.state.address, item.state.name.lower())}
        return self._named.get(name.lower())

    # ---- events ---------------------------------------------------------------------------------------------------------------
    def log_event(self, kind: Any, text: str, *, user: str = "", entity: Any = None, **fields: Any) -> None:
        with self.lock:
            self.events.append(make_event(self, kind, text, user, entity, fields))
            self.touch()

    def log_host_event(self, host: Host, type_id: str, text: str, severity: str = "info") -> None:
        self.log_event(vim.event.EventEx, text, entity=host.system, eventTypeId=type_id, severity=severity, message=text)

    def start_task(self, call: Call, description: str, target: Managed, work: Callable[[], Any]) -> Any:
        return start_task(self, call, description, target, work)

    def failed(self, exc: BaseException) -> str:
        """An internal error: the tests assert that there are none."""
        text = "".join(traceback.format_exception(exc))
        self.errors.append(text)
        return text

    # ---- building -------------------------------------------------------------------------------------------------------------
    def _build(self, rows: list[dict[str, Any]]) -> None:
        builder = Builder(self)
        builder.roots()
        number = 0
        made = []
        for index, row in enumerate(rows):
            prepared = self._prepare(row, f"scenario '{self.scenario.name}': hosts[{index}]")
            for own in range(row["count"]):
                number += 1
                made.append((builder.host(row, self._host(row, prepared, number, own + 1)), row))
                if "crypto" in row:
                    self.crypto.add_host(made[-1][0], row["crypto"])
        for index, row in enumerate(self.scenario.data.get("virtual_machines", ())):
            builder.machines(
                row, 1 + sum(one.get("count", 1) for one in self.scenario.data["virtual_machines"][:index]), f"virtual_machines[{index}]"
            )
        if "runs_on" in self.scenario.data.get("vcenter", {}):
            builder.own_machine(self.scenario.data["vcenter"])
        if self.kind == "esxi" and len(self.hosts) != 1:
            raise ScenarioError(f"scenario '{self.scenario.name}': kind esxi needs exactly one host, this makes {len(self.hosts)}")
        try:
            self.licenses = LicenseServer(self, made)
        except ScenarioError as exc:
            raise ScenarioError(f"scenario '{self.scenario.name}': {exc}") from None
        service.add_all(self)
        for item in self.hosts:
            self.ways.look(item.state)

    def _prepare(self, row: dict[str, Any], where: str) -> dict[str, Any]:
        """What all hosts of one entry share, worked out once."""
        release = profiles.load(row.get("profile", DEFAULT_PROFILE))
        services, rulesets = release.service_states, release.ruleset_states
        for key, change in row.get("services", {}).items():
            if key not in services:
                raise ScenarioError(f"{where}.services: profile {release.name} has no service '{key}': {near(key, services)}")
            old = services[key]
            services = services.changed(key, ServiceState(change.get("running", old.running), change.get("policy", old.policy)))
        if release.daemons_own_rulesets and release.options["service_opens_ruleset"]:
            for ruleset in release.rulesets.values():
                if ruleset.toggle is False and ruleset.owner is not None and ruleset.owner in row.get("services", {}):
                    rulesets = rulesets.changed(ruleset.key, RulesetState(services[ruleset.owner].running))
        mounts = tuple(dict.fromkeys(_mount(mount, f"{where}.nfs[{index}]") for index, mount in enumerate(row.get("nfs", ()))))
        v3 = tuple(dict.fromkeys(mount.address for mount in mounts if mount.version == 3))
        if v3:
            # Mounting NFS 3 opens nfsClient for its servers only; NFS 4.1 opens nfs41Client for all (facts.md 3.1, security guide).
            rulesets = rulesets.changed("nfsClient", RulesetState(True, False, v3))
        if any(mount.version == 41 for mount in mounts):
            rulesets = rulesets.changed("nfs41Client", RulesetState(True))
        if "managed_by" in row and self.kind != "esxi":
            raise ScenarioError(
                f"{where}.managed_by: a vCenter's hosts are managed by that vCenter (vcenter.address); this is for kind esxi"
            )
        for key, change in row.get("rulesets", {}).items():
            if key not in rulesets:
                raise ScenarioError(f"{where}.rulesets: profile {release.name} has no ruleset '{key}': {near(key, rulesets)}")
            rulesets = rulesets.changed(key, _ruleset(rulesets[key], change, f"{where}.rulesets.{key}"))
        settings = {**release.time, **row.get("time", {})}
        hardware = _hardware(release, row, where)
        return {"profile": release, "services": services, "rulesets": rulesets, "time": settings, "nfs": mounts, "hardware": hardware}

    def _host(self, row: dict[str, Any], shared: dict[str, Any], number: int, own: int) -> Host:
        release: Profile = shared["profile"]
        settings = shared["time"]
        pattern = row.get("name", "esx-{n:03d}.example.com")
        try:
            name = pattern.format(n=number, i=own)
        except (KeyError, IndexError, ValueError):
            raise ScenarioError(
                f"host name pattern '{pattern}': only {{n}} (number in the scenario) and {{i}} (in the entry) exist"
            ) from None
        host = Host(self, name, number, release)
        if "options" in row or self.options:
            common = {key: self.options[key] for key in COMMON_OPTIONS if key in self.options}
            host.options = shared.setdefault(
                "options", {"config_when_disconnected": "cached", **release.options, **common, **row.get("options", {})}
            )
        host.services, host.rulesets = shared["services"], shared["rulesets"]
        state = row.get("state", "connected")
        host.connection = {"disconnected": "disconnected", "not_responding": "notResponding"}.get(state, "connected")
        host.maintenance = state == "maintenance"
        host.reboot_required = row.get("reboot_required", False)
        policy = row.get("default_policy", {})
        host.incoming_blocked = policy.get("incoming_blocked", True)
        host.outgoing_blocked = policy.get("outgoing_blocked", True)
        host.unreachable_servers = shared.setdefault("unreachable", frozenset(row.get("unreachable_servers", ())))
        host.dns = tuple(row.get("dns", DEFAULT_DNS))
        host.dhcp = row.get("dhcp", False)
        host.nfs = shared["nfs"]
        host.iscsi = tuple((target["address"], target.get("port", 3260)) for target in row.get("iscsi", ()))
        host.vsan = row.get("vsan", False)
        host.hardware = shared["hardware"]
        host.certificate = row.get("certificate", {})
        image.begin(host, row, shared)
        host.managed_by = row.get("managed_by") if self.kind == "esxi" else self.address
        if "state" not in shared:
            shared["state"] = _time_state(settings)
        host.time = shared["state"]
        host.grandmaster = settings.get("ptp_grandmaster", "gone") == "reachable"
        clock = row.get("clock", {})
        host.clock.panic = float(host.options["panic_threshold"])
        shift = clock.get("offset")
        if isinstance(shift, list):
            shift = random.Random(f"{self.seed}:{name}").uniform(*shift)
        host.clock.offset = host.clock.noise if shift is None else float(shift)
        host.clock.drift_ppm = float(clock.get("drift_ppm", 0.0))
        if settings.get("last_sync") is not None:
            host.clock.last_poll = -float(settings["last_sync"])
        active = settings.get("active_servers")
        host.begin(synced=shift is None, active_servers=tuple(active) if active is not None else None)
        return host

    # ---- acting from outside --------------------------------------------------------------------------------------------------
    def set_connection(self, host: Any, state: str) -> None:
        """Somebody decides on a host's connection, whatever its firewall says; it stays so until somebody decides anew."""
        self.ways.decided(host)
        self.move(host, {"not_responding": "notResponding"}.get(state, state))

    def move(self, host: Any, wire: str) -> None:
        """A host drops out of or returns to vCenter; vCenter logs it, as real ones do."""
        if host.state.connection == wire:
            return
        host.state.connection = wire
        kinds = {"connected": "HostConnectedEvent", "disconnected": "HostDisconnectedEvent", "notResponding": "HostConnectionLostEvent"}
        kind = VmomiSupport.GetWsdlType("urn:vim25", kinds[wire])
        self.log_event(kind, f"Host {host.state.name} is now {wire}", entity=host)
        for machine in host.machines:
            machine.touch()
        if wire == "connected":
            self.crypto.hand_out(host)

    # ---- machines and hosts that come and go ----------------------------------------------------------------------------------
    def machine_id(self) -> str:
        self._machines += 1
        return str(self._machines) if self.kind == "esxi" else self.next_id("vm-")

    def remove_machine(self, machine: Any) -> None:
        """Out of the inventory; its files stay."""
        machine.leave()
        self.objects.pop(machine.moid, None)
        self.crypto.alarms.pop(machine.moid, None)
        self.touch()

    def custom_field(self, name: str) -> int:
        """The key of a custom field, which is made if there is none."""
        for key, known in self.custom_fields.items():
            if known == name:
                return key
        key = 101 + len(self.custom_fields)
        self.custom_fields[key] = name
        return key

    def custom_field_defs(self) -> Any:
        kind = vim.CustomFieldsManager.FieldDef
        rows = [kind(key=key, name=name, type=str, managedObjectType=vim.VirtualMachine) for key, name in self.custom_fields.items()]
        return VmomiSupport.GetVmodlType("vim.CustomFieldsManager.FieldDef[]")(rows)

    def power_off(self, item: Any) -> None:
        """A host loses power, and vCenter its connection."""
        self.crypto.went_down(item)
        self.power.went_down(item)
        if self.kind == "vcenter":
            self.set_connection(item, "not_responding")

    def power_on(self, item: Any, push: bool = True) -> None:
        if not image.boot(item.state):
            return  # it stands at a purple screen
        item.state.powered_on = True
        self.power.booted(item)
        if self.kind == "vcenter" and push:
            self.set_connection(item, "connected")
            return
        if self.kind == "vcenter":
            self.ways.decided(item)
            item.state.connection = "connected"
        self.crypto.came_up(item, push=push)

    def reboot(self, item: Any, push: bool = True) -> None:
        self.power_off(item)
        self.power_on(item, push)

    def replace(self, name: str | None, providers: list[dict[str, Any]]) -> None:
        """Another vCenter takes over the hosts: it knows no provider but those that it is given, no event, no task, no session, no
        permission, no custom value and no tag. (References of entities stay as they were, which a real one's would not.)"""
        crypto = self.crypto
        own = self.licenses.own()
        self.sessions.clear()
        self.generation += 1
        self.name = name or self.name
        self.licenses.rename(own, self.instance_uuid, self.name)
        for task in self.tasks:
            self.objects.pop(task.moid, None)
        self.events.clear()
        self.tasks.clear()
        self.custom_fields.clear()
        crypto.alarms.clear()
        crypto.providers.clear()
        crypto.entity_defaults.clear()
        crypto.default = None
        for row in providers:
            crypto.add_provider(row)
        for machine in crypto.machines():
            machine.permissions, machine.custom, machine.tags = [], {}, []
            machine.touch()
        for item in self.hosts:
            self.ways.decided(item)
            item.state.connection = "connected" if item.state.powered_on else "notResponding"
            crypto.hand_out(item)
        self.touch()

    def each(self, function: Callable[[Any], None]) -> None:
        with self.lock:
            for host in self.hosts:
                function(host)


def _ruleset(old: RulesetState, change: dict[str, Any], where: str) -> RulesetState:
    allowed = change.get("allowed_hosts")
    enabled = change.get("enabled", old.enabled)
    if allowed is None:
        return RulesetState(enabled, old.all_ip, old.ip_address, old.ip_network)
    networks = parsed_networks(allowed.get("ip_network", ()), f"{where}.allowed_hosts.ip_network")
    return RulesetState(enabled, allowed.get("all_ip", False), tuple(allowed.get("ip_address", ())), networks)


def parsed_networks(texts: Any, where: str) -> tuple[tuple[str, int], ...]:
    """Networks as they are written: host bits and capitals stay, for a client must cope with them."""
    out = []
    for text in texts:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ScenarioError(f"{where}: '{text}' is no network such as 192.0.2.0/24") from None
        out.append((str(text).partition("/")[0], network.prefixlen))
    return tuple(out)


def _hardware(release: Profile, row: dict[str, Any], where: str) -> dict[str, Any]:
    """The profile's hardware, with that of the scenario. No hyper-threading, as on the captured host."""
    base = devices.made(release.hardware, row["hardware"], where) if "hardware" in row else release.hardware
    if "sockets" not in row and "cores" not in row:
        return base
    sockets = row.get("sockets", 1 if "cores" in row else release.hardware["packages"])
    cores = row.get("cores", sockets * release.hardware["cores"] // release.hardware["packages"])
    if sockets < 1 or cores < sockets or cores % sockets:
        raise ScenarioError(
            f"{where}: {cores} cores on {sockets} sockets: `cores` are those of all sockets together, the same number on each"
        )
    return {**base, "packages": sockets, "cores": cores, "threads": cores}


def _mount(row: dict[str, Any], where: str) -> NfsMount:
    address = row.get("address", row["server"])
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise ScenarioError(f"{where}: '{address}' is no address; a server given by name needs `address`, for ruleset nfsClient") from None
    return NfsMount(row["server"], address, row.get("version", 3))


def _time_state(settings: dict[str, Any]) -> TimeState:
    return TimeState(
        time_zone=settings.get("time_zone", "UTC"),
        servers=tuple(settings.get("servers", ())),
        protocol=settings.get("protocol", "ntp"),
        enabled=settings.get("enabled", True),
        disable_events=settings.get("disable_events", False),
        disable_fallback=settings.get("disable_fallback", True),
        ptp_domain=settings.get("ptp_domain", 0),
    )
