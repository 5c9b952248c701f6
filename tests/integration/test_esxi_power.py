# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What esxi_power sends: how much, in which order, with which arguments. What it does in each situation: test_esxi_power_situations.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import session, tasks, waiting
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import EndpointUnreachable, ServerFault
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.power import EnterMaintenance
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import pipeline
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim import power as translation
from tests.integration.driver import run
from tests.simulator import Simulator


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_PAUSES", (0.02,))
    monkeypatch.setattr(pipeline, "READ_BACK_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(tasks, "_PAUSES", (0.01,) * 20)
    monkeypatch.setattr(waiting, "_FIRST_PAUSE", 0.05)
    monkeypatch.setattr(waiting, "_LONGEST_PAUSE", 0.1)


def written(sim: Simulator) -> Counter[str]:
    return Counter(entry.method for entry in sim.journal if entry.write)


def test_many_hosts_are_watched_with_one_call_a_look(simulator: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_FIRST_PAUSE", 0.2)
    monkeypatch.setattr(waiting, "_LONGEST_PAUSE", 5.0)
    sim = simulator({"hosts": [{"count": 60, "cluster": None, "options": {"reboot_seconds": 1.0}}]})
    done = run(sim, "esxi_power", esxi_hostname=["*"], state="rebooted")
    assert done["summary"] == {"changed": 60}
    assert set(written(sim).values()) == {60} and len(written(sim)) == 3
    reads = Counter(entry.method for entry in sim.journal if not entry.write)
    # One before each reboot, for its boot time; the others are looks at all.
    assert reads["RetrievePropertiesEx"] - 60 < 30 and reads["WaitForUpdatesEx"] == 0
    assert {host["boots"] for host in sim.state()["hosts"].values()} == {1}


def test_what_maintenance_mode_is_asked_for(simulator: Callable[..., Simulator]) -> None:
    sim = simulator({"hosts": [{"name": "esx-01.example.com", "cluster": None}]})
    options: dict[str, Any] = {"maintenance_timeout": 77, "evacuate_powered_off": True, "vsan_mode": "evacuate_all"}
    run(sim, "esxi_power", esxi_hostname=["*"], state="maintenance", **options)
    (entry,) = [entry for entry in sim.journal if entry.write]
    assert (entry.method, entry.args["timeout"], entry.args["evacuatePoweredOffVms"]) == ("EnterMaintenanceMode_Task", 77, True)
    assert entry.args["maintenanceSpec"]["vsanMode"]["objectAction"] == "evacuateAllData"


def test_what_is_not_asked_for_is_not_sent(simulator: Callable[..., Simulator]) -> None:
    sim = simulator({"kind": "esxi", "hosts": [{"name": "esx-01.example.com"}]})
    run(sim, "esxi_power", state="maintenance", evacuate_powered_off=True)  # only supported by VirtualCenter
    (entry,) = [entry for entry in sim.journal if entry.write]
    assert set(entry.args) == {"timeout"}


def cluster(count: int = 3, **given: Any) -> dict[str, Any]:
    """Two machines a host, DRS moves them."""
    return {
        "clusters": {"prod": {"drs": "fullyAutomated"}},
        "hosts": [{"count": count, "name": "esx-{n:02d}.example.com", "cluster": "prod", "options": {"reboot_seconds": 0.1}}],
        "virtual_machines": [{"count": 2 * count, "name": "app-{n:02d}"}],
        **given,
    }


def order(sim: Simulator) -> list[tuple[str, str]]:
    return [(entry.method.partition("_")[0], entry.host[:6]) for entry in sim.journal if entry.write and entry.host]


def lost_power(sim: Simulator) -> list[str]:
    return sorted(name for name, machine in sim.state()["crypto"]["vms"].items() if not machine["powered_on"])


WHOLE_WAY = ("EnterMaintenanceMode", "RebootHost", "ExitMaintenanceMode")


def test_hosts_of_a_cluster_go_one_by_one(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(cluster())
    done = run(sim, "esxi_power", esxi_hostname=["*"], state="rebooted")
    assert done["summary"] == {"changed": 3} and lost_power(sim) == []
    assert order(sim) == [(method, f"esx-0{number}") for number in (1, 2, 3) for method in WHOLE_WAY]


def test_with_waves_the_last_of_a_cluster_waits_for_the_first(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(cluster())
    done = run(sim, "esxi_power", esxi_hostname=["*"], state="rebooted", waves=["100%"])
    assert done["summary"] == {"changed": 3} and lost_power(sim) == []
    sent = order(sim)
    assert sent.index(("EnterMaintenanceMode", "esx-03")) > sent.index(("ExitMaintenanceMode", "esx-01"))
    assert sent.index(("EnterMaintenanceMode", "esx-02")) < sent.index(("ExitMaintenanceMode", "esx-01"))


def test_a_host_that_does_not_come_back_stops_its_cluster_and_no_other(simulator: Callable[..., Simulator]) -> None:
    scenario = cluster()
    scenario["hosts"][0]["options"] = {"reboot_seconds": 0.1, "comes_back": "never"}
    scenario["hosts"].append({"name": "lab-01.example.com", "cluster": None, "options": {"reboot_seconds": 0.1}})
    sim = simulator({**scenario, "virtual_machines": [{"name": "app-01", "host": "esx-03*"}]})
    done = run(sim, "esxi_power", esxi_hostname=["*"], state="rebooted", power_timeout=1)
    assert done["summary"] == {"failed": 1, "skipped": 2, "changed": 1}
    assert "esx-01.example.com" in done["hosts"]["esx-02.example.com"]["failure"]["cause"]
    assert {host for _method, host in order(sim)} == {"esx-01", "lab-01"} and lost_power(sim) == []


@pytest.mark.parametrize("waves", [None, ["1", "100%"], ["100%"]])
def test_who_goes_down_with_its_machines_takes_no_others_with_it(simulator: Callable[..., Simulator], waves: list[str] | None) -> None:
    """DRS would move the first host's machines to the second one, which then goes down by force."""
    machines = [{"name": "app-01", "host": "esx-01*"}, {"name": "pinned-01", "host": "esx-02*", "pinned": True}]
    sim = simulator(cluster(2, virtual_machines=machines))
    options: dict[str, Any] = {"waves": waves} if waves else {}
    done = run(sim, "esxi_power", esxi_hostname=["*"], state="rebooted", force=True, **options)
    assert done["summary"] == {"changed": 2}
    assert order(sim) == [("RebootHost", "esx-02"), *[(method, "esx-01") for method in WHOLE_WAY]]
    assert lost_power(sim) == ["pinned-01"]


def test_a_whole_cluster_goes_down_by_force_without_moving_machines_around(simulator: Callable[..., Simulator]) -> None:
    sim = simulator(cluster(vcenter={"runs_on": "esx-02.example.com"}))
    options: dict[str, Any] = {"state": "shutdown", "force": True, "allow_own_endpoint": True, "maintenance_timeout": 1}
    foreseen = run(sim, "esxi_power", check=True, esxi_hostname=["*"], **options)
    named = [finding["text"] for host in foreseen["hosts"].values() for finding in host["findings"] if finding["code"] == "power_vms_cut"]
    done = run(sim, "esxi_power", esxi_hostname=["*"], **options)
    assert done["summary"] == {"changed": 3}
    assert order(sim)[-1] == ("ShutdownHost", "esx-02") and {method for method, _host in order(sim)} == {"ShutdownHost"}
    assert len(lost_power(sim)) == 7 and all(name in str(named) for name in lost_power(sim))


def test_who_has_waited_is_looked_at_again(simulator: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first was away somebody put a machine on the second that nothing moves."""
    pinned = [{"name": "app-01", "host": "esx-01*"}, {"name": "pinned-01", "host": "esx-03*", "pinned": True}]
    sim = simulator(cluster(virtual_machines=pinned))
    have_waited = pipeline.Run._have_waited

    def moved(self: Any, entries: list[Any]) -> None:
        sim.act("move_vm", vm="pinned-01", to="esx-02.example.com")
        have_waited(self, entries)

    monkeypatch.setattr(pipeline.Run, "_have_waited", moved)
    done = run(sim, "esxi_power", esxi_hostname=["esx-01*", "esx-02*"], state="rebooted", maintenance_timeout=2)
    assert done["hosts"]["esx-02.example.com"]["failure"]["kind"] == "not_compliant"
    assert "pinned-01" in done["hosts"]["esx-02.example.com"]["failure"]["cause"]
    assert {host for _method, host in order(sim)} == {"esx-01"} and lost_power(sim) == []


def test_who_cannot_be_looked_at_again_is_not_begun(simulator: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch) -> None:
    sim = simulator(cluster())
    looked = pipeline.Run._look

    def look(self: Any, entries: list[Any]) -> Any:
        if [entry.target.name for entry in entries] == ["esx-02.example.com"]:
            raise ServerFault("not today")
        return looked(self, entries)

    monkeypatch.setattr(pipeline.Run, "_look", look)
    done = run(sim, "esxi_power", esxi_hostname=["*"], state="rebooted")
    assert done["summary"] == {"changed": 1, "skipped": 2}, "what was written is told"
    assert "could not be prepared: not today" in done["hosts"]["esx-02.example.com"]["failure"]["cause"]
    assert {host for _method, host in order(sim)} == {"esx-01"}


def test_a_boot_of_somebody_else_is_not_taken_for_this_one(simulator: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch) -> None:
    """The host is booted while it is being emptied: its boot time is newer than that of the plan before the reboot is sent."""
    sim = simulator({"hosts": [{"name": "esx-01.example.com", "cluster": None, "options": {"power_works": False}}]})
    apply = translation.apply

    def booted(session: Any, target: Any, row: Any, change: Any) -> Any:
        if isinstance(change, EnterMaintenance):
            sim.act("reboot_host", host="*")
        return apply(session, target, row, change)

    monkeypatch.setattr(translation, "apply", booted)
    done = run(sim, "esxi_power", esxi_hostname=["*"], state="rebooted", power_timeout=1)
    host = done["hosts"]["esx-01.example.com"]
    assert host["failure"]["kind"] == "timed_out" and written(sim)["ExitMaintenanceMode_Task"] == 0


def test_a_run_that_was_interrupted_is_told_by_the_next_one(simulator: Callable[..., Simulator]) -> None:
    sim = simulator({"hosts": [{"name": "esx-01.example.com", "cluster": None, "reboot_required": True, "options": {"reboot_seconds": 3}}]})
    options: dict[str, Any] = {"esxi_hostname": ["*"], "state": "rebooted", "only_if_required": True}
    first = run(sim, "esxi_power", deadline=1.5, **options)["hosts"]["esx-01.example.com"]
    assert first["failure"]["hint"].endswith("It is left in maintenance mode, which state: normal ends.")
    assert first["maintenance"] and first["power"] == "on", "what was seen last"
    assert first["failure"]["kind"] == "interrupted" and [change["change"] for change in first["not_done"]] == [
        "reboot",
        "leave_maintenance",
    ]
    sim.advance(4)
    again = run(sim, "esxi_power", **options)["hosts"]["esx-01.example.com"]
    assert again["status"] == "compliant" and again["maintenance"]
    assert [(finding["code"], finding["level"]) for finding in again["findings"]] == [("power_left_in_maintenance", "warning")]


def test_a_host_that_was_seen_going_down_is_told_although_the_run_stops(simulator: Callable[..., Simulator]) -> None:
    slow = {"name": "esx-02.example.com", "cluster": None, "options": {"power_works": False}}
    sim = simulator({"hosts": [{"name": "esx-01.example.com", "cluster": None}, slow]})
    done = run(sim, "esxi_power", esxi_hostname=["*"], state="shutdown", deadline=2.0)
    assert done["hosts"]["esx-01.example.com"]["status"] == "changed" and done["hosts"]["esx-01.example.com"]["power"] == "off"
    assert done["hosts"]["esx-02.example.com"]["failure"]["kind"] == "interrupted"


def test_a_cut_network_is_no_shutdown(simulator: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch) -> None:
    """The write is lost, and then nothing answers any more: whether the host is down nobody knows."""
    monkeypatch.setattr(waiting, "BEGINS_WITHIN", 0.5)
    sim = simulator({"kind": "esxi", "hosts": [{"name": "esx-01.example.com"}]})
    sim.fault(method="ShutdownHost_Task", drop="before")
    read = waiting.read_rows

    def cut(*asked: Any) -> Any:
        if written(sim)["ShutdownHost_Task"]:
            raise EndpointUnreachable("no connection")
        return read(*asked)

    monkeypatch.setattr(waiting, "read_rows", cut)
    host = run(sim, "esxi_power", state="shutdown")["hosts"]["esx-01.example.com"]
    assert host["status"] == "failed" and host["failure"]["kind"] == "endpoint_unreachable"
    assert [change["change"] for change in host["changes"]] == ["enter_maintenance"]


def test_a_stand_alone_host_is_logged_in_to_again(simulator: Callable[..., Simulator]) -> None:
    sim = simulator({"kind": "esxi", "hosts": [{"name": "esx-01.example.com"}]})
    done = run(sim, "esxi_power", state="rebooted")
    assert done["summary"] == {"changed": 1} and sim.summary()["logins"] == 2 and sim.summary()["sessions"] == []


@pytest.mark.parametrize("method", ["EnterMaintenanceMode_Task", "RebootHost_Task", "ExitMaintenanceMode_Task"])
@pytest.mark.parametrize("drop", ["before", "after"])
def test_each_answer_may_get_lost(simulator: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch, method: str, drop: str) -> None:
    """What was done is told as done, and what was not is not; nothing is sent twice."""
    monkeypatch.setattr(waiting, "BEGINS_WITHIN", 0.5)
    sim = simulator({"hosts": [{"name": "esx-01.example.com", "cluster": None, "options": {"reboot_seconds": 0.1}}]})
    sim.fault(method=method, drop=drop)
    host = run(sim, "esxi_power", esxi_hostname=["*"], state="rebooted")["hosts"]["esx-01.example.com"]
    state = sim.state()["hosts"]["esx-01.example.com"]
    assert set(written(sim).values()) == {1}
    if drop == "after":
        assert (host["status"], state["boots"], state["maintenance"]) == ("changed", 1, False)
        return
    assert host["failure"]["kind"] == "endpoint_unreachable" and "nothing was seen" in host["failure"]["cause"]
    reached = {"EnterMaintenanceMode_Task": (0, False), "RebootHost_Task": (0, True), "ExitMaintenanceMode_Task": (1, True)}[method]
    assert (state["boots"], state["maintenance"]) == reached
    done = [change["change"] for change in host["changes"]]
    assert done == ["enter_maintenance", "reboot", "leave_maintenance"][: sum(map(int, reached))]


@pytest.mark.parametrize("fault", ["HostConfigFault", "NoPermission", "TaskInProgress"])
def test_one_bad_host_hides_no_other(simulator: Callable[..., Simulator], fault: str) -> None:
    sim = simulator({"hosts": [{"count": 3, "name": "esx-{n:02d}.example.com", "cluster": None, "options": {"reboot_seconds": 0.1}}]})
    arguments = {"privilegeId": "Host.Config.Maintenance"} if fault == "NoPermission" else {}
    sim.fault(method="EnterMaintenanceMode_Task", host="esx-02*", fault=fault, args=arguments)
    done = run(sim, "esxi_power", esxi_hostname=["*"], state="rebooted")
    assert done["summary"] == {"changed": 2, "failed": 1}
    failure = done["hosts"]["esx-02.example.com"]["failure"]
    assert failure["fault"] == fault and failure["hint"]
    assert [host["boots"] for host in sim.state()["hosts"].values()] == [1, 0, 1]
