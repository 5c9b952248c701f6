# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each situation of tests/situations/crypto.yml gives the code, level, evidence, plan and outcome that stand there."""

from __future__ import annotations

import base64
import hashlib
import json
import pathlib
import re
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from pyVmomi import vim

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import tasks
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.crypto import MEANINGS
from ansible_collections.fleetcare.esxi.plugins.module_utils._module import at_endpoint, pipeline
from tests.integration.driver import run
from tests.simulator import Simulator
from tests.simulator.crypto import KeyId
from tests.simulator.objects import crypto_manager
from tests.unit.simulator.conftest import client

pytest.importorskip("kmip", reason="PyKMIP is not installed")
pytestmark = pytest.mark.newest_only

HERE = pathlib.Path(__file__).resolve().parent
GROUPS = yaml.safe_load((HERE.parent / "situations/crypto.yml").read_text(encoding="utf-8"))["groups"]
SITUATIONS: dict[str, dict[str, Any]] = {each["name"]: each for group in GROUPS for each in group["situations"]}
# What only shows once a machine was registered anew, or from a record: their tests look at the server as well.
ELSEWHERE = {
    **dict.fromkeys(("not_restored", "on_another_host", "tags_lost", "machine_lost"), "test_vm_crypto_reregister.py"),
    "key_state_untold": "test_vm_crypto_unlock.py",
}
CHOICE = ("vm_name", "esxi_hostname", "cluster_name", "datacenter", "folder", "exclude")


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[Any], Simulator]]:
    """A key server's start costs more than a reset: one simulator for all situations of a scenario."""
    started: dict[str, Simulator] = {}

    def serve(scenario: Any) -> Simulator:
        key = json.dumps(scenario, sort_keys=True)
        if key in started:
            started[key].reset()
        else:
            started[key] = Simulator(scenario)
            started[key].__enter__()
        return started[key]

    yield serve
    for sim in started.values():
        sim.__exit__(None, None, None)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (at_endpoint, pipeline):
        monkeypatch.setattr(module, "READ_BACK_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(tasks, "_PAUSES", (0.01,) * 20)


# ---- the table itself -----------------------------------------------------------------------------------------------


def test_names_are_unique() -> None:
    names = Counter(each["name"] for group in GROUPS for each in group["situations"])
    assert [name for name, count in names.items() if count > 1] == []


def test_every_code_is_met() -> None:
    met = {code for each in SITUATIONS.values() for code in (each["expect"]["code"], *each["expect"].get("also", ()))}
    assert set(MEANINGS) - met == set(ELSEWHERE)
    for code, file in ELSEWHERE.items():
        assert f'"{code}"' in (HERE / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SITUATIONS)
def test_what_is_expected_can_be(name: str) -> None:
    expect = SITUATIONS[name]["expect"]
    assert {expect["code"], *expect.get("also", ())} <= set(MEANINGS)
    assert expect["level"] == MEANINGS[expect["code"]].level
    assert expect["where"] == "endpoint" or expect["outcome"] in ("open", "waiting", "not_ours")


# ---- each situation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SITUATIONS)
def test_situation(name: str, servers: Callable[[Any], Simulator], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    situation = SITUATIONS[name]
    expect = situation["expect"]
    sim = servers(situation.get("server", "encrypted"))
    for action in situation.get("before", ()):
        if "reason" in action:  # the simulator's own option takes those of the reference only
            monkeypatch.setattr(crypto_manager, "IN_CACHE", action["reason"])
            sim.world.crypto.options["unreachable_reason"] = action["reason"]
        else:
            happen(sim, action)
    options = {**filled(sim, situation["task"]), "backup_dir": str(tmp_path / "backup")}
    if "user" in situation:
        options.update(username=situation["user"], password="Simulated-1")
    sim.clear_journal()

    told = once(sim, situation, "vm_crypto_info", options)
    informed(told, expect)
    assert writes(sim) == []
    checked = once(sim, situation, "vm_crypto_unlock", options, check=True)
    assert writes(sim) == [] and not (tmp_path / "backup").exists()
    done = once(sim, situation, "vm_crypto_unlock", options)
    judged(done, checked, expect)
    if not checked["changed"]:
        assert writes(sim) == []
    again = once(sim, situation, "vm_crypto_unlock", options)
    assert again["changed"] is False, again["msg"]
    if expect["status"] in ("changed", "compliant"):
        assert {part["status"] for part in again["vms"].values()} <= {"compliant", "failed"}
    assert sim.errors == []


def once(sim: Simulator, situation: dict[str, Any], module: str, options: dict[str, Any], check: bool = False) -> dict[str, Any]:
    """A run, with what happens in the middle of it."""
    if module == "vm_crypto_info":
        options = {name: value for name, value in options.items() if name in (*CHOICE, "username", "password")}
    steps = [Step(sim, method, action) for method, action in situation.get("between", {}).items()]
    for step in steps:
        step.begin()
    try:
        return run(sim, module, check=check, **options)
    finally:
        for step in reversed(steps):
            step.end()


class Step:
    """An action as soon as the first call of a method has been answered, before the next call begins."""

    def __init__(self, sim: Simulator, method: str, action: dict[str, Any]) -> None:
        self.sim, self.method, self.action, self.over = sim, method, action, False

    def begin(self) -> None:
        self.render = self.sim._dispatcher._render
        vars(self.sim._dispatcher)["_render"] = self._look

    def end(self) -> None:
        vars(self.sim._dispatcher)["_render"] = self.render

    def _look(self, call: Any, *rest: Any) -> str:
        if call.method == self.method and not self.over:
            self.over = True
            self.sim.act(**self.action)
        return self.render(call, *rest)


def writes(sim: Simulator) -> list[str]:
    return [f"{entry.method} on {entry.object}" for entry in sim.journal if entry.write]


def informed(told: dict[str, Any], expect: dict[str, Any]) -> None:
    """What vm_crypto_info says, which is what vm_crypto_unlock finds."""
    assert "changed" not in told or told["changed"] is False
    if expect["where"] == "endpoint":
        return
    part = told["vms"][expect["where"]]
    assert part["failure"] is None and part["outcome"] == expect["outcome"], part
    assert {name: part.get(name) for name in expect.get("shows", ())} == expect.get("shows", {})
    if part["outcome"] == "waiting":
        assert expect["where"] in told["causes"][part["cause"]]
    else:
        assert told["causes"] == {}
    if not expect.get("unlock_only"):
        found(told, part, {**expect, "also": [*expect.get("also", ()), *expect.get("info_also", ())]}, "open")
        assert part["status"] == ("not_compliant" if any(each["level"] == "error" for each in part["findings"]) else "compliant")


def judged(done: dict[str, Any], checked: dict[str, Any], expect: dict[str, Any]) -> None:
    where = expect["where"]
    part, plan = (told["endpoint"] if where == "endpoint" else told["vms"][where] for told in (done, checked))
    lacking = expect.get("not_done", [])
    assert part["status"] == expect["status"], part
    assert [change["change"] for change in plan["changes"] if "only_if" not in change] == expect.get("changes", []), plan
    assert [change["change"] for change in part["changes"]] == [name for name in expect.get("changes", []) if name not in lacking], part
    assert [change["change"] for change in part.get("not_done", [])] == lacking, part
    assert sorted(map(str, part["changes"] + part.get("not_done", []))) == sorted(str(c) for c in plan["changes"] if "only_if" not in c)
    if "endpoint" in expect:
        assert [change["change"] for change in done["endpoint"]["changes"]] == expect["endpoint"]
        assert done["endpoint"]["changes"] == checked["endpoint"]["changes"]
    mended = expect.get("mended", False)
    if not expect.get("afterwards"):
        found(checked, plan, expect, expect.get("foreseen", "would_repair" if mended else "open"))
    found(done, part, expect, "repaired" if mended else "open")
    if where != "endpoint":
        assert part["outcome"] == expect.get("left", expect["outcome"]), part
        assert (where in sum(done["causes"].values(), [])) == (part["outcome"] == "waiting")
    if expect["status"] == "failed":
        failure = part["failure"]
        if expect["level"] == "error" and "failure" not in expect:
            assert f"{expect['code']}: " in failure["cause"] and MEANINGS[expect["code"]].hint in failure["hint"], failure
        assert expect.get("failure", "") in failure["message"], failure
        assert failure["hint"] and failure["cause"].rstrip(".") in done["msg"]
        plain_words(failure["message"])
    else:
        assert part["failure"] is None, part["failure"]


def found(told: dict[str, Any], part: dict[str, Any], expect: dict[str, Any], status: str) -> None:
    codes = [each["code"] for each in part["findings"]]
    assert sorted(codes) == sorted([expect["code"], *expect.get("also", ())]), part["findings"]
    (row,) = [each for each in part["findings"] if each["code"] == expect["code"]]
    pattern = ".+".join(map(re.escape, expect["text"].split("...")))
    assert re.fullmatch(pattern, row["text"]), row["text"]
    assert row["level"] == expect["level"] and row["status"] == status, row
    assert told["hints"][expect["code"]] == MEANINGS[expect["code"]].hint
    plain_words(row["text"])


def plain_words(sentence: str) -> None:
    """Nothing of our own making shows through, and nothing is said twice."""
    for sign in ("Traceback", "None", "{", "Ref(", "Key(", "..", ": :", "_ssl.c", "object at"):
        assert sign not in sentence, sentence
    parts = [part.strip() for part in re.split(r"(?<=[.;]) ", sentence) if len(part) > 25]
    assert len(parts) == len(set(parts)), sentence


# ---- what happens before --------------------------------------------------------------------------------------------


def happen(sim: Simulator, action: dict[str, Any]) -> None:
    if "fault" in action:
        sim.fault(**action["fault"])
    elif "power_on" in action:
        power_on(sim, action["power_on"])
    elif "fresh" in action:
        fresh_key(sim, action["fresh"], action["server"])
    elif "give" in action:
        give_key(sim, action["give"], action["server"])
    else:
        sim.act(**action)


def machine(si: Any, name: str) -> Any:
    view = si.content.viewManager.CreateContainerView(si.content.rootFolder, [vim.VirtualMachine], True)
    return next(one for one in view.view if one.name == name)


def power_on(sim: Simulator, name: str) -> Any:
    """Somebody tries to start a machine; the fault that it ends with."""
    with client(sim) as si:
        task = machine(si, name).PowerOnVM_Task()
        while task.info.state not in ("success", "error"):
            time.sleep(0.005)
        return task.info.error


def fresh_key(sim: Simulator, name: str, server: str) -> None:
    """As if a machine had been encrypted with a key that nobody has activated: KMIP makes no active key pre-active again."""
    keeper = sim.world.crypto.server(server)
    with keeper.session() as admin:
        (made,) = admin.create(["fresh"], activate=False)
    keeper.touched = True
    file = next(file for file in sim.world.crypto.files.values() if file.name == name)
    file.home = KeyId(server.partition(".")[0], made)
    for disk in file.disks:
        disk.key = file.home


def give_key(sim: Simulator, name: str, server: str) -> None:
    """What an emergency is for: the key administrator reads keys over KMIP, and they are put into the host's cache."""
    from kmip.pie.client import ProxyKmipClient

    where = sim.key_servers[server]
    keys = [f"host/{sim.world.hosts[0].state.name}", name, f"{name}/disk-2"]
    files = {"cert": where["certificate"], "key": where["key"], "ca": where["ca"]}
    with ProxyKmipClient(hostname=where["address"], port=where["port"], ssl_version="PROTOCOL_TLSv1_2", **files) as admin:
        secrets = [admin.get(where["keys"][key]).value for key in keys]
    provider = vim.encryption.KeyProviderId(id=server.partition(".")[0])
    own, *others = [
        vim.encryption.CryptoKeyPlain(
            keyId=vim.encryption.CryptoKeyId(keyId=where["keys"][key], providerId=provider),
            algorithm="AES-256",
            keyData=base64.b64encode(secret).decode(),
        )
        for key, secret in zip(keys, secrets, strict=True)
    ]
    with client(sim) as si:
        manager = si.content.cryptoManager
        manager.CryptoManagerHostPrepare()
        manager.CryptoManagerHostEnable(own)
        assert all(each.success for each in manager.AddKeys(others))


def filled(sim: Simulator, value: Any) -> Any:
    """With what is only known once the key servers run."""
    if isinstance(value, dict):
        return {key: filled(sim, item) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(sim, item) for item in value]
    if not isinstance(value, str) or not value.startswith("$"):
        return value
    what, server = value[1:].split()
    told = sim.key_servers[server]
    if what == "port":
        return told["port"]
    if what == "fingerprint":
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(told["server_certificate"].strip())).hexdigest()
    return pathlib.Path(told[{"certificate": "certificate", "private_key": "key"}[what]]).read_text()


def test_a_disk_without_its_key_keeps_the_machine_from_starting(servers: Callable[[Any], Simulator]) -> None:
    """The proof of disk_key_missing: the machine is open, and does not start."""
    sim = servers("encrypted")
    for action in SITUATIONS["The key of a disk has been destroyed, and the host has forgotten it"]["before"]:
        happen(sim, action)
    (row,) = run(sim, "vm_crypto_info", vm_name=["db-01"])["vms"]["db-01"]["findings"]
    refused = power_on(sim, "db-01")
    assert isinstance(refused, vim.fault.EncryptionKeyRequired) and "a required key was not found" in str(refused)
    assert [key.keyId for key in refused.requiredKey] == [re.findall(r"key (\S+) of ", row["text"])[0]]


def test_a_disk_with_its_key_lets_it_start(servers: Callable[[Any], Simulator]) -> None:
    sim = servers("encrypted")
    sim.act("reboot_host", host="esx-01*")
    assert run(sim, "vm_crypto_info", vm_name=["db-01"])["vms"]["db-01"]["findings"] == []
    assert power_on(sim, "db-01") is None
