# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that is taken out of the inventory is put back, whatever comes between, with all that hung on it."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import tasks
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import at_endpoint, pipeline
from tests.bench.measure import Server, ansible_environment, module_command, served
from tests.integration.driver import run
from tests.integration.test_interruption import module_process
from tests.simulator import Simulator

pytest.importorskip("kmip", reason="PyKMIP is not installed")
pytestmark = pytest.mark.newest_only

ADMINISTRATOR = {"administrator@vsphere.local": {"password": "Simulated-1"}}
# Machines whose files vCenter reads: nobody has to look for their keys. Each has something else that hangs on it.
FLEET: dict[str, Any] = {
    "name": "anew",
    "users": {
        **ADMINISTRATOR,
        "no-register@vsphere.local": {
            "password": "Simulated-1",
            "deny": [{"privilege": "VirtualMachine.Inventory.Register", "entity": "*"}],
        },
    },
    "key_servers": ["kms"],
    "key_providers": [{"name": "p", "servers": ["kms"], "default": True}],
    "hosts": [{"count": 2, "name": "esx-{n:02d}.example.com", "profile": "8.0.3", "cluster": "Gold", "crypto": {"provider": "p"}}],
    "virtual_machines": [
        {
            "count": 3,
            "name": "vm-{i:02d}",
            "host": "esx-01.example.com",
            "folder": "Prod/App",
            "pool": "tier1",
            "provider": "p",
            "power": "off",
            "annotation": "billing",
            "custom_values": {"Owner": "team-a", "Cost": "4711"},
            "permissions": [{"principal": "EXAMPLE\\app", "role": -2}, {"principal": "EXAMPLE\\ops", "role": -1, "group": True}],
            "tags": ["urn:vmomi:InventoryServiceTag:prod:GLOBAL"],
            "disks": [{"gb": 16}],
        },
    ],
}
KEPT = ("host", "folder", "pool", "path", "annotation", "custom_values", "disks", "key")


@pytest.fixture(scope="module")
def started() -> Iterator[Simulator]:
    with Simulator(FLEET) as sim:
        yield sim


@pytest.fixture
def sim(started: Simulator) -> Iterator[Simulator]:
    """Three machines that are locked, and that no CryptoUnlock_Task opens."""
    started.reset()
    started.act("forget_keys", vm="*")
    started.fault(method="CryptoUnlock_Task", count=None, fault="InvalidState")
    started.clear_journal()
    yield started
    assert started.errors == []


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (at_endpoint, pipeline):
        monkeypatch.setattr(module, "READ_BACK_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(tasks, "_PAUSES", (0.01,) * 20)


@pytest.fixture
def anew(sim: Simulator, tmp_path: pathlib.Path) -> Callable[..., dict[str, Any]]:
    def register(vm_name: str = "vm-01", **options: Any) -> dict[str, Any]:
        given = {"reregister": True, "backup": True, "backup_dir": str(tmp_path / "backup"), **options}
        return run(sim, "vm_crypto_unlock", vm_name=[vm_name], **given)

    return register


def machines(sim: Simulator) -> dict[str, Any]:
    found: dict[str, Any] = sim.state()["crypto"]["vms"]
    return found


def unregistered(sim: Simulator) -> list[str]:
    found: list[str] = sim.state()["crypto"]["unregistered"]
    return found


def writes(sim: Simulator) -> list[str]:
    return [entry.method for entry in sim.journal if entry.write]


def rights(machine: dict[str, Any]) -> set[tuple[str, int, bool]]:
    return {(one["principal"], one["role"], bool(one.get("group"))) for one in machine["permissions"]}


def same_place(before: dict[str, Any], now: dict[str, Any]) -> None:
    assert {name: now[name] for name in KEPT} == {name: before[name] for name in KEPT}
    assert rights(now) == rights(before)


# ---- all goes well --------------------------------------------------------------------------------------------------


def test_all_that_hung_on_it_hangs_on_the_new_one(sim: Simulator, anew: Callable[..., dict[str, Any]]) -> None:
    before = machines(sim)
    checked = anew("vm-*", check=True)
    assert checked["vms"]["vm-01"]["changes"] == [
        {"change": "unlock"},
        {"change": "reregister", "path": before["vm-01"]["path"], "only_if": "the changes before it fail"},
    ]
    assert checked["summary"] == {"would_change": 3} and writes(sim) == [] and "backup_file" not in checked
    done = anew("vm-*")
    now = machines(sim)
    assert done["summary"] == {"changed": 3}, done["msg"]
    for name in before:
        told = done["vms"][name]
        assert (now[name]["crypto"], now[name]["connection"]) == ("unlocked", "connected")
        same_place(before[name], now[name])
        assert told["moid"] == now[name]["moid"] != before[name]["moid"]
        assert told["changes"] == [{"change": "reregister", "path": before[name]["path"]}] and not told.get("not_done")
        assert "InvalidState" in told["because"] and told["outcome"] == "open"
        codes = {each["code"]: each for each in told["findings"] if each["status"] == "open"}
        assert set(codes) == {"tags_lost"} and "urn:vmomi:InventoryServiceTag:prod:GLOBAL" in codes["tags_lost"]["text"]
    assert done["causes"] == {} and unregistered(sim) == []
    record = json.loads(pathlib.Path(done["backup_file"]).read_text())
    assert [each["name"] for each in record["vms"]] == ["vm-01", "vm-02", "vm-03"]
    assert record["vms"][0]["tags"] == ["urn:vmomi:InventoryServiceTag:prod:GLOBAL"]
    assert pathlib.Path(done["backup_file"]).stat().st_mode & 0o077 == 0
    sim.clear_journal()
    again = anew("vm-*")
    assert not again["changed"] and writes(sim) == [] and again["summary"] == {"compliant": 3}


def test_it_is_the_last_resort(sim: Simulator, anew: Callable[..., dict[str, Any]]) -> None:
    """A machine that can be unlocked is; so is one whose key is gone never taken out."""
    sim.clear_faults()
    sim.act("destroy_key", key="vm-02")
    before = machines(sim)
    done = anew("vm-*")
    assert {name: one["status"] for name, one in done["vms"].items()} == {"vm-01": "changed", "vm-02": "failed", "vm-03": "changed"}
    assert {name: one["moid"] for name, one in machines(sim).items()} == {name: one["moid"] for name, one in before.items()}
    assert "UnregisterVM" not in writes(sim)


def test_one_that_is_open_and_invalid(sim: Simulator, anew: Callable[..., dict[str, Any]]) -> None:
    """The hint of open_but_invalid promises it: Reload first, as the last resort anew."""
    sim.clear_faults()
    run(sim, "vm_crypto_unlock", vm_name=["vm-01"])
    before = machines(sim)["vm-01"]
    sim.act("vm_state", vm="vm-01", state="invalid")
    done = anew()
    now = machines(sim)["vm-01"]
    assert done["summary"] == {"changed": 1} and now["connection"] == "connected" and now["moid"] != before["moid"], done["msg"]


# ---- refused --------------------------------------------------------------------------------------------------------


def test_without_a_record_it_is_bad_input(sim: Simulator) -> None:
    with pytest.raises(BadInput) as caught:
        run(sim, "vm_crypto_unlock", vm_name=["*"], reregister=True)
    assert "backup" in caught.value.cause and "backup: true" in caught.value.hint and sim.summary()["calls"] == 0


def test_twins_are_left_alone(sim: Simulator, anew: Callable[..., dict[str, Any]]) -> None:
    """vCenter lets no two machines of a folder have one name, but for those of vApps; a stand-alone host does."""
    for machine in sim.world.crypto.machines():
        if machine.title == "vm-02":
            machine.title = "vm-01"
            machine.touch()
    done = anew("vm-*")
    assert done["summary"] == {"changed": 1, "failed": 2}, done["msg"]
    for name, told in done["vms"].items():
        if name != "vm-03":
            row = next(each for each in told["findings"] if each["code"] == "reregister_refused")
            assert row["text"] == "another machine of its folder has the same name"
    assert writes(sim).count("UnregisterVM") == 1


def test_a_twin_that_was_not_selected(sim: Simulator, anew: Callable[..., dict[str, Any]]) -> None:
    chosen = machines(sim)["vm-01"]["moid"]
    for machine in sim.world.crypto.machines():
        if machine.title == "vm-02":
            machine.title = "vm-01"
            machine.touch()
    anew(chosen)
    assert "UnregisterVM" not in writes(sim), "registering it again would meet DuplicateName"


def test_one_whose_host_takes_no_keys(sim: Simulator, anew: Callable[..., dict[str, Any]]) -> None:
    """Registered anew it would be as shut as before, with another object id, and so with each run."""
    sim.clear_faults()
    sim.act("crypto_mode", host="esx-01*", mode="prepared")
    before = machines(sim)["vm-01"]
    for _time in range(2):
        done = anew()
        assert done["vms"]["vm-01"]["status"] == "failed" and not done["changed"], done["vms"]["vm-01"]
    assert machines(sim)["vm-01"]["moid"] == before["moid"] and "UnregisterVM" not in writes(sim)


NO_REGISTER = {"username": "no-register@vsphere.local", "password": "Simulated-1"}


def test_whether_it_may_be_put_back_is_asked_again_in_each_wave(sim: Simulator, anew: Callable[..., dict[str, Any]]) -> None:
    done = anew("*", waves=["1", "100%"], max_failures=9, **NO_REGISTER)
    assert unregistered(sim) == [] and "UnregisterVM" not in writes(sim), done["msg"]
    assert done["summary"] == {"failed": 3}


def test_whether_it_may_be_put_back_is_asked_of_one_that_is_reloaded_too(sim: Simulator, anew: Callable[..., dict[str, Any]]) -> None:
    sim.reset()
    sim.act("vm_state", vm="vm-01", state="invalid")
    done = anew(**NO_REGISTER)
    assert unregistered(sim) == [] and "UnregisterVM" not in writes(sim), done["msg"]


def test_one_that_leaves_late_is_put_back(sim: Simulator, anew: Callable[..., dict[str, Any]]) -> None:
    """Its answer is out of time, and it leaves the inventory after that."""
    before = machines(sim)["vm-01"]
    sim.fault(method="UnregisterVM", delay=6.0)
    done = anew(read_timeout=2)
    assert unregistered(sim) == [], done["msg"]
    same_place(before, machines(sim)["vm-01"])


def test_one_that_was_moved_in_the_meantime_is_left_alone(sim: Simulator, anew: Callable[..., dict[str, Any]]) -> None:
    sim.clear_faults()
    sim.fault(method="CryptoUnlock_Task", count=None, fault="InvalidState")
    step = sim._dispatcher._render
    moved: list[bool] = []

    def render(call: Any, *rest: Any) -> str:
        if call.method == "HasPrivilegeOnEntities" and not moved:
            moved.append(True)
            sim.act("move_vm", vm="vm-01", to="esx-02.example.com")
        return step(call, *rest)

    vars(sim._dispatcher)["_render"] = render
    try:
        done = anew()
    finally:
        vars(sim._dispatcher)["_render"] = step
    assert moved and "UnregisterVM" not in writes(sim) and machines(sim)["vm-01"]["host"] == "esx-02.example.com", done["msg"]


def test_a_record_of_another_vcenter_is_refused(sim: Simulator, anew: Callable[..., dict[str, Any]]) -> None:
    sim.fault(method="RegisterVM_Task", count=None, fault="InvalidState")
    record = anew()["backup_file"]
    assert unregistered(sim) != []
    sim.clear_faults()
    sim.act("replace_vcenter", name="another")
    sim.clear_journal()
    with pytest.raises(BadInput, match="is of another vCenter"):
        run(sim, "vm_crypto_unlock", restore=record)
    assert writes(sim) == []


def test_no_record_no_change(sim: Simulator, anew: Callable[..., dict[str, Any]], tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Exception, match=str(tmp_path / "file")):
        anew(backup_dir=str(tmp_path / "file"))
    assert writes(sim) == []


# ---- registering goes wrong -----------------------------------------------------------------------------------------


def test_refused_once(sim: Simulator, anew: Callable[..., dict[str, Any]]) -> None:
    before = machines(sim)["vm-01"]
    sim.fault(method="RegisterVM_Task", fault="InsufficientResourcesFault")
    done = anew()
    assert done["summary"] == {"changed": 1}, done["msg"]
    now = machines(sim)["vm-01"]
    assert rights(now) == rights(before) and now["custom_values"] == before["custom_values"] and now["folder"] == before["folder"]


@pytest.mark.parametrize("drop", ["before", "after"])
def test_a_lost_answer(sim: Simulator, anew: Callable[..., dict[str, Any]], drop: str) -> None:
    before = machines(sim)["vm-01"]
    sim.fault(method="RegisterVM_Task", drop=drop)
    done = anew()
    assert unregistered(sim) == [] and done["summary"] == {"changed": 1}, done["msg"]
    same_place(before, machines(sim)["vm-01"])


@pytest.mark.parametrize("drop", ["before", "after"])
def test_a_lost_answer_when_it_is_taken_out(sim: Simulator, anew: Callable[..., dict[str, Any]], drop: str) -> None:
    """Nobody knows whether it is out: it has to be looked for."""
    sim.fault(method="UnregisterVM", drop=drop)
    done = anew()
    assert unregistered(sim) == [], done["msg"]
    told = done["vms"]["vm-01"]
    assert told["status"] == "changed" or (told["status"] == "failed" and told["failure"]["hint"]), told


def test_the_host_goes_into_maintenance(sim: Simulator, anew: Callable[..., dict[str, Any]]) -> None:
    sim.fault(method="RegisterVM_Task", delay=0.01)
    after_unregistering(sim, lambda: sim.act("maintenance", host="esx-01*", on=True))
    done = anew()
    now = machines(sim)["vm-01"]
    assert done["summary"] == {"changed": 1} and now["host"] == "esx-02.example.com" and now["crypto"] == "unlocked", done["msg"]
    assert "on_another_host" in [finding["code"] for finding in done["vms"]["vm-01"]["findings"]]


def test_somebody_takes_the_name(sim: Simulator, anew: Callable[..., dict[str, Any]]) -> None:
    def take() -> None:
        for machine in sim.world.crypto.machines():
            if machine.title == "vm-02":
                machine.title = "vm-01"
                machine.touch()

    after_unregistering(sim, take)
    done = anew()
    assert unregistered(sim) == []
    told = done["vms"]["vm-01"]
    row = next(each for each in told["findings"] if each["code"] == "not_restored")
    assert "its name vm-01" in row["text"] and told["status"] == "failed", told
    assert "vm-01 (registered again)" in machines(sim)


def after_unregistering(sim: Simulator, act: Callable[[], Any]) -> None:
    render = sim._dispatcher._render
    over: list[str] = []

    def look(call: Any, *rest: Any) -> str:
        if call.method == "UnregisterVM" and not over:
            over.append(call.method)
            act()
        return render(call, *rest)

    vars(sim._dispatcher)["_render"] = look


def test_refused_for_ever(sim: Simulator, anew: Callable[..., dict[str, Any]]) -> None:
    """The only way to lose one: the server never takes it back. The failure says where it lies, and restore brings it back."""
    before = machines(sim)["vm-01"]
    sim.fault(method="RegisterVM_Task", count=None, fault="InsufficientResourcesFault")
    done = anew("vm-*", max_failures=0, waves=["1", "100%"])
    assert unregistered(sim) == [before["path"]]
    told = done["vms"]["vm-01"]
    assert told["status"] == "failed", told
    assert "vm-01" in done["msg"] and done["backup_file"] in done["msg"]
    # Those that come after it were not touched.
    assert {done["vms"][name]["status"] for name in ("vm-02", "vm-03")} == {"skipped"}

    still = run(sim, "vm_crypto_unlock", restore=done["backup_file"], check=True)
    assert [change["change"] for change in still["endpoint"]["changes"]] == ["register_again"] and unregistered(sim)
    assert "machine_lost" in {each["code"] for each in still["endpoint"]["findings"]}
    refused = run(sim, "vm_crypto_unlock", restore=done["backup_file"])
    assert refused["endpoint"]["status"] == "failed" and before["path"] in refused["endpoint"]["failure"]["message"]
    assert not refused["changed"]
    sim.clear_faults()
    back = run(sim, "vm_crypto_unlock", restore=done["backup_file"])
    assert back["endpoint"]["status"] == "changed" and unregistered(sim) == [], back["msg"]
    same_place(before, machines(sim)["vm-01"])
    assert not [each for each in back["endpoint"]["findings"] if each["code"] == "machine_lost" and each["status"] == "open"]
    again = run(sim, "vm_crypto_unlock", restore=done["backup_file"])
    assert not again["changed"] and again["endpoint"]["status"] == "compliant"


def test_one_that_is_out_of_the_inventory_has_changed(sim: Simulator, anew: Callable[..., dict[str, Any]]) -> None:
    sim.fault(method="RegisterVM_Task", count=None, fault="InsufficientResourcesFault")
    done = anew()
    assert unregistered(sim) and done["changed"] and done["vms"]["vm-01"]["changed"]


def test_one_that_is_out_of_the_inventory_is_told_with_its_file(sim: Simulator, anew: Callable[..., dict[str, Any]]) -> None:
    path = machines(sim)["vm-01"]["path"]
    sim.fault(method="RegisterVM_Task", count=None, fault="InsufficientResourcesFault")
    done = anew()
    message = done["vms"]["vm-01"]["failure"]["message"]
    for words in ("out of the inventory", "InsufficientResourcesFault", path, "restore"):
        assert words in message and words in done["msg"], message


@pytest.mark.parametrize("method", ["SetField", "SetEntityPermissions"])
def test_what_cannot_be_put_back_is_named(sim: Simulator, anew: Callable[..., dict[str, Any]], method: str) -> None:
    sim.fault(method=method, count=None, fault="NoPermission")
    done = anew()
    told = done["vms"]["vm-01"]
    row = next(each for each in told["findings"] if each["code"] == "not_restored")
    named = ("the value of Owner", "the value of Cost") if method == "SetField" else ("EXAMPLE\\app", "EXAMPLE\\ops")
    assert all(name in row["text"] for name in named) and row["status"] == "open", row
    assert told["status"] == "failed" and told["changed"] and told["outcome"] == "open", told
    assert machines(sim)["vm-01"]["crypto"] == "unlocked"


def test_it_is_put_back_although_the_time_is_over(sim: Simulator, anew: Callable[..., dict[str, Any]]) -> None:
    """The deadline comes between taking it out and putting it back."""
    before = machines(sim)["vm-01"]
    sim.fault(method="UnregisterVM", delay=6.0)
    done = anew(deadline=5)
    assert {"UnregisterVM", "RegisterVM_Task"} <= {*writes(sim)}, done["msg"]
    assert unregistered(sim) == [], done["msg"]
    same_place(before, machines(sim)["vm-01"])


def test_a_slow_registration_is_waited_for_although_the_time_is_over(
    sim: Simulator, anew: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on on the server: whoever leaves it alone leaves a machine without its permissions behind."""
    before = machines(sim)["vm-01"]
    monkeypatch.setattr(tasks, "GRACE", 1.0)
    start = sim.world.start_task

    def slow(call: Any, kind: str, *rest: Any) -> Any:
        sim.world.options["task_delay"] = 7.0 if kind.endswith("registerVm") else 0.0
        return start(call, kind, *rest)

    vars(sim.world)["start_task"] = slow
    done = anew(deadline=5)
    assert writes(sim).count("RegisterVM_Task") == 1, "one after the other, not three at a time"
    assert done["vms"]["vm-01"]["changed"] and unregistered(sim) == [], done["msg"]
    same_place(before, machines(sim)["vm-01"])


def test_a_damaged_record(sim: Simulator, tmp_path: pathlib.Path) -> None:
    for text, words in (("{", "no JSON"), ("{}", "no record"), ('{"format": "fleetcare.esxi vms 1", "vms": [{}]}', "damaged")):
        (tmp_path / "record.json").write_text(text)
        with pytest.raises(BadInput) as caught:
            run(sim, "vm_crypto_unlock", restore=str(tmp_path / "record.json"))
        assert words in caught.value.cause and caught.value.hint, caught.value.sentence
    assert sim.summary()["calls"] == 0


# ---- the process is told to end -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    scenario = tmp_path_factory.mktemp("scenario") / "anew.yml"
    scenario.write_text(json.dumps({**FLEET, "begin": [{"do": "forget_keys", "vm": "*"}]}))
    with served(str(scenario)) as server:
        yield server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_between_out_and_in(fleet: Server, tmp_path: pathlib.Path, number: signal.Signals) -> None:
    fleet.control("/reset", {})
    fleet.control("/fault", {"method": "CryptoUnlock_Task", "count": None, "fault": "InvalidState"})
    fleet.control("/fault", {"method": "UnregisterVM", "delay": 1.0, "count": None})
    options = {
        "vm_name": ["vm-*"],
        "reregister": True,
        "backup": True,
        "backup_dir": str(tmp_path / "b"),
        "session": "single",
        "parallel": 1,
    }
    process = subprocess.Popen(
        module_command("fleetcare.esxi.vm_crypto_unlock", options),
        env=ansible_environment(tmp_path, fleet),
        stdout=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    ends = time.monotonic() + 60
    # A write stands in the journal once it has been answered, so this falls between the first one and the second one.
    while not any(entry["method"] == "UnregisterVM" for entry in fleet.control("/journal")):
        assert time.monotonic() < ends and process.poll() is None
        time.sleep(0.02)

    os.kill(module_process(process.pid), number)
    output = process.communicate(timeout=60)[0]
    result = json.loads(output[output.index("=> {") + 3 :])
    state = fleet.control("/state")["crypto"]
    assert state["unregistered"] == [], result["msg"]
    assert {name: one["status"] for name, one in result["vms"].items()}["vm-03"] == "skipped", result["summary"]
    assert result["vms"]["vm-01"]["changed"] and state["vms"]["vm-01"]["crypto"] == "unlocked"
    assert rights(state["vms"]["vm-01"]) == {("EXAMPLE\\app", -2, False), ("EXAMPLE\\ops", -1, True)}
    assert number.name in result["msg"] and fleet.control("/summary")["sessions"] == []
