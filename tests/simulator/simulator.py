# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulator as people use it: start, look, act, reset, stop. In-process here; the control API offers the same over HTTP."""

from __future__ import annotations

import fnmatch
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import image, software, tls
from . import scenario as scenarios
from .control import Control
from .dispatch import Dispatcher
from .errors import ScenarioError
from .faults import FaultScript
from .journal import Journal, JournalEntry
from .key_server import KeyServers
from .license import DAY, masked
from .objects import tasks
from .profile import near
from .server import Listener
from .snapshot import snapshot
from .world import World, parsed_networks

_USERS = ("username", "password")


class Simulator:
    """A simulated vCenter or stand-alone host behind a real HTTPS port."""

    def __init__(
        self,
        scenario: Any = "tiny",
        kind: str | None = None,
        hosts: int | None = None,
        seed: int | None = None,
        delay_ms: float = 0,
        *,
        listen: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        self.scenario = scenarios.load(scenario)
        if kind not in (None, "vcenter", "esxi"):
            raise ScenarioError(f"kind is '{kind}': {near(str(kind), ('vcenter', 'esxi'))}")
        self._make: Callable[[], World] = lambda: World(self.scenario, kind, hosts, seed)
        self._delay = delay_ms / 1000
        self._listen = listen
        self._journal = Journal()
        self.world = self._make()
        self._dispatcher = self._dispatch()
        self._folder: Path | None = None
        self._listener: Listener | None = None
        self._control: Control | None = None
        self._key_servers: KeyServers | None = None

    def _dispatch(self) -> Dispatcher:
        script = FaultScript(self.world.seed)
        for index, rule in enumerate(self.scenario.data.get("faults", ())):
            script.add(rule, f"faults[{index}]")
        return Dispatcher(self.world, self._journal, script)

    # ---- life -----------------------------------------------------------------------------------------------------------------
    def start(self) -> Simulator:
        self._folder = Path(tempfile.mkdtemp(prefix="simulator-"))
        try:
            self._start_keys()
            wanted = self.scenario.data.get("tls", {})
            pem = tls.make(self._listen[0], self.world.name, wanted.get("certificate", "valid"))
            self.thumbprint = pem.thumbprint
            self._listener = Listener(
                *self._listen,
                tls.context(pem, self._folder),
                lambda: self._dispatcher,
                delay=self._delay,
                silent_tls=wanted.get("handshake") == "silent",
            )
            self._control = Control(self, self._listen[0])
        except BaseException:
            self.stop()
            raise
        return self

    def _start_keys(self) -> None:
        """Key servers, and what hangs on their keys; then what the scenario does before anybody looks."""
        assert self._folder is not None
        names = self.scenario.data.get("key_servers", [])
        if names and self._key_servers is None:
            self._key_servers = KeyServers(names, self._folder / "key-servers")
            self._key_servers.start(self.world.crypto.wanted())
        own = self._folder / "vcenter"
        own.mkdir(mode=0o700, exist_ok=True)
        self.world.crypto.attach(self._key_servers, own)
        self.world.power.before_start = True
        for action in self.scenario.data.get("begin", ()):
            self.act(**action)
        self.world.power.before_start = False

    def stop(self) -> None:
        self.world.stopping.set()
        self.world.touch()
        if self._control is not None:
            self._control.stop()
        if self._listener is not None:
            self._listener.stop()
        if self._key_servers is not None:
            self._key_servers.stop()
        self._key_servers = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._control = self._listener = self._folder = None

    def __enter__(self) -> Simulator:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    # ---- where it is ----------------------------------------------------------------------------------------------------------
    @property
    def hostname(self) -> str:
        return str(self._running.host)

    @property
    def port(self) -> int:
        return int(self._running.port)

    @property
    def _running(self) -> Listener:
        if self._listener is None:
            raise RuntimeError("the simulator is not running: use it in a with statement or call start()")
        return self._listener

    @property
    def url(self) -> str:
        return f"https://{self.hostname}:{self.port}/sdk"

    @property
    def control(self) -> str:
        if self._control is None:
            raise RuntimeError("the simulator is not running: use it in a with statement or call start()")
        return self._control.url

    @property
    def username(self) -> str:
        return next(iter(self.world.users))

    @property
    def password(self) -> str:
        return next(iter(self.world.users.values())).password

    @property
    def ca_file(self) -> str:
        if self._folder is None:
            raise RuntimeError("the simulator is not running: use it in a with statement or call start()")
        return str(self._folder / "ca.pem")

    @property
    def key_servers(self) -> dict[str, Any]:
        """Of each key server: address and port, and files with a certificate, a private key and the CA for a client of its own."""
        known = self._key_servers.all if self._key_servers is not None else {}
        return {label: server.told() for label, server in known.items()}

    def sign_csr(self, server: str, csr: str) -> str:
        """What the administrator of a key server does with a signing request; the certificate (PEM)."""
        return str(self.world.crypto.server(server).sign(csr))

    # ---- looking --------------------------------------------------------------------------------------------------------------
    @property
    def errors(self) -> list[str]:
        """Internal errors; tests assert that there are none."""
        return self.world.errors

    @property
    def journal(self) -> list[JournalEntry]:
        return self._journal.entries()

    def journal_since(self, seq: int) -> list[JournalEntry]:
        return self._journal.entries(seq)

    def summary(self) -> dict[str, Any]:
        sessions = [
            {"user": item.user.name, "key": item.key, "idle_s": round(item.idle, 3), "calls": item.calls}
            for item in self.world.sessions.live()
        ]
        return {**self._journal.summary(), "sessions": sessions}

    def state(self) -> dict[str, Any]:
        with self.world.lock:
            self.world.ways.tick()
            return snapshot(self.world)

    # ---- acting ---------------------------------------------------------------------------------------------------------------
    def clear_journal(self) -> None:
        self._journal.clear()

    def reset(self) -> None:
        """The world as the scenario starts it; sessions, faults added since and the journal are gone."""
        old, new = self.world, self._make()
        with new.lock:  # nobody sees it half made
            self.world = new
            self._dispatcher = self._dispatch()
            self._journal.clear()
            if self._key_servers is not None:
                self._key_servers.restore()
            if self._folder is not None:
                self._start_keys()
        with old.lock:
            old.sessions.clear()
            old.stopping.set()  # whatever waits in the old world is over
            old.touch()

    def fault(self, **spec: Any) -> int:
        return self._dispatcher.faults.add(spec)

    def clear_faults(self) -> None:
        self._dispatcher.faults.clear()

    def advance(self, seconds: float) -> None:
        self.world.advance(float(seconds))

    def act(self, do: str, host: str = "*", **args: Any) -> int:
        """Change the world from outside; returns how many hosts it concerned."""
        action = ACTIONS.get(do)
        if action is None:
            raise ScenarioError(f"act: no action '{do}': {near(do, ACTIONS)}")
        world = self.world
        with world.lock:
            world.ways.tick()
            chosen = [item for item in world.hosts if fnmatch.fnmatchcase(item.state.name, host)]
            if not chosen:
                raise ScenarioError(f"act: no host '{host}': {near(host, [item.state.name for item in world.hosts][:2000])}")
            try:
                for item in chosen[:1] if do in _OF_SERVER else chosen:
                    with item.state.changing():
                        action(world, item, **args)
            except TypeError as exc:
                raise ScenarioError(f"act {do}: {exc}") from None
            except KeyError as exc:
                raise ScenarioError(f"act {do}: unknown name {exc}") from None
            for item in world.hosts:
                # Some actions change what other hosts see (a time server going away).
                if do in _FOR_ALL:
                    item.state.settle()
                    item.state.reconsider()
            if do in _OF_KEYS:
                world.crypto.notice()
                world.touch()
        return len(chosen)


def _connection(state: str) -> Callable[..., None]:
    return lambda world, item: world.set_connection(item, state)


def _set_clock(world: World, item: Any, offset: float, drift_ppm: float | None = None) -> None:
    item.state.clock.set(world.virtual_now(), float(offset))
    if drift_ppm is not None:
        item.state.clock.drift_ppm = float(drift_ppm)


def _service(method: str) -> Callable[..., None]:
    return lambda world, item, key: getattr(item.state, method)(_known(key, item.state.services))


def _known(key: str, known: Any) -> str:
    if key not in known:
        raise ScenarioError(f"act: unknown name '{key}': {near(key, known)}")
    return key


def _set_servers(world: World, item: Any, servers: list[str]) -> None:
    item.state.apply_time(replace(item.state.time, servers=tuple(servers)))


def _set_policy(world: World, item: Any, key: str, policy: str) -> None:
    item.state.set_policy(_known(key, item.state.services), policy)


def _ruleset(
    world: World,
    item: Any,
    key: str,
    enabled: bool | None = None,
    all_ip: bool | None = None,
    ip_address: Any = None,
    ip_network: Any = None,
) -> None:
    old = item.state.rulesets[_known(key, item.state.rulesets)]
    new = replace(
        old,
        enabled=old.enabled if enabled is None else enabled,
        all_ip=old.all_ip if all_ip is None else all_ip,
        ip_address=old.ip_address if ip_address is None else tuple(ip_address),
        ip_network=old.ip_network if ip_network is None else parsed_networks(ip_network, "act set_ruleset: ip_network"),
    )
    item.state.set_ruleset(key, new)


def _default_policy(world: World, item: Any, incoming_blocked: bool | None = None, outgoing_blocked: bool | None = None) -> None:
    if incoming_blocked is not None:
        item.state.incoming_blocked = bool(incoming_blocked)
    if outgoing_blocked is not None:
        item.state.outgoing_blocked = bool(outgoing_blocked)


def _time_server(world: World, item: Any, server: str, reachable: bool | None = None, offset: float | None = None) -> None:
    row = world.time_servers.setdefault(server, {})
    if reachable is not None:
        row["reachable"] = bool(reachable)
    if offset is not None:
        row["offset"] = float(offset)


def _grandmaster(world: World, item: Any, reachable: bool) -> None:
    item.state.grandmaster = bool(reachable)


def _unreachable(world: World, item: Any, servers: list[str]) -> None:
    item.state.unreachable_servers = frozenset(servers)


def _maintenance(world: World, item: Any, on: bool = True) -> None:
    item.state.maintenance = bool(on)


def _reboot_required(world: World, item: Any, on: bool = True) -> None:
    item.state.reboot_required = bool(on)


def _option(world: World, item: Any, name: str, value: Any) -> None:
    item.state.options = {**item.state.options, name: value}


def _holder(world: World, item: Any) -> Any:
    return world.licenses.holders[item.moid]


def _set_license(world: World, item: Any, key: str) -> None:
    server = world.licenses
    wanted = server.wanted(key, "act set_license")
    server.put(_holder(world, item), wanted)
    if world.kind == "esxi":
        # A host has the key that it was given and no other.
        for other in [one for one in server.inventory if one != wanted]:
            server.discard(other)


def _evaluation_days(world: World, item: Any, days: float) -> None:
    holder = _holder(world, item)
    holder.eval_left, holder.eval_mark = float(days) * DAY, world.virtual_now()


def _features_in_use(world: World, item: Any, features: list[str]) -> None:
    _holder(world, item).in_use = tuple(features)


def _certificate(world: World, item: Any, **change: Any) -> None:
    checked = scenarios.CERTIFICATE(change, "act certificate")
    if "days" in checked:
        checked["since"] = world.virtual_now()
    item.state.certificate = {**item.state.certificate, **checked}


def _known_key(world: World, key: str) -> str:
    if key not in world.licenses.known:
        raise ScenarioError(f"act: the scenario has no key {masked(key)}")
    return key


def _add_license(world: World, item: Any, key: str) -> None:
    world.licenses.add(world.licenses.known[_known_key(world, key)])


def _remove_license(world: World, item: Any, key: str) -> None:
    world.licenses.discard(_known_key(world, key))


def _vcenter_license(world: World, item: Any, key: str, days: float | None = None) -> None:
    if world.kind != "vcenter":
        raise ScenarioError("act vcenter_license: this is a stand-alone host, set_license is what gives it a key")
    own = world.licenses.own()
    if days is not None:
        own.eval_left, own.eval_mark = float(days) * DAY, world.virtual_now()
    world.licenses.put(own, world.licenses.wanted(key, "act vcenter_license"))


def _license_option(world: World, item: Any, name: str, value: Any) -> None:
    world.licenses.options.update(scenarios.keys(**scenarios.LICENSE_OPTIONS)({name: value}, "act license_option"))
    world.licenses.given.add(name)
    world.licenses.forget()


def _server(world: World, server: str) -> Any:
    return world.crypto.server(server)


def _stop_key_server(world: World, item: Any, server: str) -> None:
    _server(world, server).stop()


def _start_key_server(world: World, item: Any, server: str) -> None:
    _server(world, server).start()


def _cut_key_server(world: World, item: Any, server: str, cut: bool = True) -> None:
    assert _server(world, server) is not None and world.crypto.servers is not None
    (world.crypto.servers.cut.add if cut else world.crypto.servers.cut.discard)(server)


def _trust_client(world: World, item: Any, server: str, certificate: str) -> None:
    found = _server(world, server)
    found.trust(certificate)
    found.restart()


def _distrust_clients(world: World, item: Any, server: str) -> None:
    found = _server(world, server)
    found.distrust()
    found.restart()


def _renew_server_certificate(world: World, item: Any, server: str, days: float = 365) -> None:
    found = _server(world, server)
    found.renew_certificate(float(days))
    found.admin = found.client("administrator")
    found.restart()


def _key(do: str) -> Callable[..., None]:
    def action(world: World, item: Any, key: str, server: str | None = None) -> None:
        known = world.crypto.servers.all if world.crypto.servers is not None else {}
        # Without a server: that which began with a key of this label.
        found = server or next((name for name, one in known.items() if any(row.label == key for row in one.keys)), None)
        if found is None:
            raise ScenarioError(f"act {do}_key: no key '{key}': {near(key, [row.label for one in known.values() for row in one.keys])}")
        _server(world, found).administer(do, key)

    return action


def _power_off_host(world: World, item: Any) -> None:
    world.power_off(item)


def _power_on_host(world: World, item: Any, push: bool = True) -> None:
    world.power_on(item, push)


def _reboot_host(world: World, item: Any, push: bool = True) -> None:
    world.reboot(item, push)


def _tpm(world: World, item: Any, on: bool = True) -> None:
    item.state.crypto.tpm = bool(on)


def _crypto_mode(world: World, item: Any, mode: str) -> None:
    """The host is set to a mode by hand, as over its own console; out of safe mode it keeps no key."""
    checked = scenarios.choice("incapable", "prepared", "safe")(mode, "act crypto_mode: mode")
    host = item.state.crypto
    host.mode, host.lost = checked, None
    if checked != "safe":
        host.key = None
        world.crypto.forget(item, list(host.cache))


def _forget_keys(world: World, item: Any, vm: str = "*", what: str = "all") -> None:
    """A host loses the keys of some machines while it runs; `what`: all, home, disks."""
    scenarios.choice("all", "home", "disks")(what, "act forget_keys: what")
    for machine in item.machines:
        if fnmatch.fnmatchcase(machine.title, vm):
            disks = [key for key in machine.files.keys if key != machine.files.home]
            keys = {"all": machine.files.keys, "home": machine.files.keys[:1], "disks": disks}[what]
            machine.powered_on = False
            world.crypto.forget(item, keys)


def _replace_vcenter(world: World, item: Any, name: str | None = None, providers: Any = ()) -> None:
    rows = [scenarios.KEY_PROVIDER(row, f"act replace_vcenter: providers[{index}]") for index, row in enumerate(providers or ())]
    world.replace(name, rows)


def _rename_provider(world: World, item: Any, old: str, new: str) -> None:
    world.crypto.rename(old, new)


def _provider_available(world: World, item: Any, provider: str, available: bool = True) -> None:
    found = world.crypto.providers.get(provider)
    if found is None or found.kind == "vCenter":
        raise ScenarioError(
            f"act provider_available: '{provider}' is no native or Trust Authority provider; for others stop the key server"
        )
    found.available = bool(available)


def _move_vm(world: World, item: Any, vm: str, to: str | None = None, folder: str | None = None) -> None:
    """What somebody else does to a machine; its new host asks vCenter for what it lacks."""
    for machine in world.crypto.chosen(vm):
        target = next((one for one in world.hosts if one.state.name == to), None) if to is not None else machine.runs_on
        if target is None:
            raise ScenarioError(f"act move_vm: no host '{to}': {near(str(to), [one.state.name for one in world.hosts])}")
        above: Any = machine.above
        if folder is not None:
            above = next((one for one in world.objects.values() if getattr(one, "title", None) == folder and hasattr(one, "holds")), None)
            if above is None:
                raise ScenarioError(f"act move_vm: no folder '{folder}'")
        compute: Any = target.above
        pool = machine.pool if machine.pool.owner_ref._moId == compute.moid else compute.pool
        machine.moved(target, above, pool)
        world.crypto.registered(machine)


def _vm_state(world: World, item: Any, vm: str, state: str | None = None) -> None:
    if state is not None:
        scenarios.choice("orphaned", "inaccessible", "invalid")(state, "act vm_state: state")
    for machine in world.crypto.chosen(vm):
        machine.state = state
        machine.powered_on = machine.powered_on and state is None
        machine.touch()


def _vm_power(world: World, item: Any, vm: str, on: bool) -> None:
    for machine in world.crypto.chosen(vm):
        machine.powered_on = bool(on) and not machine.locked
        machine.touch()


def _vm_busy(world: World, item: Any, vm: str, on: bool = True) -> None:
    for machine in world.crypto.chosen(vm):
        if on:
            tasks.unfinished(world, "vim.VirtualMachine.createSnapshot", machine)
        for task in world.tasks:
            if not on and task.target is machine and not task.finished:
                task.fields.update(state="success", progress=None)
    world.touch()


def _hand_made_ruleset(world: World, item: Any, key: str, rules: list[str], enabled: bool = True, loaded: bool = True) -> None:
    """Somebody puts a file into /etc/vmware/firewall and, unless `loaded` is false, has the firewall read it."""
    row = scenarios.OWN_RULESET({"key": key, "rules": rules, "enabled": enabled}, "act hand_made_ruleset")
    image.place_by_hand(item.state, software.ruleset_row(row, "act hand_made_ruleset"), loaded=loaded)


def _install_software(world: World, item: Any, **row: Any) -> None:
    """A package comes in past all checks, as from an image; its rulesets are loaded."""
    package = software.package_row(scenarios.SOFTWARE(row, "act install_software"), "act install_software")
    item.state.software = item.state.software.changed(package.name, package)
    image.refresh(item.state)


def _remove_software(world: World, item: Any, name: str) -> None:
    known = item.state.software
    item.state.software = type(known)({key: row for key, row in known.items() if key != _known(name, known)})
    image.refresh(item.state)


def _acceptance(world: World, item: Any, level: str) -> None:
    item.state.acceptance = software.check_level(level, "act acceptance: level")


def _image_state(name: str) -> Callable[..., None]:
    return lambda world, item, on=True: setattr(item.state, name, bool(on))


def _datastore(
    world: World, item: Any, name: str, free_mb: float | None = None, accessible: bool | None = None, read_only: bool | None = None
) -> None:
    stores = [one for host in world.hosts for one in host.stores if one.title == name]
    if not stores:
        known = [one.title for host in world.hosts for one in host.stores]
        raise ScenarioError(f"act datastore: no datastore '{name}': {near(name, known)}")
    for store in stores:
        store.free = store.free if free_mb is None else int(free_mb * (1 << 20))
        store.usable = store.usable if accessible is None else bool(accessible)
        store.read_only = store.read_only if read_only is None else bool(read_only)


def _crypto_option(world: World, item: Any, name: str, value: Any) -> None:
    world.crypto.options.update(scenarios.keys(**scenarios.CRYPTO_OPTIONS)({name: value}, "act crypto_option"))
    for machine in world.crypto.machines():
        machine.touch()


_FOR_ALL = {"time_server"}
_OF_KEYS = {"stop_key_server", "start_key_server", "cut_key_server", "trust_client", "distrust_clients", "renew_server_certificate"}
_OF_SERVER = {
    "add_license", "remove_license", "vcenter_license", "license_option", "replace_vcenter", "rename_provider", "provider_available", "move_vm",
    "vm_state", "vm_power", "vm_busy", "crypto_option", "datastore", "activate_key", "deactivate_key", "compromise_key", "destroy_key",
} | _OF_KEYS  # fmt: skip
ACTIONS: dict[str, Callable[..., None]] = {
    "connect": _connection("connected"),
    "reconnect": _connection("connected"),
    "disconnect": _connection("disconnected"),
    "not_responding": _connection("not_responding"),
    "maintenance": _maintenance,
    "reboot_required": _reboot_required,
    "set_clock": _set_clock,
    "set_servers": _set_servers,
    "start_service": _service("start_service"),
    "stop_service": _service("stop_service"),
    "restart_service": _service("restart_service"),
    "set_policy": _set_policy,
    "set_ruleset": _ruleset,
    "default_policy": _default_policy,
    "time_server": _time_server,
    "unreachable_servers": _unreachable,
    "grandmaster": _grandmaster,
    "option": _option,
    "set_license": _set_license,
    "evaluation_days": _evaluation_days,
    "features_in_use": _features_in_use,
    "certificate": _certificate,
    "add_license": _add_license,
    "remove_license": _remove_license,
    "vcenter_license": _vcenter_license,
    "license_option": _license_option,
    "stop_key_server": _stop_key_server,
    "start_key_server": _start_key_server,
    "cut_key_server": _cut_key_server,
    "trust_client": _trust_client,
    "distrust_clients": _distrust_clients,
    "renew_server_certificate": _renew_server_certificate,
    "activate_key": _key("activate"),
    "deactivate_key": _key("deactivate"),
    "compromise_key": _key("compromise"),
    "destroy_key": _key("destroy"),
    "power_off_host": _power_off_host,
    "power_on_host": _power_on_host,
    "reboot_host": _reboot_host,
    "tpm": _tpm,
    "crypto_mode": _crypto_mode,
    "forget_keys": _forget_keys,
    "replace_vcenter": _replace_vcenter,
    "rename_provider": _rename_provider,
    "provider_available": _provider_available,
    "move_vm": _move_vm,
    "vm_state": _vm_state,
    "vm_power": _vm_power,
    "vm_busy": _vm_busy,
    "crypto_option": _crypto_option,
    "hand_made_ruleset": _hand_made_ruleset,
    "install_software": _install_software,
    "remove_software": _remove_software,
    "acceptance": _acceptance,
    "secure_boot": _image_state("secure_boot"),
    "require_secure_boot": _image_state("require_secure_boot"),
    "image_managed": _image_state("image_managed"),
    "datastore": _datastore,
}
