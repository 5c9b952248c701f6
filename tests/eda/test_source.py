# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source against the simulator. Nothing tells vCenter's clock an hour ahead from a controller's an hour behind, so it is
vCenter's that is set here, as it shares this process; ``test_rulebook.py`` sets the controller's."""

from __future__ import annotations

import collections
import datetime
import json
import logging
import pathlib
import stat
import time
from collections.abc import Callable
from typing import Any

import pytest
from pyVmomi import vim

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import store
from tests.eda.following import QUICK, Following, machines, plugin
from tests.simulator import Simulator
from tests.simulator.objects import events as simulated
from tests.unit.simulator.conftest import client

Start = Callable[..., Simulator]


def lock(sim: Simulator, pattern: str) -> None:
    sim.act("forget_keys", host="*", vm=pattern)


def unlock(sim: Simulator, *names: str) -> None:
    with client(sim) as si:
        view = si.content.viewManager.CreateContainerView(si.content.rootFolder, [vim.VirtualMachine], True)
        for one in view.view:
            if one.name in names:
                one.CryptoUnlock_Task()
        ends = time.monotonic() + 10
        while any(one.name in names and one.runtime.cryptoState == "locked" for one in view.view):
            assert time.monotonic() < ends
            time.sleep(0.02)


def once(names: list[str]) -> None:
    assert [name for name, count in collections.Counter(names).items() if count > 1] == []


def calls(sim: Simulator) -> dict[str, int]:
    return dict(sim.summary()["by_method"])


# ---- the stream --------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("offset", [-3600, 0, 3600])
def test_a_hundred_in_bursts_over_lost_connections(simulator: Start, tmp_path: pathlib.Path, offset: float) -> None:
    sim = simulator(machines(100, vcenter={"clock": {"offset": offset}}))
    with Following(sim, state_file=str(tmp_path / "state.json")) as follow:
        follow.begun()
        for number, tens in enumerate(("0[0-1]", "0[2-3]", "0[4-5]", "0[6-7]", "0[8-9]", "100")):
            if number == 1:
                sim.fault(method="QueryEvents", expire_session=True)
            if number == 2:
                # More than the client's own repetitions: the session is given up and made anew.
                sim.fault(method="QueryEvents", count=4, drop="after")
            if number == 3:
                sim.fault(method="QueryEvents", count=3, http=503)
            if number == 4:
                sim.fault(method="*", count=2, expire_session=True)
            lock(sim, f"vm-{tens}*")
            follow.settle(0.2)
        follow.until(lambda: len(follow.names) >= 100)
        follow.settle()
    once(follow.names)
    assert sorted(follow.names) == [f"vm-{n:04d}" for n in range(1, 101)]
    assert sim.summary()["writes"] == 0
    keys = [vm["key"] for event in follow.events for vm in event["vms"]]
    assert keys == sorted(keys)


def test_what_is_handed_on(simulator: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    sim = simulator(machines(2, hosts=1))
    with Following(sim) as follow:
        follow.begun()
        lock(sim, "vm-0002")
        follow.until(lambda: follow.events)
    (event,) = follow.events
    assert json.loads(json.dumps(event)) == event
    (vm,) = event["vms"]
    assert event["vm_names"] == [vm["name"]] == ["vm-0002"] and event["vm_moids"] == [vm["moid"]] and vm["host"] == "esx-01.example.com"
    assert vm["type"] == "com.vmware.vc.vm.Crypto.VMLocked.KeyMissingOnHost"
    assert datetime.datetime.fromisoformat(vm["created"]).tzinfo is not None
    assert event["vcenter"]["hostname"] == sim.hostname and event["vcenter"]["port"] == sim.port
    assert event["vcenter"]["instance_uuid"] == sim.world.instance_uuid
    assert sim.password not in json.dumps(event) + caplog.text


def test_calls(simulator: Start) -> None:
    """One call an idle look; one more where somebody is to be handed on, for vCenter's clock."""
    sim = simulator(machines(100))
    with Following(sim, poll_interval=0.3) as follow:
        follow.begun(4)
        idle = calls(sim)
        assert idle == {"RetrieveServiceContent": 1, "Login": 1, "CurrentTime": 1, "QueryEvents": idle["QueryEvents"]}
        lock(sim, "*")
        follow.until(lambda: len(follow.names) == 100)
        follow.settle(0.1)
        busy = calls(sim)
        # Nobody waits any more, so that the clock is left alone again.
        follow.begun(busy["QueryEvents"] + 3)
        after = calls(sim)
        assert busy["CurrentTime"] - 1 <= busy["QueryEvents"] - idle["QueryEvents"] + 1 and after["CurrentTime"] == busy["CurrentTime"]
        assert set(after) == set(idle)
    assert calls(sim)["Logout"] == 1


@pytest.mark.parametrize("begins", ["oldest", "end"])
def test_more_events_than_a_page(simulator: Start, monkeypatch: pytest.MonkeyPatch, begins: str) -> None:
    """Where a new collector stands is documented as the oldest event; the other is what some servers do."""
    made = simulated.EventHistoryCollector.__init__

    def at_the_oldest(self: Any, *arguments: Any) -> None:
        made(self, *arguments)
        self.position = 0

    if begins == "oldest":
        monkeypatch.setattr(simulated.EventHistoryCollector, "__init__", at_the_oldest)
    sim = simulator(machines(2300, hosts=4))
    with Following(sim, max_vms=5000) as follow:
        follow.begun()
        lock(sim, "*")
        follow.until(lambda: len(follow.names) >= 2300, 60)
        follow.settle()
    once(follow.names)
    assert len(follow.names) == 2300
    found = calls(sim)
    assert found["CreateCollectorForEvents"] == found["DestroyCollector"] >= 1


# ---- position ----------------------------------------------------------------------------------------------------------------------
def test_restarts(simulator: Start, tmp_path: pathlib.Path) -> None:
    sim = simulator(machines(40, vcenter={"clock": {"offset": 3600}}))
    lock(sim, "vm-000*")  # before the first start: not followed
    time.sleep(0.05)
    state = tmp_path / "state.json"
    names: list[str] = []
    for tens in ("1", "2", "3"):
        with Following(sim, state_file=str(state)) as follow:
            follow.begun()
            lock(sim, f"vm-00{tens}[0-4]")
            wanted = 5 if tens == "1" else 10
            follow.until_handed(wanted)
            follow.settle(0.4)
        names += follow.names
        lock(sim, f"vm-00{tens}[5-9]")  # while nobody follows
        sim.clear_journal()
        assert stat.S_IMODE(state.stat().st_mode) == 0o600
        assert sim.password not in state.read_text() and sorted(path.name for path in tmp_path.glob("state.json*")) == [
            "state.json",
            "state.json.lock",
        ]
    with Following(sim, state_file=str(state)) as follow:
        follow.until(lambda: len(follow.names) >= 5)
        follow.settle(0.4)
    names += follow.names
    once(names)
    assert sorted(names) == [f"vm-{n:04d}" for n in range(10, 40)]


def test_without_a_state_file_it_begins_now_or_before(simulator: Start) -> None:
    sim = simulator(machines(3))
    lock(sim, "vm-0001")
    with Following(sim) as follow:
        follow.begun(3)
    assert follow.names == []
    with Following(sim, lookback=60) as follow:
        follow.until(lambda: follow.names)
    assert follow.names == ["vm-0001"]


def test_a_crash_before_it_was_remembered_hands_on_again(simulator: Start, tmp_path: pathlib.Path) -> None:
    sim = simulator(machines(3))
    module = plugin()

    def crash(*_arguments: Any) -> None:
        raise OSError("killed")

    names = []
    for broken in (True, False):
        if broken:
            module["Follower"].handed_on = crash
        with Following(sim, module=module if broken else None, state_file=str(tmp_path / "state")) as follow:
            follow.begun()
            lock(sim, "vm-0001")
            if broken:
                assert str(follow.ended()) == "killed"
            else:
                follow.until_handed(1)
                follow.settle()
        names += follow.names
    assert names == ["vm-0001", "vm-0001"]


def test_whoever_takes_is_busy(simulator: Start, tmp_path: pathlib.Path) -> None:
    """What the queue has no room for is not remembered as handed on."""
    sim = simulator(machines(4))
    with Following(sim, state_file=str(tmp_path / "state")) as follow:
        follow.begun()
        follow.open.clear()
        for name in ("vm-0001", "vm-0002", "vm-0003", "vm-0004"):
            lock(sim, name)
            follow.settle(0.3)
    first = follow.names
    with Following(sim, state_file=str(tmp_path / "state")) as follow:
        follow.until(lambda: follow.names)
        follow.settle()
    once(follow.names)
    assert "vm-0004" in follow.names and {*first, *follow.names} >= {"vm-0003", "vm-0004"}


@pytest.mark.parametrize("running", [True, False])
def test_another_vcenter(simulator: Start, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture, running: bool) -> None:
    """Its keys begin anew, so that what it says must not be taken for old."""
    sim = simulator(machines(20))
    options: dict[str, Any] = {"state_file": str(tmp_path / "state")}
    with Following(sim, **options) as follow:
        follow.begun()
        lock(sim, "vm-000*")
        follow.until(lambda: len(follow.names) == 9)
        before = sim.world.instance_uuid
        if running:
            sim.act("replace_vcenter", name="vcenter.example.com", providers=[{"name": "native", "kind": "nativeProvider"}])
            lock(sim, "vm-001*")
            follow.until(lambda: len(follow.names) == 19)
            assert follow.events[-1]["vcenter"]["instance_uuid"] != before
    if not running:
        sim.act("replace_vcenter", name="vcenter.example.com", providers=[{"name": "native", "kind": "nativeProvider"}])
        lock(sim, "vm-0010")  # nobody follows
        with Following(sim, **options) as follow:
            follow.begun()
            lock(sim, "vm-001[1-9]")
            follow.until(lambda: len(follow.names) == 10)
    once(follow.names)
    assert "is another vCenter than before" in caplog.text and before in caplog.text


def test_a_session_kept_over_restarts(simulator: Start, tmp_path: pathlib.Path) -> None:
    """And one that has ended meanwhile, which the first look finds out."""
    sim = simulator(machines(30))
    names = []
    for number, session in enumerate(("keep", "keep", "keep", "end")):
        if number == 2:
            sim.fault(method="QueryEvents", expire_session=True)
        with Following(sim, session=session, state_file=str(tmp_path / "state")) as follow:
            follow.begun()
            lock(sim, f"vm-00{number}*")
            follow.until_handed(1)
            follow.settle(0.3)
        names += follow.names
        assert sim.summary()["logins"] == (1 if number < 2 else 2)
    once(names)
    assert len(names) == 30


@pytest.mark.parametrize("shift", [-3600, 0])
def test_a_look_that_fails_leaves_the_clock_as_it_was(simulator: Start, shift: float) -> None:
    """Set back, and then no answer for longer than looks overlap: what was logged meanwhile is asked for all the same."""
    sim = simulator(machines(3))
    module = plugin()
    module["main"].__globals__["CLOCK_SECONDS"] = 0.1
    with Following(sim, module=module, overlap=1) as follow:
        follow.begun(3)
        sim.fault(method="QueryEvents", count=None, http=503)
        sim.world.server_offset += shift
        lock(sim, "vm-0001")
        follow.settle(4)
        sim.clear_faults()
        follow.until_handed(1)
        lock(sim, "vm-0002")
        follow.until_handed(2)
    assert follow.names == ["vm-0001", "vm-0002"]


def test_vcenters_clock_hops_ahead_and_back(simulator: Start) -> None:
    """About one that is denied: nobody waits, so that no reading of the clock tells of it."""
    sim = simulator(machines(3))
    module = plugin()
    module["main"].__globals__["CLOCK_SECONDS"] = 2.0
    with Following(sim, module=module, deny=["vm-0003"]) as follow:
        follow.begun()
        sim.world.server_offset += 3600
        lock(sim, "vm-0003")
        follow.settle(0.4)
        sim.world.server_offset -= 3600
        lock(sim, "vm-0001")
        follow.until_handed(1)
    assert follow.names == ["vm-0001"]


@pytest.mark.parametrize("shift", [-3600, -70, 3600])
def test_vcenters_clock_is_set_while_it_is_followed(simulator: Start, tmp_path: pathlib.Path, shift: float) -> None:
    """Back, what is logged from then on carries times that were over before."""
    sim = simulator(machines(30))
    module = plugin()
    module["main"].__globals__["CLOCK_SECONDS"] = 0.5
    state = tmp_path / "state"
    with Following(sim, module=module, state_file=str(state)) as follow:
        follow.begun()
        lock(sim, "vm-000*")
        follow.until_handed(9)
        sim.world.server_offset += shift
        lock(sim, "vm-001*")
        follow.settle(0.7)
        lock(sim, "vm-002*")
        follow.until_handed(29)
        # And forward again, to where it was.
        sim.world.server_offset -= shift
        lock(sim, "vm-0030")
        follow.until_handed(30)
        follow.settle(0.8)
        # The position moves on while nothing happens, also in the file.
        assert json.loads(state.read_text())["clock"] > follow.events[-1]["vms"][0]["created"]
    once(follow.names)
    assert len(follow.names) == 30


# ---- limits ------------------------------------------------------------------------------------------------------------------------
def test_the_rate(simulator: Start, tmp_path: pathlib.Path) -> None:
    """Also over a restart."""
    sim = simulator(machines(50, vcenter={"clock": {"offset": -3600}}))
    names: list[str] = []
    handed: list[tuple[float, int]] = []
    for _start in range(2):
        with Following(sim, max_vms=10, per=1.5, state_file=str(tmp_path / "state")) as follow:
            follow.begun()
            if not names:
                lock(sim, "*")
            wanted = 20 if not names else 30
            follow.until_handed(wanted)
        names += follow.names
        handed += [(moment, len(event["vms"])) for moment, event in zip(follow.times, follow.events, strict=True)]
    once(names)
    assert len(names) == 50
    for begin, _count in handed:
        # A hundredth for the way through the queue.
        assert sum(count for moment, count in handed if begin <= moment < begin + 1.49) <= 10


def test_quiet_hours_by_vcenters_clock(simulator: Start) -> None:
    """Quiet in vCenter's UTC, which is another hour than this machine's."""
    sim = simulator(machines(5, vcenter={"clock": {"offset": 6 * 3600}}))
    there = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=6)
    begin, end = there - datetime.timedelta(minutes=30), there + datetime.timedelta(minutes=30)
    with Following(sim, quiet_hours=[f"{begin:%H:%M}-{end:%H:%M}"]) as follow:
        follow.begun()
        lock(sim, "*")
        follow.settle(1)
        assert follow.names == []
        unlock(sim, "vm-0003")  # no longer worth handing on
        follow.settle(0.3)
        sim.world.server_offset += 3600
        follow.until(lambda: follow.names)
    assert sorted(follow.names) == ["vm-0001", "vm-0002", "vm-0004", "vm-0005"]


def test_a_batch_is_collected(simulator: Start) -> None:
    sim = simulator(machines(20))
    with Following(sim, batch_seconds=1.5) as follow:
        follow.begun()
        for digit in range(8):
            lock(sim, f"vm-000{digit}")
            time.sleep(0.1)
        follow.until(lambda: follow.names)
        follow.settle()
    assert len(follow.events) == 1 and len(follow.names) == 7


def test_a_storm_about_one_machine(simulator: Start) -> None:
    """A hundred events that it is locked, and nobody unlocks it; then somebody does."""
    sim = simulator(machines(3))
    with Following(sim, cooldown=600) as follow:
        follow.begun()
        machine = next(one for one in sim.world.crypto.machines() if one.title == "vm-0001")
        for _number in range(100):
            simulated.log_extended(sim.world, "com.vmware.vc.vm.Crypto.VMLocked.KMSClusterError", "locked", "error", machine, {})
            time.sleep(0.01)
        follow.settle()
        assert follow.names == ["vm-0001"]
        lock(sim, "vm-0001")
        unlock(sim, "vm-0001")
        lock(sim, "vm-0001")
        follow.until(lambda: len(follow.names) == 2)
        follow.settle()
    assert follow.names == ["vm-0001", "vm-0001"]


def test_names_and_types(simulator: Start) -> None:
    sim = simulator(machines(30))
    sim_type = "com.vmware.vc.vm.Crypto.VMLocked."
    with Following(sim, allow=["VM-001*", "vm-002*"], deny=["*5"], event_types=[f"{sim_type}KeyMissingOnHost"]) as follow:
        follow.begun()
        lock(sim, "*")
        other = next(one for one in sim.world.crypto.machines() if one.title == "vm-0015")
        simulated.log_extended(sim.world, f"{sim_type}KMSClusterError", "locked", "error", other, {})
        follow.until(lambda: len(follow.names) == 18)
        follow.settle()
    assert len(follow.names) == 18 and not any(name.endswith("5") for name in follow.names)


# ---- what goes wrong ---------------------------------------------------------------------------------------------------------------
def test_an_outage_is_said_once(simulator: Start, caplog: pytest.LogCaptureFixture) -> None:
    sim = simulator(machines(3))
    with Following(sim) as follow:
        follow.begun()
        sim.fault(method="*", count=None, drop="before")
        lock(sim, "vm-0001")
        follow.settle(3)
        sim.clear_faults()
        follow.until(lambda: follow.names)
    told = [record.getMessage() for record in caplog.records if record.name == "fleetcare.esxi.vm_locked"]
    assert len(told) == 2 and "nothing is lost meanwhile" in told[0] and told[1].endswith("answers again.")
    assert follow.names == ["vm-0001"]


def test_it_ends_while_vcenter_hangs(simulator: Start) -> None:
    sim = simulator(machines(1))
    with Following(sim) as follow:
        follow.begun()
        sim.fault(method="QueryEvents", hang=True)
        follow.settle(0.4)
        began = time.monotonic()
    assert time.monotonic() - began < 12
    sim.clear_faults()


def test_a_wrong_password_is_one_sentence_and_one_attempt(simulator: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    sim = simulator(machines(1))
    with Following(sim, password="Wrong-1") as follow:
        text = str(follow.ended())
    assert text.startswith(f"{sim.hostname}:{sim.port}: user name or password is wrong [InvalidLogin]") and "\n" not in text
    assert sim.summary()["failed_logins"] == 1 and "Wrong-1" not in text + caplog.text


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_login_that_is_refused_while_vcenter_starts(
    simulator: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    """Its single sign-on comes up later than the rest. Twice more and no oftener, as the password may have been changed."""
    sim = simulator(machines(2))
    monkeypatch.setattr(store, "REFUSAL_SECONDS", 0)
    module = plugin()
    module["main"].__globals__["LOGIN_SECONDS"] = 0.3
    with Following(sim, module=module) as follow:
        follow.begun()
        sim.fault(method="Login", count=count, fault="InvalidLogin")
        sim.fault(method="QueryEvents", expire_session=True)
        lock(sim, "vm-0001")
        if count < 3:
            follow.until_handed(1)
        else:
            assert "user name or password is wrong" in str(follow.ended())
    assert calls(sim)["Login"] == 1 + (count + 1 if count < 3 else 3)
    assert caplog.text.count("it tries again in") == min(count, 2)
    sim.clear_faults()


def test_an_endpoint_that_never_answered_is_a_mistake(simulator: Start) -> None:
    sim = simulator(machines(1))
    with Following(sim, ca_file="") as follow:
        assert "certificate is not trusted" in str(follow.ended())
    with Following(sim, hostname="vcenter.invalid") as follow:
        assert "not known to the resolver" in str(follow.ended())


@pytest.mark.parametrize(("fault", "sentence"), [("NoPermission", "privilege"), ("InvalidArgument", "does not accept the argument")])
def test_what_vcenter_refuses_for_good(simulator: Start, fault: str, sentence: str) -> None:
    sim = simulator(machines(1))
    sim.fault(method="QueryEvents", count=None, fault=fault)
    with Following(sim) as follow:
        assert sentence in str(follow.ended())
    sim.clear_faults()


def test_a_host_is_no_vcenter(simulator: Start) -> None:
    with Following(simulator("standalone_encrypted")) as follow:
        text = str(follow.ended())
    assert "is an ESXi host; events of locked machines come from vCenter" in text


def test_one_state_file_for_two(simulator: Start, tmp_path: pathlib.Path) -> None:
    sim = simulator(machines(1))
    with Following(sim, state_file=str(tmp_path / "s")) as first:
        first.begun()
        with Following(sim, state_file=str(tmp_path / "s")) as second:
            assert "is used by another process that runs. Give every source a state_file of its own." in str(second.ended())


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"version": 2}', "not json", "[" * 100_000], ids=lambda content: content[:20])
def test_a_spoilt_state_file(simulator: Start, tmp_path: pathlib.Path, content: str) -> None:
    state = tmp_path / "state"
    state.write_text(content)
    with Following(simulator(machines(1)), state_file=str(state)) as follow:
        assert str(follow.ended()).startswith(f"state_file {state} is not one of this source")
    assert state.read_text() == content


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"hostname": ""}, "option hostname is missing. Set it in the rulebook, or as VMWARE_HOST in the environment."),
        ({"hostname": "https://vcenter.example.com/"}, "hostname 'https://vcenter.example.com/' is not a host name"),
        ({"hostnme": "x"}, "there is no option hostnme. Did you mean hostname?"),
        ({"passwrd": "Secret-1"}, "there is no option passwrd. Did you mean password?"),
        ({"port": "https"}, "option port 'https' is not a whole number. Write a whole number."),
        ({"port": 70000}, "port 70000 is not a port"),
        ({"validate_certs": "perhaps"}, "option validate_certs 'perhaps' is not true or false"),
        ({"max_vms": 0}, "max_vms 0 is out of range. Give a number from 1 to 100000."),
        ({"max_vms": True}, "option max_vms True is not a whole number"),
        ({"poll_interval": 0}, "poll_interval 0 is out of range"),
        ({"cooldown": "nan"}, "option cooldown 'nan' is not a number"),
        ({"max_vms": 2.5}, "option max_vms 2.5 is not a whole number"),
        ({"quiet_hours": ["25:00-06:00"]}, "quiet_hours '25:00-06:00' is not a time of the day"),
        ({"allow": {"a": 1}}, "option allow {'a': 1} is not a list of texts"),
        ({"event_types": []}, "event_types is empty"),
        ({"session": "kept"}, "session 'kept' is not known. Write keep, single or end."),
        ({"password": ["Secret-1"]}, "option password is not a text"),
        ({"thumbprint": "abc"}, "thumbprint has 3 characters"),
        ({"state_file": "/does/not/exist/state"}, "state_file /does/not/exist/state cannot be used: No such file or directory"),
    ],
)
def test_bad_options_end_before_the_first_connection(simulator: Start, options: dict[str, Any], sentence: str) -> None:
    sim = simulator(machines(1))
    with Following(sim, **options) as follow:
        text = str(follow.ended())
    assert text.startswith(sentence) and "Secret-1" not in text and "\n" not in text
    assert sim.summary()["connections"] == 0


def test_the_environment(simulator: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    sim = simulator(machines(20))
    for name, value in {
        "HOST": sim.hostname,
        "PORT": sim.port,
        "USER": sim.username,
        "PASSWORD": sim.password,
        "CA_FILE": sim.ca_file,
    }.items():
        monkeypatch.setenv(f"VMWARE_{name}", str(value))
    args = {**QUICK, "hostname": "", "max_vms": "5", "per": "1", "allow": "vm-000*, db-*"}
    with Following(sim, args=args) as follow:
        follow.begun()
        lock(sim, "*")
        follow.until_handed(9)
        follow.settle(1.2)
    assert sorted(follow.names) == [f"vm-000{number}" for number in range(1, 10)]
    assert max(len(event["vms"]) for event in follow.events) <= 5
