# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random histories of encrypted machines, their hosts, key servers and vCenters, with runs of ours in between: the same switches.

What became of a machine is judged by the simulated world and by the key servers over KMIP, never by our own result alone. A history
is made from its number only; where one fails, what happened in it is printed.
"""

from __future__ import annotations

import fnmatch
import functools
import json
import pathlib
import random
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("kmip", reason="PyKMIP is not installed")

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import tasks as tasks_module
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.crypto import MEANINGS
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.crypto_wanted import fingerprint_of
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import FleetcareError
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import at_endpoint
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim import crypto as translation
from tests.chaos.test_chaos import SEEDS, hasty
from tests.integration.driver import run
from tests.simulator import ScenarioError, Simulator

__all__ = ["hasty"]

ADMIN, PASSWORD = "administrator@vsphere.local", "Simulated-Pa55word"
LACKING = {
    "no-register": "Cryptographer.RegisterVM",
    "no-keys": "Cryptographer.ManageKeys",
    "no-servers": "Cryptographer.ManageKeyServers",
    "no-host": "Cryptographer.RegisterHost",
    "no-unregister": "VirtualMachine.Inventory.Unregister",
    "no-registration": "VirtualMachine.Inventory.Register",
    "no-rights": "Authorization.ModifyPermissions",
    "no-fields": "Global.SetCustomField",
    "no-files": "Datastore.Browse",
}
SERVERS = ("kms-a", "kms-b")
PROVIDERS = {"pa": "kms-a", "pb": "kms-b"}
HOSTS = ("esx-1", "esx-2", "esx-3", "esx-4")
CLUSTERS = {"gold": ("esx-1", "esx-2"), "silver": ("esx-3", "esx-4")}
FOLDERS: dict[str, tuple[str, ...]] = {"Prod": ("Prod", "App"), "App": ("App",), "Lab": ("Lab",)}
_HUNG: dict[str, Any] = {
    "annotation": "billing",
    "custom_values": {"Owner": "team-a"},
    "permissions": [{"principal": "EXAMPLE\\app", "role": -2}],
}
FLEET: dict[str, Any] = {
    "name": "chaos",
    "kind": "vcenter",
    "vcenter": {"options": {"task_delay": 0.002}},
    "users": {
        ADMIN: {"password": PASSWORD},
        **{name: {"password": PASSWORD, "deny": [{"privilege": one, "entity": "*"}]} for name, one in LACKING.items()},
        "no-app": {"password": PASSWORD, "deny": [{"privilege": "Cryptographer.RegisterVM", "entity": "App"}]},
    },
    "key_servers": list(SERVERS),
    "key_providers": [
        {"name": "pa", "servers": ["kms-a"], "default": True},
        {"name": "pb", "servers": ["kms-b"]},
        {"name": "native", "kind": "nativeProvider", "has_backup": True},
        {"name": "trusted", "kind": "trustAuthority"},
    ],
    "hosts": [
        {"name": "esx-1", "cluster": "gold", "crypto": {"provider": "pa"}},
        {"name": "esx-2", "cluster": "gold", "crypto": {"provider": "pa"}},
        {"name": "esx-3", "cluster": "silver", "crypto": {"provider": "pb", "tpm": True}},
        # Nobody ever put this one into safe mode.
        {"name": "esx-4", "cluster": "silver", "crypto": {"mode": "prepared"}},
    ],
    "virtual_machines": [
        {
            "count": 2,
            "name": "app-{i}",
            "host": "esx-[12]",
            "folder": "Prod/App",
            "pool": "tier1",
            "provider": "pa",
            "power": "off",
            **_HUNG,
            "tags": ["urn:vmomi:InventoryServiceTag:prod:GLOBAL"],
            "disks": [{"gb": 1}, {"gb": 2, "key": "own"}],
        },
        {"count": 2, "name": "shared-{i}", "host": "esx-1", "folder": "Prod", "provider": "pa", "key": "shared", "power": "off", **_HUNG},
        {"name": "snap", "host": "esx-2", "folder": "Lab", "provider": "pb", "power": "off", "snapshots": ["before", "after"]},
        {"name": "runs", "host": "esx-2", "folder": "Prod", "provider": "pa"},
        {
            "name": "db",
            "host": "esx-3",
            "folder": "Prod",
            "provider": "pb",
            "power": "off",
            "disks": [{}, {"provider": "pa", "key": "own"}],
        },
        {"name": "native", "host": "esx-2", "folder": "Lab", "provider": "native", "power": "off"},
        {"name": "trusted", "host": "esx-1", "folder": "Lab", "provider": "trusted", "power": "off"},
        {"name": "unsafe", "host": "esx-4", "folder": "Lab", "provider": "pb", "power": "off"},
        {"name": "plain", "host": "esx-1", "folder": "Lab"},
        {"name": "broken", "host": "esx-2", "folder": "Lab", "state": "invalid"},
    ],
}
NAMES = (*("app-1", "app-2", "shared-1", "shared-2", "snap", "runs", "db"), *("native", "trusted", "unsafe", "plain", "broken"))
KEYS = {
    "kms-a": ("app-1", "app-1", "app-1/disk-2", "app-2", "app-2/disk-2", "shared", "runs", "db/disk-2", "host/esx-1", "host/esx-2"),
    "kms-b": ("snap", "db", "unsafe", "host/esx-3"),
}
UNKNOWNS: dict[str, tuple[Any, ...]] = {
    "locked_config": ("readable", "unset"),
    "locked_connection_state": ("connected", "invalid"),
    "push_on_connect": (False, True),
    "unlock_when_provider_returns": (True, False),
    "unlock_enables_host": (True, False),
    "new_host_key": (False, True),
    "mode_after_reboot": ("prepared", "incapable"),
    "reload_fetches_keys": (True, False),
    "unlock_faults": ("call", "task"),
    "unlock_lacks_disk_key": ("InvalidVmState", "success"),
    "unlock_unlocked": ("InvalidState", "success"),
    "register_without_privilege": ("locked", "NoPermission"),
    "register_locked": ("EncryptionKeyRequired", "registers"),
    "unreachable_reason": ("KeyStateMissingInCache", "KeyStateClusterUnreachable"),
    "encrypted_vms": ("readable", "all"),
    "fingerprint": ("sha256", "sha1"),
}
UNLOCK = "CryptoUnlock_Task"
WRITES = (*(UNLOCK,) * 4, *("RegisterVM_Task", "UnregisterVM") * 2, *("ConfigureCryptoKey", "Reload", "SetEntityPermissions", "SetField"))
READS = (
    *("QueryCryptoKeyStatus", "RetrieveKmipServersStatus_Task", "RetrievePropertiesEx", "WaitForUpdatesEx"),
    *("HasPrivilegeOnEntities", "QueryEvents", "FindByDatastorePath"),
)
VOID = ("UnregisterVM", "Reload", "SetEntityPermissions", "SetField")
CLASSES = ("InvalidState", "InvalidVmState", "NoPermission", "SystemError", "NotSupported", "TaskInProgress", "HostNotConnected")
_BROKEN = ("orphaned", "inaccessible")
_CANNOT_TELL = ("read back", "may still be at it", "left the inventory", "not started, because", "was not begun")


# ---- the world -------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def started() -> Iterator[Simulator]:
    """One simulator with its key servers for all histories: a start takes a second, a reset a fiftieth of it."""
    with Simulator(FLEET) as sim:
        yield sim


@pytest.fixture(autouse=True)
def hasty_crypto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_endpoint, "READ_BACK_PAUSES", (0.0, 0.01))
    monkeypatch.setattr(tasks_module, "_PAUSES", (0.005,))
    monkeypatch.setattr(tasks_module, "_LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(translation, "_POLL_SECONDS", 0.02)


Keys = dict[str, dict[str, str]]


class World:
    """How things stand, by the simulator itself and by what the key servers say over KMIP."""

    def __init__(self, sim: Simulator, known: Keys) -> None:
        """``known``: states of keys by server, of those servers that need not be asked again."""
        world = sim.world
        with world.lock:
            told = world.crypto.dump(keys=False)
            for server, row in told["key_servers"].items():
                if row["running"] and server not in known:
                    states = world.crypto.server(server).dump()["keys"]
                    known[server] = {text.rpartition(" (")[2][:-1]: state for text, state in states.items()}
            self.options = dict(world.crypto.options)
            self.hosts = {item.state.name: (item.state.connection, item.state.crypto.mode, item.state.crypto.lost) for item in world.hosts}
            self.held = {item.state.name: {f"{key.provider}/{key.id}" for key in item.state.crypto.cache} for item in world.hosts}
        self.vms: dict[str, dict[str, Any]] = {}
        for name, row in told["vms"].items():
            rights = [{"group": False, "propagate": True, **one} for one in row["permissions"]]
            self.vms[row["path"]] = {"name": name, **row, "permissions": rights}
        self.unregistered: list[str] = told["unregistered"]
        self.providers = told["providers"]
        self.default = told["default_provider"]
        self.cut = told["cut_key_servers"]
        # Of a server that does not run, nobody can tell.
        self.keys = {server: known[server] if row["running"] else None for server, row in told["key_servers"].items()}

    def named(self, name: str) -> dict[str, Any] | None:
        return next((row for row in self.vms.values() if row["name"] == name), None)

    def reaches(self, provider: str) -> bool:
        found = self.providers.get(provider)
        if found is None:
            return False
        if found["kind"] != "vCenter":
            return bool(found["available"])
        return any(self.keys[server] is not None and server not in self.cut for server in found["servers"])

    def why_not(self, key: str) -> str:
        """Why a key cannot be had, as the code that says so; empty where it can, "?" where nobody knows."""
        provider, _slash, number = key.partition("/")
        if provider not in self.providers:
            return "provider_unknown"
        if not self.reaches(provider):
            return "provider_unreachable"
        if self.providers[provider]["kind"] != "vCenter":
            return ""
        state = next(
            (keys[number] for server in self.providers[provider]["servers"] if (keys := self.keys[server]) and number in keys), "?"
        )
        return {"active": "", "gone": "key_missing", "?": "?"}.get(state, "key_not_active")

    def takes(self, host: str) -> bool:
        """Whether a host is sure to take keys, perhaps after vCenter has put it into safe mode again."""
        _connection, mode, lost = self.hosts[host]
        if mode == "safe":
            return True
        able = self.reaches(self.default or "")
        if lost is None:
            return bool(self.options["unlock_enables_host"]) and able
        why = self.why_not(f"{lost.provider}/{lost.id}")
        return why == "" or (why != "?" and self.options["new_host_key"] and able)

    def outcome(self, vm: dict[str, Any]) -> str:
        if vm["crypto"] is None or vm["connection"] in _BROKEN:
            return "not_ours"
        return "waiting" if vm["crypto"] == "locked" or vm["connection"] == "invalid" else "open"

    def opens(self, vm: dict[str, Any], enabling: bool) -> bool:
        """Whether nothing keeps a machine from being opened."""
        connected = self.hosts[vm["host"]][0] == "connected" and vm["connection"] in ("connected", "invalid")
        taken = self.takes(vm["host"]) or (enabling and self.reaches(self.default or ""))
        registered = all(key.partition("/")[0] in self.providers for key in vm["lacking"])
        return vm["crypto"] == "locked" and connected and taken and registered and self.why_not(vm["key"]) == ""


@functools.cache
def secrets_of(sim: Simulator) -> list[str]:
    """Texts that no result may hold."""
    lines = [line for server in sim.key_servers.values() for line in pathlib.Path(server["key"]).read_text().splitlines()]
    return [PASSWORD, *(line for line in lines if line and not line.startswith("-"))]


# ---- what happens ----------------------------------------------------------------------------------------------------------------
class History:
    def __init__(self, sim: Simulator, seed: int, folder: pathlib.Path) -> None:
        self.sim, self.folder = sim, folder
        self.dice = random.Random(f"crypto {seed}")
        self.off: set[str] = set()
        self.renamed: dict[str, str] = {}
        self.broken = False
        # What the key servers began with; whether it was so shows at the end.
        servers = sim.world.crypto.servers
        self.known: Keys = {name: {key.id: "active" for key in one.keys} for name, one in servers.all.items()} if servers else {}
        print(f"history {seed}: CHAOS_SEED={seed}")

    def act(self, do: str, host: str = "*", **args: Any) -> None:
        """What cannot be done, such as to destroy what is destroyed already, does not happen."""
        told = " ".join(f"{name}={value!r}" for name, value in args.items())
        if do.endswith("_key"):
            self.known.pop(args["server"], None)
        try:
            self.sim.act(do, host, **args)
            print(f"  act {do} {'' if host == '*' else host} {told}")
        except ScenarioError as problem:
            print(f"  no {do} {told}: {problem}")

    def world(self) -> World:
        return World(self.sim, self.known)

    def no_key_was_changed(self) -> None:
        """By anybody but the administrators of the key servers, whose doing is known. What a key once lost does not come back."""
        asked: Keys = {}
        World(self.sim, asked)
        both = set(asked) & set(self.known)
        assert {one: asked[one] for one in both} == {one: self.known[one] for one in both}, "the state of a key has changed"

    def step(self) -> None:
        dice = self.dice
        steps: tuple[tuple[int, Callable[[], None]], ...] = (
            (6, self.reboot),
            (3, self.power),
            (5, self.key_server),
            (4, self.key),
            (2, self.rename),
            (1, self.replace),
            (2, self.move),
            (2, lambda: self.on_a_vm("vm_power", on=dice.random() < 0.6)),
            (3, lambda: self.act("forget_keys", dice.choice(HOSTS), vm="*", what=dice.choice(["all", "home", "disks"]))),
            (1, lambda: self.act("crypto_mode", dice.choice(HOSTS), mode=dice.choice(["incapable", "prepared", "safe"]))),
            (2, self.connection),
            (1, lambda: self.act("provider_available", provider=dice.choice(["native", "trusted"]), available=dice.random() < 0.6)),
            (4, self.unknown),
            (1, lambda: self.on_a_vm("vm_busy", on=dice.random() < 0.6)),
            (1, self.vm_state),
        )
        dice.choices([step for _weight, step in steps], [weight for weight, _step in steps])[0]()

    def reboot(self) -> None:
        host = self.dice.choice(HOSTS)
        if host not in self.off:
            self.act("reboot_host", host, push=self.dice.random() < 0.5)

    def power(self) -> None:
        host = self.dice.choice(sorted(self.off) or HOSTS)
        if host in self.off:
            self.off.discard(host)
            self.act("power_on_host", host, push=self.dice.random() < 0.5)
        else:
            self.off.add(host)
            self.act("power_off_host", host)

    def key_server(self) -> None:
        server = self.dice.choice(SERVERS)
        world = self.world()
        if world.keys[server] is None:
            self.act("start_key_server", server=server)
        elif server in world.cut:
            self.act("cut_key_server", server=server, cut=False)
        else:
            self.act(self.dice.choice(["stop_key_server", "cut_key_server"]), server=server)

    def key(self) -> None:
        server = self.dice.choice(SERVERS)
        do = self.dice.choice(["destroy_key", "destroy_key", "deactivate_key", "compromise_key"])
        self.act(do, key=self.dice.choice(KEYS[server]), server=server)

    def rename(self) -> None:
        name = self.dice.choice(sorted(PROVIDERS))
        if name in self.renamed:
            self.act("rename_provider", old=self.renamed.pop(name), new=name)
        else:
            self.renamed[name] = f"{name}-new"
            self.act("rename_provider", old=name, new=self.renamed[name])

    def replace(self) -> None:
        self.renamed.clear()
        rows: list[dict[str, Any]] = [{"name": name, "servers": [server]} for name, server in PROVIDERS.items() if self.dice.random() < 0.5]
        if rows:
            rows[0]["default"] = True
        self.act("replace_vcenter", name=f"vcenter-{self.dice.randint(2, 9)}.example.com", providers=rows)

    def move(self) -> None:
        to = self.dice.choice([host for host in HOSTS if host not in self.off] or HOSTS)
        self.on_a_vm("move_vm", to=to, folder=self.dice.choice([None, "Prod", "Lab", "App"]))

    def on_a_vm(self, do: str, **args: Any) -> None:
        name = self.dice.choice(NAMES)
        vm = self.world().named(name)
        if vm is not None and vm["host"] not in self.off:
            self.act(do, vm=name, **args)

    def vm_state(self) -> None:
        self.on_a_vm("vm_state", state=self.dice.choice([None, "orphaned", "inaccessible", "invalid"]))

    def connection(self) -> None:
        host = self.dice.choice(HOSTS)
        if host not in self.off:
            self.act(self.dice.choice(["disconnect", "reconnect", "reconnect", "not_responding"]), host)

    def unknown(self) -> None:
        name = self.dice.choice(sorted(UNKNOWNS))
        self.act("crypto_option", name=name, value=UNKNOWNS[name][self.dice.random() < 0.3])

    def mend(self) -> None:
        """What people do before they ask for machines to be opened: not all of it helps."""
        world = self.world()
        for server in SERVERS:
            if world.keys[server] is None:
                self.act("start_key_server", server=server)
            if server in world.cut:
                self.act("cut_key_server", server=server, cut=False)
        for name, now in list(self.renamed.items()):
            self.act("rename_provider", old=now, new=name)
        self.renamed.clear()
        for host in sorted(self.off):
            self.act("power_on_host", host, push=self.dice.random() < 0.5)
        self.off.clear()
        for provider in ("native", "trusted"):
            if provider in world.providers:
                self.act("provider_available", provider=provider, available=True)

    # ---- runs of ours ----
    def a_fault(self) -> dict[str, Any]:
        dice = self.dice
        method = dice.choice(WRITES if dice.random() < 0.65 else READS)
        count = None if dice.random() < 0.15 else dice.randint(1, 4)
        common: dict[str, Any] = {"method": method, "count": count, "after": dice.choice([0, 0, 0, 1, 2, 5])}
        if dice.random() < 0.3:
            common["probability"] = 0.5
        kind = dice.random()
        if kind < 0.35:
            return {**common, "fault": dice.choice(CLASSES)}
        if kind < 0.45:
            return {**common, "http": 503}
        if kind < 0.75:
            return {**common, "drop": dice.choice(["before", "after"])}
        if kind < 0.87:
            return {**common, "expire_session": True}
        if kind < 0.9:
            return {**common, "hang": True, "count": 1}
        if kind < 0.94 and method == UNLOCK:
            return {**common, "drop": "after", "then_state": "not_responding", "count": 1}
        if kind < 0.97 and method in VOID:
            return {**common, "ignore": True}
        return {**common, "delay": 0.03, "count": 2}

    def a_selection(self) -> dict[str, Any]:
        dice = self.dice
        kind = dice.random()
        if kind < 0.6:
            return {"vm_name": ["*"]}
        if kind < 0.7:
            return {"vm_name": dice.sample(NAMES, dice.randint(1, 4))}
        if kind < 0.8:
            return {"esxi_hostname": dice.sample(HOSTS, dice.randint(1, 2))}
        if kind < 0.9:
            return {"cluster_name": [dice.choice(sorted(CLUSTERS))]}
        return {"folder": [dice.choice(sorted(FOLDERS))]}

    def selected(self, wish: dict[str, Any], world: World) -> set[str]:
        """Paths of what is chosen, worked out anew."""
        out = set()
        for path, vm in world.vms.items():
            by_name = any(fnmatch.fnmatchcase(vm["name"], one) for one in wish.get("vm_name", ["*"]))
            by_host = vm["host"] in wish.get("esxi_hostname", HOSTS)
            by_cluster = any(vm["host"] in CLUSTERS[one] for one in wish.get("cluster_name", CLUSTERS))
            by_folder = "folder" not in wish or any(vm["folder"] in FOLDERS[one] for one in wish["folder"])
            if by_name and by_host and by_cluster and by_folder and (set(wish) & {"vm_name", "esxi_hostname", "cluster_name", "folder"}):
                out.add(path)
        return out

    def a_wish(self) -> dict[str, Any]:
        dice = self.dice
        wish: dict[str, Any] = {**self.a_selection(), "parallel": dice.choice([1, 4, 16])}
        if dice.random() < 0.35:
            wish.update(reregister=True, backup=True, backup_dir=str(self.folder))
        elif dice.random() < 0.1:
            wish.update(backup=True, backup_dir=str(self.folder))
        if dice.random() < 0.25:
            wish["enable_hosts"] = True
        if dice.random() < 0.15:
            wish["waves"] = dice.choice([["1"], ["1", "100%"], ["2", "2"], ["50%", "100%"]])
        if dice.random() < 0.1:
            wish["max_failures"] = dice.choice([0, 1])
        if dice.random() < 0.2:
            wish["csv"] = True
        if dice.random() < 0.05:
            wish["wait_for_provider"] = 0.05
        if dice.random() < 0.2:
            wish["username"] = dice.choice(["no-app", *sorted(LACKING)])
        if dice.random() < 0.1:
            wish["key_provider"] = self.a_provider()
        return wish

    def a_provider(self) -> dict[str, Any]:
        dice = self.dice
        name = dice.choice(sorted(PROVIDERS))
        where = self.sim.key_servers[PROVIDERS[name]]
        server = {"name": PROVIDERS[name], "address": where["address"], "port": where["port"]}
        if dice.random() < 0.8:
            server["fingerprint"] = fingerprint_of(where["server_certificate"])
        made: dict[str, Any] = {"name": name, "servers": [server], "default": dice.random() < 0.5}
        if dice.random() < 0.85:
            # The key server's CA made it, so the server trusts it.
            made.update(certificate=pathlib.Path(where["certificate"]).read_text(), private_key=pathlib.Path(where["key"]).read_text())
        return made

    def ours(self, wish: dict[str, Any], module: str = "vm_crypto_unlock", check: bool = False, disturbed: bool = False) -> Run:
        shown = {name: value for name, value in wish.items() if name not in ("backup_dir", "key_provider")}
        if "key_provider" in wish:
            shown["key_provider"] = {**wish["key_provider"], "certificate": "...", "private_key": "..."}
        print(f"  run {module}{' --check' if check else ''}{' disturbed' if disturbed else ''} {shown}")
        return Run(self, module, wish, check, disturbed)


class Run:
    """One run of ours, and all that has to be true after any."""

    def __init__(self, history: History, module: str, wish: dict[str, Any], check: bool, disturbed: bool) -> None:
        sim = self.sim = history.sim
        self.wish, self.check, self.disturbed = wish, check, disturbed
        self.before = history.world()
        self.chosen = history.selected(wish, self.before)
        sim.clear_journal()
        self.result: dict[str, Any] | None = None
        self.problem: FleetcareError | None = None
        options = {"password": PASSWORD, "read_timeout": 0.4 if disturbed else 20, **wish}
        try:
            self.result = run(sim, module, check=check, **options)
        except FleetcareError as problem:
            self.problem = problem
        self.sent = [entry for entry in sim.journal if entry.write]
        self.after = history.world()
        self.vms: dict[str, dict[str, Any]] = self.result["vms"] if self.result else {}
        print(f"    {self.result['msg'] if self.result else 'stopped: ' + str(self.problem)}")
        self.reads_only = check or module == "vm_crypto_info"
        self.judge()

    @property
    def wrote(self) -> list[str]:
        return [f"{entry.method} {entry.object}" for entry in self.sent]

    @property
    def text(self) -> str:
        return json.dumps(self.result, default=str) if self.result else str(self.problem and self.problem.as_failure())

    def entry(self, path: str) -> dict[str, Any]:
        row = self.before.vms.get(path) or self.after.vms.get(path)
        return self.vms.get(row["name"], {}) if row else {}

    def judge(self) -> None:
        assert self.sim.errors == []
        assert self.sim.summary()["sessions"] == []
        self.nothing_improper_is_said()
        if self.reads_only:
            assert self.wrote == [], "what only looks has written"
        if self.problem is not None:
            assert self.problem.hint, f"no next step: {self.problem.sentence}"
            assert not [entry for entry in self.sent if entry.status in ("ok", "dropped", "hanging", "ignored")], "a stop hides writes"
            if not self.chosen and "key_provider" not in self.wish:
                return
            if self.wish.get("without_provider") == "nowhere" and "is no key provider" in self.problem.sentence:
                return
            assert self.disturbed or self.wish.get("username", ADMIN) != ADMIN, f"stopped for nothing: {self.problem.sentence}"
        if self.result is not None:
            self.those_chosen_are_told()
            for path in self.chosen:
                self.state_is_told(path)
            self.only_those_chosen_are_written_to()
        for path in self.before.vms:
            self.place_is_kept(path)
        twice = [one for one in self.sent if one.method == UNLOCK and one.status in ("ok", "dropped", "hanging")]
        assert len({one.object for one in twice}) == len(twice), "an unlocking was repeated blindly"

    def nothing_improper_is_said(self) -> None:
        for secret in secrets_of(self.sim):
            assert secret not in self.text, "a secret is in the result"
        for word in ("Traceback", "defect", "AttributeError", "TypeError", "KeyError", "LookupError", "NoneType", "not understood"):
            assert word not in self.text, f"{word} is in the result: {self.text}"
        parts = [*self.vms.items(), ("the endpoint", self.result["endpoint"])] if self.result else []
        for name, part in parts:
            if part.get("failure"):
                assert part["failure"]["cause"] and part["failure"]["hint"], f"{name}: {part['failure']}"
            if part.get("status") in ("failed", "unreachable", "skipped"):
                assert part["failure"], f"{name} is {part['status']} for nothing"

    def those_chosen_are_told(self) -> None:
        assert self.result is not None
        assert set(self.vms) == {self.before.vms[path]["name"] for path in self.chosen}
        causes = {name: part["cause"] for name, part in self.vms.items() if part.get("outcome") == "waiting"}
        told = {name: code for code, names in self.result["causes"].items() for name in names}
        assert told == causes, "the overview and the machines disagree"

    def state_is_told(self, path: str) -> None:
        was, part = self.before.vms[path], self.entry(path)
        name = was["name"]
        if "outcome" not in part:
            assert part["failure"], f"{name}: neither an outcome nor a failure"
            return
        cause = part["failure"]["cause"] if part["failure"] else ""
        if any(text in cause for text in _CANNOT_TELL):
            return
        now = self.after.vms.get(path)
        if now is None:
            return  # see place_is_kept
        assert part["moid"] == now["moid"], f"{name} is another object: {part}"
        if part["outcome"] != "not_ours":  # one that nothing is done about may have been opened by another one with its key
            assert part.get("crypto") == now["crypto"], f"{name} is {now['crypto']}: {part}"
        assert part["outcome"] == self.after.outcome(now), f"{name} is {self.after.outcome(now)}: {part}"
        if part["outcome"] != "waiting":
            assert "cause" not in part, f"{name}: {part}"
            return
        assert part["cause"] in MEANINGS, f"{name}: {part}"
        if not self.reads_only:
            assert part["failure"], f"{name} waits and is not failed: {part}"
        if now["crypto"] == "locked" and not self.disturbed and self.wish.get("username", ADMIN) == ADMIN:
            why = self.after.why_not(now["key"])
            provider = self.after.providers.get(now["key"].partition("/")[0], {"kind": "vCenter"})
            if why not in ("", "?") and provider["kind"] == "vCenter" and not (self.check and "key_provider" in self.wish):
                assert part["cause"] == why, f"{name} waits for {why}: {part}"

    def only_those_chosen_are_written_to(self) -> None:
        objects = {
            f"VirtualMachine:{world.vms[path]['moid']}" for world in (self.before, self.after) for path in self.chosen if path in world.vms
        }
        for entry in self.sent:
            if entry.object.startswith("VirtualMachine:"):
                assert entry.object in objects, f"{entry.method} on {entry.object}, which was not chosen"

    def place_is_kept(self, path: str) -> None:
        was, now = self.before.vms[path], self.after.vms.get(path)
        name, part = was["name"], self.entry(path)
        if now is None:
            assert self.wish.get("reregister"), f"{name} has gone from the inventory"
            assert self.disturbed, f"{name} has gone from the inventory: {part}"
            failure = part["failure"]
            assert failure, f"{name} has gone from the inventory untold: {part}"
            assert path in f"{failure['cause']} {failure['hint']}", (
                f"{name} has gone from the inventory, and nothing names its file: {part}"
            )
            assert "restore" in failure["hint"], f"{name} has gone from the inventory: {part}"
            assert self.result and self.result.get("backup_file"), "there is no record"
            return
        kept = ("name", "path", "folder", "pool", "host", "annotation", "snapshots", "powered_on", "key", "disks")
        found = {code["code"] for code in part.get("findings", ())} | ({part["failure"]["cause"]} if part.get("failure") else set())
        for field in kept:
            told = self.disturbed and now["moid"] != was["moid"] and any("not_restored" in one for one in found)
            assert now[field] == was[field] or told, f"{field} of {name} was {was[field]} and is {now[field]}: {part}"
        if now["moid"] == was["moid"]:
            for field in ("permissions", "custom_values", "tags"):
                assert now[field] == was[field], f"{field} of {name} was {was[field]} and is {now[field]}: {part}"
            return
        assert self.wish.get("reregister"), f"{name} was registered anew, which nobody wanted: {part}"
        assert path in self.chosen, f"{name} was registered anew and not chosen"
        excused = any(word in str(part.get("failure")) for word in _CANNOT_TELL)
        if now["permissions"] != was["permissions"] or now["custom_values"] != was["custom_values"]:
            may = self.disturbed or self.wish.get("username") in ("no-rights", "no-fields")
            assert may, f"{name} had {was['permissions']} {was['custom_values']}, has {now['permissions']} {now['custom_values']}: {part}"
            assert excused or any("not_restored" in one for one in found), f"{name} lost something untold: {part}"
        if was["tags"]:
            assert excused or any("tags_lost" in one for one in found), f"{name} lost its tags untold: {part}"
        if not self.disturbed:
            assert not self.before.opens(was, False), f"{name} was registered anew, which unlocking would have opened: {part}"

    # ---- what is true of some runs only ----
    def opened_what_can_be_opened(self) -> None:
        """After a run of somebody who may do everything, and that nothing disturbed."""
        if self.result is None or self.wish.get("username", ADMIN) != ADMIN:
            return
        if "failed" in (self.result["endpoint"].get("status"),) and "key_provider" in self.wish:
            return
        lines = {(line["provider"], line["key_id"]): line["vms"] for line in self.result["worksheet"]}
        for path in self.chosen:
            was, now, part = self.before.vms[path], self.after.vms[path], self.entry(path)
            if part["status"] == "skipped":
                assert {"waves", "max_failures"} & set(self.wish), f"{was['name']} is skipped: {part}"
                continue
            if self.before.opens(was, bool(self.wish.get("enable_hosts"))):
                assert now["crypto"] == "unlocked", f"{was['name']} could be opened and is {now['crypto']}: {part}"
            if now["key"] and self.after.why_not(now["key"]) == "key_missing" and now["connection"] in ("connected", "invalid"):
                if now["key"] not in self.after.held[now["host"]] and not now["powered_on"]:
                    assert now["crypto"] == "locked"
                provider, _slash, number = now["key"].partition("/")
                assert now["name"] in lines.get((provider, number), ()), (
                    f"{now['name']} is not on the worksheet: {self.result['worksheet']}"
                )

    def is_repeated_for_nothing(self, first: Run) -> None:
        """This run came directly after another one that nothing disturbed."""
        if first.result is None or self.result is None:
            assert (first.result is None) == (self.result is None)
            return
        failed = {part["moid"] for part in first.vms.values() if part["status"] == "failed"}
        again = {UNLOCK, "Reload"}
        if self.wish.get("reregister"):
            again |= {"UnregisterVM"}
        gone = [one for one in self.sent if one.method in again and one.object.partition(":")[2] in failed]
        odd = [one for one in self.sent if one not in gone]
        if any(one.method == "UnregisterVM" for one in gone):
            odd = [one for one in odd if one.method not in ("RegisterVM_Task", "SetEntityPermissions", "SetField")]
        if first.result["endpoint"].get("status") == "failed":
            odd = [one for one in odd if one.object.startswith("VirtualMachine")]
        assert not odd, f"the second run writes {[f'{one.method} {one.object}' for one in odd]}"
        if not any(one.method == "UnregisterVM" for one in gone) and first.result["endpoint"].get("status") != "failed":
            assert not self.result["changed"], f"the second run changes {self.result['msg']}"

    def did_what_was_planned(self, check: Run) -> None:
        """This run did what the check run directly before it had announced."""
        if check.result is None or self.result is None:
            assert (check.result is None) == (self.result is None)
            return
        for name, part in self.vms.items():
            planned = [one for one in check.vms[name]["changes"] if "only_if" not in one]
            last = [{key: one[key] for key in one if key != "only_if"} for one in check.vms[name]["changes"] if "only_if" in one]
            made = [*part["changes"], *part.get("not_done", ())]
            if part.get("because"):
                assert made == last, f"{name}: planned {check.vms[name]['changes']}, done {part}"
            else:
                # What a provider that is set up again has of a key shows only then.
                later = "key_provider" in self.wish and check.result["endpoint"].get("changes") and not made
                assert later or made in (planned, planned + last), f"{name}: planned {check.vms[name]['changes']}, done {part}"
        whole = self.result["endpoint"]
        made = [*whole.get("changes", ()), *whole.get("not_done", ())]
        assert made == check.result["endpoint"].get("changes", []), f"planned {check.result['endpoint']}, done {whole}"


def bring_back(history: History, lost: Run) -> None:
    """Machines that a fault without an end has left without an inventory come back from the record."""
    assert lost.result is not None
    gone = [path for path in lost.before.vms if path not in lost.after.vms]
    made = history.ours({"restore": lost.result["backup_file"]})
    after = history.world()
    for path in gone:
        was, now = lost.before.vms[path], after.vms.get(path)
        if now is None:
            # Nobody can register it while its key cannot be had, on servers that are like that.
            assert after.options["register_locked"] != "registers" or after.hosts[was["host"]][0] != "connected", f"{path} is not back"
            history.broken = True
            continue
        for field in ("name", "folder", "pool", "annotation", "snapshots", "permissions", "custom_values", "key", "disks"):
            assert now[field] == was[field], f"{field} of {was['name']} was {was[field]} and is {now[field]}"
    whole = made.result["endpoint"] if made.result else {}
    assert history.broken or (whole["changed"] and not whole["failure"]), f"everything is back, and the run says {whole}"


def a_run(history: History) -> None:
    dice = history.dice
    kind = dice.random()
    if kind < 0.15:
        wish = history.a_selection()
        if dice.random() < 0.3:
            wish["without_provider"] = dice.choice(["pa", "pb", "native", "nowhere"])
        history.ours(wish, "vm_crypto_info")
        return
    wish = history.a_wish()
    host = dice.choice(HOSTS)
    if dice.random() < 0.5 and host not in history.off:
        # So that there is something to do.
        if dice.random() < 0.5:
            history.act("reboot_host", host, push=False)
        else:
            history.act("forget_keys", host, vm="*", what="all")
    if kind < 0.6:
        specs = [history.a_fault() for _number in range(dice.randint(1, 3))]
        if "reregister" in wish and dice.random() < 0.7:
            specs.append({"method": UNLOCK, "count": dice.choice([1, 3, None]), "fault": "InvalidVmState"})
        if "reregister" in wish and dice.random() < 0.3:
            specs.append({"method": "RegisterVM_Task", "count": None, **dice.choice([{"fault": "InvalidState"}, {"drop": "before"}])})
        for spec in specs:
            print(f"  fault {spec}")
            history.sim.fault(**spec)
        made = history.ours(wish, check=dice.random() < 0.1, disturbed=True)
        history.sim.clear_faults()
        if made.after.unregistered:
            bring_back(history, made)
        return
    check = None
    if kind < 0.75:
        wish.pop("waves", None)
        wish.pop("max_failures", None)
        check = history.ours(wish, check=True)
    made = history.ours(wish)
    made.opened_what_can_be_opened()
    if check is not None:
        made.did_what_was_planned(check)
    elif kind > 0.9 and not {"waves", "max_failures"} & set(wish):
        history.ours(wish).is_repeated_for_nothing(made)


@pytest.mark.parametrize("seed", [seed for seed in SEEDS if seed % 2 == 0])
def test_no_history_loses_a_machine(started: Simulator, seed: int, tmp_path: pathlib.Path) -> None:
    """Every other one: the rest is in ``test_chaos_crypto_odd.py``, as a file's tests are run by one worker."""
    no_history_loses_a_machine(started, seed, tmp_path)


def no_history_loses_a_machine(started: Simulator, seed: int, tmp_path: pathlib.Path) -> None:
    started.reset()
    history = History(started, seed, pathlib.Path(tempfile.mkdtemp(dir=tmp_path)))
    dice = history.dice
    for _number in range(dice.randint(0, 3)):
        history.unknown()
    runs = 0
    for _number in range(dice.randint(3, 12)):
        history.step()
        if dice.random() < 0.11 and not history.broken:
            a_run(history)
            runs += 1
    if not history.broken and (not runs or dice.random() < 0.6):
        if dice.random() < 0.5:
            history.mend()
        at_last(history)
    if dice.random() < 0.4:
        history.no_key_was_changed()


def at_last(history: History) -> None:
    """What somebody does who may do everything, and whom nothing disturbs."""
    last: dict[str, Any] = {"vm_name": ["*"], "enable_hosts": history.dice.random() < 0.3}
    check = history.ours(last, check=True) if history.dice.random() < 0.15 else None
    made = history.ours(last)
    made.opened_what_can_be_opened()
    if check is not None:
        made.did_what_was_planned(check)
    if history.dice.random() < 0.3:
        history.ours(last).is_repeated_for_nothing(made)
