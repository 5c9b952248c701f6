# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Acceptance levels between what a host reports and plain values; which calls are made, and for whom."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client.inventory import Target
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.properties import Row
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.acceptance import (
    LowerAcceptanceLevel,
    Package,
    RaiseAcceptanceLevel,
    Recorded,
    State,
    Wanted,
    parse,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import FleetcareError, PermissionMissing, ServerFault
from ansible_collections.fleetcare.esxi.plugins.module_utils._vim import acceptance

IMAGE = Ref("HostImageConfigManager", "imageConfigManager-1")
ENOUGH: dict[str, Any] = {"name": "esx", "config.product.version": "8.0.3", "configManager.imageConfigManager": IMAGE}
WIRE = {"name": "amsv", "version": "701.1", "vendor": "HPE", "acceptanceLevel": "partner", "summary": "x" * 1000, "payload": ["p"]}


def row(number: int = 1, **values: Any) -> Row:
    image = Ref("HostImageConfigManager", f"imageConfigManager-{number}")
    return Row(
        Ref("HostSystem", f"host-{number}"), {**ENOUGH, "name": f"esx-{number}", "configManager.imageConfigManager": image, **values}, {}
    )


def target(number: int = 1) -> Target:
    return Target(ref=Ref("HostSystem", f"host-{number}"), name=f"esx-{number}", places=(("datacenter", "dc1"),), connection="connected")


@dataclass
class Answers:
    """A session that answers with levels by host, and notes what it is asked."""

    levels: dict[str, Any]
    packages: Any = ()
    calls: list[tuple[str, str]] = field(default_factory=list)
    writes: list[tuple[str, Ref, str, dict[str, Any]]] = field(default_factory=list)
    guard: Any = field(default_factory=lambda: SimpleNamespace(reason=""))
    most: int = 0
    now: int = 0
    lock: Any = field(default_factory=threading.Lock)

    def probe(self, ref: Ref, operation: str) -> Any:
        with self.lock:
            self.calls.append((ref.id.rpartition("-")[2], operation))
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.01)
        with self.lock:
            self.now -= 1
        return self._told(self.levels[ref.id.rpartition("-")[2]])

    def items(self, ref: Ref, operation: str, keep: Any) -> list[Any]:
        self.calls.append((ref.id.rpartition("-")[2], operation))
        return [keep(item) for item in self._told(self.packages)]

    def write(self, target: str, ref: Ref, operation: str, **arguments: Any) -> None:
        self.writes.append((target, ref, operation, arguments))

    @staticmethod
    def _told(answer: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer


def measured(answers: Answers, wanted: Wanted, parallel: int = 4) -> dict[str, Any]:
    rows = {target(int(number)): row(int(number)) for number in answers.levels}
    found = acceptance.measure(cast(Any, answers), rows, wanted, parallel)
    return {which.name: extra for which, extra in found.items()}


def test_each_host_is_asked_once_and_its_vibs_only_where_they_decide() -> None:
    answers = Answers({"1": "community", "2": "partner", "3": "vmware_certified"}, packages=[WIRE])
    measured(answers, Wanted(level="partner"))
    assert sorted(answers.calls) == [
        ("1", "HostImageConfigGetAcceptance"),
        ("1", "fetchSoftwarePackages"),
        ("2", "HostImageConfigGetAcceptance"),
        ("3", "HostImageConfigGetAcceptance"),
    ]


@pytest.mark.parametrize(
    ("wanted", "fetched"),
    [
        (Wanted(), set()),
        (Wanted(level="community"), set()),
        (Wanted(packages=True), {"1", "2", "3"}),
        (Wanted(level="vmware_certified"), {"1", "2"}),
        (Wanted(record=(Recorded("esx-2", "host-2", "vmware_accepted"),)), {"2"}),
    ],
)
def test_whose_vibs_are_fetched(wanted: Wanted, fetched: set[str]) -> None:
    answers = Answers({"1": "community", "2": "partner", "3": "vmware_certified"}, packages=[WIRE])
    measured(answers, wanted)
    assert {host for host, operation in answers.calls if operation == "fetchSoftwarePackages"} == fetched
    assert len([call for call in answers.calls if call[1] == "HostImageConfigGetAcceptance"]) == 3


def test_hosts_are_asked_side_by_side_and_not_more_than_allowed() -> None:
    answers = Answers({str(number): "partner" for number in range(12)})
    measured(answers, Wanted(), parallel=3)
    assert answers.most == 3


def test_one_host_that_fails_hides_no_other() -> None:
    fault = ServerFault("its state does not allow it", fault="InvalidState", hint="look")
    found = measured(Answers({"1": fault, "2": "partner"}), Wanted())
    with pytest.raises(ServerFault) as caught:
        acceptance.observe(row(), found["esx-1"])
    assert (caught.value.doing, caught.value.fault) == ("reading its acceptance level", "InvalidState")
    assert acceptance.observe(row(2), found["esx-2"]).level == "partner"


def test_packages_become_small_values() -> None:
    found = measured(
        Answers({"1": "community"}, packages=[WIRE, {"name": "odd", "acceptanceLevel": "VMwareAccepted"}, {}]), Wanted(packages=True)
    )
    assert acceptance.observe(row(), found["esx-1"]).packages == (
        Package("amsv", "701.1", "HPE", "partner"),
        Package("odd", "", "", "vmware_accepted"),
        Package("?", "", "", ""),
    )


def test_hosts_share_what_they_share() -> None:
    found = measured(Answers({"1": "community", "2": "community"}, packages=[WIRE]), Wanted(packages=True))
    one, other = (acceptance.observe(row(number), found[f"esx-{number}"]).packages for number in (1, 2))
    assert one and other and one[0] is other[0]


@pytest.mark.parametrize(
    ("problem", "may_not", "words"),
    [
        (PermissionMissing("the privilege Host.Config.Image is missing", hint="x", fault="NoPermission"), True, "Host.Config.Image"),
        (ServerFault("the server does not know the operation", hint="x", fault="MethodNotFound"), False, "MethodNotFound"),
    ],
)
def test_unread_packages_are_a_fact_and_no_failure(problem: FleetcareError, may_not: bool, words: str) -> None:
    found = measured(Answers({"1": "community"}, packages=problem), Wanted(level="partner"))
    state = acceptance.observe(row(), found["esx-1"])
    assert (state.packages, state.may_not) == (None, may_not) and words in state.packages_error


@pytest.mark.parametrize("given", ["gold", "", None])
def test_a_level_that_is_none_is_no_guess(given: Any) -> None:
    with pytest.raises(ServerFault) as caught:
        acceptance.observe(row(), {"level": given})
    assert caught.value.hint


def test_a_host_without_the_manager_is_not_asked_and_says_so() -> None:
    bare = Row(Ref("HostSystem", "host-1"), {"name": "esx-1", "config.product.version": "8.0.3"}, {})
    answers = Answers({})
    found = acceptance.measure(cast(Any, answers), {target(): bare}, Wanted(), 4)
    assert answers.calls == []
    with pytest.raises(ServerFault, match="no image configuration manager"):
        acceptance.observe(bare, found[target()])


REQUIRED, CAPABLE, FIRMWARE = "runtime.stateEncryption.requireSecureBoot", "capability.uefiSecureBoot", "hardware.biosInfo.firmwareType"


@pytest.mark.parametrize(
    ("values", "on", "told_by"),
    [
        ({}, None, ""),
        ({CAPABLE: True}, True, CAPABLE),
        ({CAPABLE: False}, False, CAPABLE),
        ({CAPABLE: False, REQUIRED: True}, True, REQUIRED),
        ({REQUIRED: True}, True, REQUIRED),
        ({REQUIRED: False}, None, ""),
        ({FIRMWARE: "BIOS"}, False, FIRMWARE),
        ({FIRMWARE: "UEFI"}, None, ""),
        ({FIRMWARE: "UEFI", CAPABLE: True}, True, CAPABLE),
        ({FIRMWARE: "BIOS", CAPABLE: True}, True, CAPABLE),
    ],
)
def test_secure_boot_is_on_off_or_not_told(values: dict[str, Any], on: bool | None, told_by: str) -> None:
    state = acceptance.observe(row(**values), {"level": "partner"})
    assert (state.secure_boot, state.told_by) == (on, told_by)
    assert set(values) <= set(acceptance.properties(parse({})))


def test_a_state_knows_its_host() -> None:
    assert acceptance.observe(row(7), {"level": "PartnerSupported"}) == State(name="esx-7", moid="host-7", version="8.0.3", level="partner")


@pytest.mark.parametrize("change", [RaiseAcceptanceLevel("partner", "community"), LowerAcceptanceLevel("partner", "vmware_accepted")])
def test_a_change_is_one_write(change: Any) -> None:
    answers = Answers({})
    acceptance.apply(cast(Any, answers), target(), row(), change)
    assert answers.writes == [("dc1/esx-1", IMAGE, "UpdateHostImageAcceptanceLevel", {"newAcceptanceLevel": "partner"})]


def test_another_change_is_refused() -> None:
    with pytest.raises(TypeError):
        acceptance.apply(cast(Any, Answers({})), target(), row(), cast(Any, object()))


def test_every_fault_that_is_explained_is_one_of_a_change_there_is() -> None:
    names = {change.describe()["change"] for change in (RaiseAcceptanceLevel("a", "b"), LowerAcceptanceLevel("a", "b"))}
    assert {name for name, _fault in acceptance.FAULTS} == names
