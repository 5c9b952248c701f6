# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many locked machines at once: after a power cut, with faults in the middle, while waiting for a provider, on servers that know less.

What single machines are locked for is in test_vm_crypto_situations.py."""

from __future__ import annotations

import csv
import io
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import tasks
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import FleetcareError, TargetUnknown
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import at_endpoint, pipeline
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim import crypto as translation
from tests.integration.driver import run
from tests.simulator import Simulator

pytest.importorskip("kmip", reason="PyKMIP is not installed")
pytestmark = pytest.mark.newest_only

KMS_A, KMS_B = "kms-a.example.com", "kms-b.example.com"
APPS = ["app-01", "app-02", "app-03", "app-04"]


@pytest.fixture(scope="module")
def started() -> Iterator[Simulator]:
    with Simulator("encrypted") as sim:
        yield sim


@pytest.fixture
def sim(started: Simulator) -> Iterator[Simulator]:
    started.reset()
    yield started
    assert started.errors == []


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (at_endpoint, pipeline):
        monkeypatch.setattr(module, "READ_BACK_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(tasks, "_PAUSES", (0.01,) * 20)
    monkeypatch.setattr(translation, "_POLL_SECONDS", 0.2)


def lock(sim: Simulator) -> None:
    """Four machines on two hosts, whose key provider was away and is back."""
    sim.act("stop_key_server", server=KMS_A)
    sim.act("reboot_host", host="esx-0[12]*")
    sim.act("start_key_server", server=KMS_A)
    sim.clear_journal()


def machines(sim: Simulator) -> dict[str, Any]:
    found: dict[str, Any] = sim.state()["crypto"]["vms"]
    return found


def moid(sim: Simulator, name: str) -> str:
    return f"VirtualMachine:{machines(sim)[name]['moid']}"


def writes(sim: Simulator) -> list[str]:
    return [entry.method for entry in sim.journal if entry.write]


def truthful(sim: Simulator, result: dict[str, Any]) -> None:
    """What a result says of machines is what the server has."""
    for name, told in result["vms"].items():
        real = machines(sim)[name]
        assert told.get("crypto") == real["crypto"], (name, told)
        if told["status"] in ("changed", "compliant") and real["crypto"] and told["outcome"] != "not_ours":
            assert (real["crypto"], real["connection"]) == ("unlocked", "connected"), (name, real)
        if told["status"] == "failed":
            failure = told["failure"]
            assert name in result["msg"] and failure["cause"].rstrip(".") in result["msg"], result["msg"]
            assert failure["hint"], failure
        if told["outcome"] == "waiting":
            assert name in result["causes"][told["cause"]]
    assert set(sum(result["causes"].values(), [])) == {name for name, told in result["vms"].items() if told["outcome"] == "waiting"}


# ---- after a power cut ----------------------------------------------------------------------------------------------


def test_after_a_power_cut(sim: Simulator) -> None:
    key = sim.key_servers[KMS_B]["keys"]["db-02"]
    sim.act("destroy_key", key="db-02", server=KMS_B)
    sim.act("power_off_host")
    for server in (KMS_A, KMS_B):
        sim.act("stop_key_server", server=server)
    sim.act("tpm", host="esx-03*", on=False)
    sim.act("power_off_host", host="esx-03*")
    sim.act("power_on_host")
    away = run(sim, "vm_crypto_info", vm_name=["*"])
    assert len(away["causes"]["provider_unreachable"]) == 11, away["causes"]
    for server in (KMS_A, KMS_B):
        sim.act("start_key_server", server=server)

    result = run(sim, "vm_crypto_unlock", vm_name=["*"], csv=True, enable_hosts=True)
    truthful(sim, result)
    assert {name for name, one in machines(sim).items() if one["connection"] == "invalid"} == {"db-02", "broken-01"}
    assert result["causes"] == {"key_missing": ["db-02"]}
    assert result["summary"] == {"changed": 10, "compliant": 7, "failed": 1}, result["summary"]
    assert result["worksheet"] == [
        {
            "key_id": key,
            "provider": "kms-b",
            "cause": "key_missing",
            "vms": ["db-02"],
            "disks": ["db-02: Hard disk 1"] if result["worksheet"][0]["disks"] else [],  # vCenter withholds the disks of a locked one
            "hosts": ["esx-04.example.com"],
            "locked": 1,
        }
    ]
    same_table(result)
    again = run(sim, "vm_crypto_unlock", vm_name=["*"], enable_hosts=True)
    assert not again["changed"] and again["worksheet"] == result["worksheet"] and again["causes"] == result["causes"]


def same_table(result: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(result["csv"])))
    assert [
        {**row, **{name: row[name].split("; ") if row[name] else [] for name in ("vms", "disks", "hosts")}, "locked": int(row["locked"])}
        for row in rows
    ] == result["worksheet"]


def test_a_shared_key_is_one_line_with_disks_and_hosts(sim: Simulator) -> None:
    sim.act("crypto_option", name="locked_config", value="readable")
    for key, server in (("shared-key", KMS_B), ("db-02/disk-2", KMS_A), ("host/esx-04.example.com", KMS_B)):
        sim.act("destroy_key", key=key, server=server)
    sim.act("reboot_host", host="esx-04*")
    result = run(sim, "vm_crypto_info", vm_name=["shared-*", "db-02"], csv=True)
    keys = {**sim.key_servers[KMS_A]["keys"], **sim.key_servers[KMS_B]["keys"]}
    assert [(line["key_id"], line["vms"], line["disks"], line["locked"]) for line in result["worksheet"]][:2] == [
        (keys["shared-key"], ["shared-1", "shared-2"], ["shared-1: Hard disk 1", "shared-2: Hard disk 1"][: len(result["worksheet"][0]["disks"])], 2),
        (keys["db-02/disk-2"], ["db-02"], ["db-02: Hard disk 2"], 0),
    ]  # fmt: skip
    assert all(line["hosts"] == ["esx-04.example.com"] for line in result["worksheet"])
    same_table(result)


def test_what_would_lock_without_a_provider(sim: Simulator) -> None:
    result = run(sim, "vm_crypto_info", vm_name=["*"], without_provider="kms-a")
    told = result["would_lock"]
    assert (told["known"], told["default"]) == (True, True)
    assert told["vms"] == [*APPS, "db-01", "snap-01", "tpm-01"] and told["vms_with_disks_only"] == ["db-02"]
    assert told["host_keys"] == ["esx-01.example.com", "esx-02.example.com", "esx-03.example.com"]
    assert told["hosts"] == sorted({*told["host_keys"], "esx-04.example.com"})
    assert told["elsewhere"] == [], told["elsewhere"]
    narrow = run(sim, "vm_crypto_info", vm_name=["app-01"], without_provider="kms-a")["would_lock"]
    assert narrow["vms"] == ["app-01"] and narrow["vms_with_disks_only"] == []
    with pytest.raises(TargetUnknown, match="kms-z.*There are: kms-a, kms-b"):  # it must not read as: safe to retire
        run(sim, "vm_crypto_info", vm_name=["*"], without_provider="kms-z")
    assert writes(sim) == []


# ---- faults in the middle -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "args", "words"),
    [
        ("InvalidState", {}, "key provider"),
        ("InvalidVmState", {}, "did not reach its host"),
        ("NoPermission", {"privilegeId": "Cryptographer.RegisterVM"}, "the privilege Cryptographer.RegisterVM"),
        ("NotSupported", {}, "cannot do encryption"),
        ("SomethingOfTomorrow", {}, "Scripted fault"),
    ],
)
def test_one_refusal_hides_nobody(sim: Simulator, fault: str, args: dict[str, Any], words: str) -> None:
    lock(sim)
    sim.fault(method="CryptoUnlock_Task", object=moid(sim, "app-02"), count=None, fault=fault, args=args)
    result = run(sim, "vm_crypto_unlock", vm_name=["app-*"])
    truthful(sim, result)
    assert result["summary"] == {"changed": 3, "failed": 1}
    bad = result["vms"]["app-02"]
    assert (bad["changes"], bad["not_done"], bad["changed"]) == ([], [{"change": "unlock"}], False)
    assert bad["failure"]["fault"] == fault and bad["failure"]["doing"] == "unlock"
    assert words in bad["failure"]["message"] and "maintenance mode" not in bad["failure"]["message"], bad["failure"]["message"]
    sim.clear_faults()
    assert run(sim, "vm_crypto_unlock", vm_name=["app-*"])["summary"] == {"changed": 1, "compliant": 3}


@pytest.mark.parametrize("drop", ["before", "after"])
def test_a_lost_answer(sim: Simulator, drop: str) -> None:
    """Only what was read back counts."""
    lock(sim)
    sim.fault(method="CryptoUnlock_Task", object=moid(sim, "app-02"), drop=drop)
    result = run(sim, "vm_crypto_unlock", vm_name=["app-*"])
    truthful(sim, result)
    assert result["vms"]["app-02"]["status"] == ("changed" if drop == "after" else "failed"), result["vms"]["app-02"]
    assert {result["vms"][name]["status"] for name in APPS if name != "app-02"} == {"changed"}
    assert writes(sim).count("CryptoUnlock_Task") == (4 if drop == "after" else 3) + (drop == "before")


def test_a_session_that_ends_in_the_middle(sim: Simulator) -> None:
    lock(sim)
    sim.fault(method="CryptoUnlock_Task", object=moid(sim, "app-02"), expire_session=True)
    result = run(sim, "vm_crypto_unlock", vm_name=["app-*"], parallel=1)
    truthful(sim, result)
    assert result["summary"].get("changed", 0) >= 3, result["msg"]
    assert run(sim, "vm_crypto_unlock", vm_name=["app-*"])["summary"].get("failed", 0) == 0


def as_soon_as(sim: Simulator, method: str, act: Callable[[], Any]) -> None:
    """Once, when a call of that method has been answered, before the next call begins."""
    render = sim._dispatcher._render
    over: list[str] = []

    def look(call: Any, *rest: Any) -> str:
        if call.method == method and not over:
            over.append(method)
            act()
        return render(call, *rest)

    vars(sim._dispatcher)["_render"] = look


def test_a_host_that_goes_in_the_middle(sim: Simulator) -> None:
    lock(sim)
    as_soon_as(sim, "CryptoUnlock_Task", lambda: sim.act("disconnect", host="esx-02*"))
    result = run(sim, "vm_crypto_unlock", vm_name=["app-*"], parallel=1)
    assert {name: one["status"] for name, one in result["vms"].items() if name in ("app-01", "app-03")} == {
        "app-01": "changed",
        "app-03": "changed",
    }
    for name in ("app-02", "app-04"):
        told = result["vms"][name]
        assert told["status"] == "unreachable" and not told["changed"] and told["not_done"] and told["failure"]["hint"], told
        assert name in result["msg"]
    after = run(sim, "vm_crypto_unlock", vm_name=["app-*"])
    assert after["summary"] == {"compliant": 2, "unreachable": 2}
    assert "esx-02.example.com" in after["vms"]["app-02"]["failure"]["cause"]


def test_the_provider_goes_between_judging_and_unlocking(sim: Simulator) -> None:
    """The tasks end with a fault of their own; the machines stay, and each says so."""
    lock(sim)
    as_soon_as(sim, "QueryCryptoKeyStatus", lambda: sim.act("cut_key_server", server=KMS_A))
    result = run(sim, "vm_crypto_unlock", vm_name=["app-*"])
    truthful(sim, result)
    assert result["summary"] == {"failed": 4} and not result["changed"]
    for told in result["vms"].values():
        assert told["failure"]["fault"] == "InvalidVmState" and told["not_done"] == [{"change": "unlock"}]
        assert "did not reach its host" in told["failure"]["message"], told["failure"]["message"]


def test_a_task_that_never_ends() -> None:
    scenario = {
        "key_servers": ["kms"],
        "key_providers": [{"name": "p", "servers": ["kms"], "default": True}],
        "vcenter": {"options": {"task_delay": 600}},
        "hosts": [{"name": "h", "crypto": {"provider": "p"}}],
        "virtual_machines": [{"count": 2, "name": "vm-{i:02d}", "provider": "p", "power": "off"}],
        "crypto_options": {"locked_config": "readable"},
    }
    with Simulator(scenario) as sim:
        sim.act("forget_keys", vm="vm-01")
        # The state of the providers comes by a task, too.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(translation, "_TASK_SECONDS", 1.0)
            message = run(sim, "vm_crypto_unlock", vm_name=["vm-01"], deadline=5)["msg"]
        # The state of the keys tells enough to try.
        assert writes(sim) == ["CryptoUnlock_Task"] and "its task was still running" in message, message
        # From now on that one ends at once, an unlocking never.
        sim.world.options["task_delay"] = 0.0
        start = sim.world.start_task

        def slow(call: Any, kind: str, *rest: Any) -> Any:
            sim.world.options["task_delay"] = 600.0 if kind.endswith("cryptoUnlock") else 0.0
            return start(call, kind, *rest)

        vars(sim.world)["start_task"] = slow
        began = time.monotonic()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tasks, "GRACE", 2.0)
            result = run(sim, "vm_crypto_unlock", vm_name=["vm-*"], deadline=5)
        assert time.monotonic() - began < 30 and writes(sim)[1:] == ["CryptoUnlock_Task"]
        stuck = result["vms"]["vm-01"]
        assert stuck["status"] in ("failed", "skipped") and stuck["crypto"] == "locked", stuck
        assert "task was still running" in stuck["failure"]["message"] and "5 s" in stuck["failure"]["message"], stuck["failure"]
        assert result["vms"]["vm-02"]["status"] == "compliant"
        assert sim.summary()["sessions"] == [] and sim.errors == []


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        ({"fault": "InvalidState"}, "esx-06.example.com"),
        ({"fault": "NoPermission", "args": {"privilegeId": "Cryptographer.RegisterHost"}}, "Cryptographer.RegisterHost"),
        ({"drop": "before"}, "esx-06.example.com"),
    ],
)
def test_a_host_that_is_not_put_into_safe_mode(sim: Simulator, effect: dict[str, Any], words: str) -> None:
    """The machine's entry still says what is wrong with its host, and the sentence names the host."""
    sim.fault(method="ConfigureCryptoKey", **effect)
    result = run(sim, "vm_crypto_unlock", vm_name=["unsafe-01"], enable_hosts=True)
    told = result["vms"]["unsafe-01"]
    assert result["endpoint"]["status"] == told["status"] == "failed" and not result["changed"]
    assert ("host_not_safe", "open") in {(each["code"], each["status"]) for each in told["findings"]}, told["findings"]
    assert words in result["endpoint"]["failure"]["message"], result["endpoint"]["failure"]["message"]


def test_a_host_that_was_put_into_safe_mode_unheard(sim: Simulator) -> None:
    sim.fault(method="ConfigureCryptoKey", drop="after")
    result = run(sim, "vm_crypto_unlock", vm_name=["unsafe-01"], enable_hosts=True)
    assert result["endpoint"]["status"] == "changed" and result["summary"] == {"changed": 1}


def test_an_open_machine_is_not_told_to_be_shut(sim: Simulator) -> None:
    """Where CryptoUnlock_Task fails for the sake of a disk alone, the home is open, and the disk is the reason."""
    sim.act("crypto_option", name="locked_config", value="readable")
    sim.act("crypto_option", name="unlock_lacks_disk_key", value="InvalidVmState")
    sim.act("cut_key_server", server=KMS_A)
    sim.act("reboot_host", host="esx-04*", push=False)
    result = run(sim, "vm_crypto_unlock", vm_name=["db-02"])
    told = result["vms"]["db-02"]
    assert (told["status"], told["outcome"], told["changed"]) == ("failed", "open", True), told
    message = told["failure"]["message"]
    assert "disk_key_missing: Hard disk 2" in message and "could not open it" not in message, message


@pytest.mark.parametrize(("user", "privilege"), [("no-keys", "Cryptographer.ManageKeys"), ("no-servers", "Cryptographer.ManageKeyServers")])
@pytest.mark.parametrize("module", ["vm_crypto_info", "vm_crypto_unlock"])
def test_who_may_not_ask_is_not_told_that_all_is_well(sim: Simulator, user: str, privilege: str, module: str) -> None:
    """The key of an open machine is gone; who may not ask for keys cannot be told so, and has to know that."""
    sim.act("destroy_key", key="app-01", server=KMS_A)
    result = run(sim, module, vm_name=["app-*"], username=f"{user}@vsphere.local", password="Simulated-1")
    findings = [*result["endpoint"]["findings"], *(each for told in result["vms"].values() for each in told["findings"])]
    told = {each["code"] for each in findings}
    assert "would_lock" in told or any(privilege in each["text"] for each in findings), result["msg"]


# ---- waiting for a provider -----------------------------------------------------------------------------------------


def away(sim: Simulator) -> None:
    sim.act("cut_key_server", server=KMS_A)
    sim.act("reboot_host", host="esx-01*")
    sim.clear_journal()


@pytest.mark.parametrize("check", [True, False])
def test_a_provider_that_comes_back(sim: Simulator, check: bool) -> None:
    away(sim)
    timer = threading.Timer(1.0, lambda: sim.act("cut_key_server", server=KMS_A, cut=False))
    began = time.monotonic()
    timer.start()
    result = run(sim, "vm_crypto_unlock", vm_name=["app-0[13]"], wait_for_provider=60, check=check)
    timer.join()
    assert 1.0 <= time.monotonic() - began < 20
    assert result["summary"] == ({"would_change": 2} if check else {"changed": 2})
    assert not check or writes(sim) == []


def test_a_provider_that_stays_away(sim: Simulator) -> None:
    away(sim)
    began = time.monotonic()
    result = run(sim, "vm_crypto_unlock", vm_name=["app-0[13]"], wait_for_provider=1.5)
    assert 1.5 <= time.monotonic() - began < 15
    truthful(sim, result)
    assert result["causes"] == {"provider_unreachable": ["app-01", "app-03"]} and writes(sim) == []
    assert "s of waiting" in result["msg"], "it does not say that it has waited"
    assert sim.summary()["by_method"]["IsKmsClusterActive"] <= 10


def test_nobody_waits_for_a_provider_that_no_locked_machine_needs(sim: Simulator) -> None:
    sim.act("cut_key_server", server=KMS_B)
    lock(sim)
    began = time.monotonic()
    result = run(sim, "vm_crypto_unlock", vm_name=["*"], exclude=["unsafe-01"], wait_for_provider=60)
    assert time.monotonic() - began < 20 and result["summary"]["changed"] == 6, result["summary"]


def test_a_deadline_ends_the_waiting(sim: Simulator) -> None:
    away(sim)
    with pytest.raises(FleetcareError) as caught:
        result = run(sim, "vm_crypto_unlock", vm_name=["app-01"], wait_for_provider=60, deadline=1)
        raise AssertionError(result["msg"])
    assert "wait_for_provider" in caught.value.sentence  # it could never have ended in time
    assert sim.summary()["calls"] == 0


# ---- servers that know less -----------------------------------------------------------------------------------------

NO_CRYPTO: dict[str, Any] = {
    "vCenter 8 without encryption": {"hosts": [{"count": 2, "vms": 2}]},
    "vCenter 6.7": {"vcenter": {"profile": "6.7"}, "hosts": [{"count": 2, "vms": 2, "profile": "6.7"}]},
    "a stand-alone host": {"kind": "esxi", "hosts": [{"vms": 2, "profile": "6.7"}]},
}


@pytest.mark.parametrize("scenario", NO_CRYPTO.values(), ids=NO_CRYPTO)
@pytest.mark.parametrize("module", ["vm_crypto_info", "vm_crypto_unlock"])
def test_servers_without_encryption(simulator: Callable[..., Simulator], scenario: dict[str, Any], module: str) -> None:
    sim = simulator(scenario)
    result = run(sim, module, vm_name=["*"], csv=True)
    assert set(result["summary"]) <= {"compliant"} and result["causes"] == {} and result["worksheet"] == []
    assert {one["outcome"] for one in result["vms"].values()} <= {"not_ours"}
    assert result["endpoint"]["status"] == "compliant" and result["endpoint"]["findings"] == []
    assert writes(sim) == []


def test_no_machine_at_all(simulator: Callable[..., Simulator]) -> None:
    with pytest.raises(FleetcareError, match="matches no VM"):
        run(simulator({"hosts": [{"count": 1}]}), "vm_crypto_unlock", vm_name=["*"])


def test_a_server_that_keeps_no_keys_gets_no_provider(simulator: Callable[..., Simulator]) -> None:
    wish = {"name": "p", "servers": [{"address": "127.0.0.1"}]}
    sim = simulator({"kind": "esxi", "hosts": [{"vms": 1}]})
    result = run(sim, "vm_crypto_unlock", key_provider=wish)
    assert result["endpoint"]["status"] == "failed" and "vCenter" in result["endpoint"]["failure"]["message"]
    assert writes(sim) == []


def test_locked_machines_of_an_old_vcenter() -> None:
    """6.7 before 6.7.2 does not know QueryCryptoKeyStatus: vCenter tries, and what comes of it tells."""
    scenario = {
        "vcenter": {"profile": "6.7"},
        "key_servers": ["kms"],
        "key_providers": [{"name": "p", "servers": ["kms"], "default": True}],
        "hosts": [{"name": "h", "profile": "6.7", "crypto": {"provider": "p"}}],
        "virtual_machines": [{"count": 2, "name": "vm-{i:02d}", "provider": "p", "power": "off"}],
    }
    with Simulator(scenario) as sim:
        sim.act("destroy_key", key="vm-02")
        sim.act("forget_keys", vm="*")
        result = run(sim, "vm_crypto_unlock", vm_name=["*"])
        truthful(sim, result)
        assert result["summary"] == {"changed": 1, "failed": 1}, result["msg"]
        assert result["vms"]["vm-02"]["outcome"] == "waiting" and sim.errors == []
        assert result["vms"]["vm-02"]["cause"] == "key_state_untold"
