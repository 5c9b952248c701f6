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

from . import scenario as scenarios
from . import tls
from .control import Control
from .dispatch import Dispatcher
from .errors import ScenarioError
from .faults import FaultScript
from .journal import Journal, JournalEntry
from .license import DAY, masked
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

    def _dispatch(self) -> Dispatcher:
        script = FaultScript(self.world.seed)
        for index, rule in enumerate(self.scenario.data.get("faults", ())):
            script.add(rule, f"faults[{index}]")
        return Dispatcher(self.world, self._journal, script)

    # ---- life -----------------------------------------------------------------------------------------------------------------
    def start(self) -> Simulator:
        self._folder = Path(tempfile.mkdtemp(prefix="simulator-"))
        try:
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

    def stop(self) -> None:
        self.world.stopping.set()
        self.world.touch()
        if self._control is not None:
            self._control.stop()
        if self._listener is not None:
            self._listener.stop()
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
        old = self.world
        self.world = self._make()
        self._dispatcher = self._dispatch()
        self._journal.clear()
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


_FOR_ALL = {"time_server"}
_OF_SERVER = {"add_license", "remove_license", "vcenter_license", "license_option"}
ACTIONS: dict[str, Callable[..., None]] = {
    "connect": _connection("connected"),
    "reconnect": _connection("connected"),
    "disconnect": _connection("disconnected"),
    "not_responding": _connection("not_responding"),
    "maintenance": _maintenance,
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
}
