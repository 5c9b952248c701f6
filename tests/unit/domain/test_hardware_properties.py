# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judgement over all states: nothing is supported without a source, worse hardware is never judged better, nothing is changed."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import hardware as domain
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.hardware import (
    MEANINGS,
    Wanted,
    demands_of,
    judge,
    parse,
    plan,
    report,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.hardware_catalogue import DEMANDS, RELEASES, ROWS
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.hardware_model import (
    NEWEST,
    VERDICTS,
    Boot,
    Cpu,
    Device,
    Row,
    State,
    release_of,
)

FEATURES = ("nx", "xsave", "vmx", "svm")
TARGETS = st.tuples(st.sampled_from([7, 8, 9]), st.just(0), st.sampled_from([0, 1, 2, 3, NEWEST]))


@st.composite
def cpus(draw: st.DrawFn) -> Cpu:
    told = draw(st.sets(st.sampled_from(FEATURES)))
    has = draw(st.sets(st.sampled_from(FEATURES))) & told
    numbers = draw(st.sampled_from([("intel", 6, 44, 2), ("intel", 6, 106, 6), ("amd", 25, 1, 1), (None, None, None, None)]))
    cores = draw(st.none() | st.integers(1, 4))
    return Cpu(*numbers, draw(st.sampled_from(["", "Xeon"])), tuple(sorted(has)), tuple(sorted(told)), 1, cores, cores)


DEVICES = st.builds(
    Device,
    slot=st.integers(0, 255).map(lambda bus: f"0000:{bus:02x}:00.0"),
    vendor=st.sampled_from([0x8086, 0x10EC, 0x144D]),
    device=st.integers(1, 3),
    subvendor=st.just(0),
    subdevice=st.just(0),
    pci_class=st.sampled_from([0x0200, 0x0280, 0x0108, 0x0104, 0x0300]),
    adapter=st.sampled_from([None, "vmnic0"]),
    driver=st.sampled_from([None, "driver"]),
    passthrough=st.sampled_from([None, "no", "capable", "enabled", "active"]),
    nvme=st.sampled_from([None, "unknown", "1.2", "1.2.1", "1.3", "1.4", "2.0"]),
)
STATES = st.builds(
    State,
    version=st.sampled_from(["6.7.0", "7.0.3", "8.0.3", ""]),
    cpu=st.none() | cpus(),
    memory=st.none() | st.integers(0, 64 << 30),
    firmware=st.sampled_from([None, "bios", "uefi"]),
    devices=st.none() | st.lists(DEVICES, max_size=4).map(tuple),
    software_fcoe=st.sampled_from([(), ("vmhba33",)]),
    boot=st.none() | st.builds(Boot, st.just("naa.1"), st.just("Disk"), st.none() | st.integers(0, 100_000), st.none() | st.booleans()),
    silent=st.sampled_from([(), (("The boot device", "esxcli refused"),)]),
)
ROWS_OF_USERS = st.builds(
    Row,
    verdict=st.sampled_from(VERDICTS),
    source=st.just("the user's guide"),
    vendor=st.sampled_from([0x8086, 0x10EC, 0x144D]),
    device=st.sampled_from([None, 1, 2, 3]),
)
WANTED = st.builds(Wanted, target=TARGETS, rows=st.lists(ROWS_OF_USERS, max_size=4).map(tuple), boot_device=st.booleans())


def rank(state: State, wanted: Wanted) -> int:
    judgement = judge(state, wanted, domain.survey([], {}, wanted))
    assert judgement is not None
    return VERDICTS.index(judgement.verdict)


@settings(max_examples=300)
@given(STATES, WANTED)
def test_nothing_is_changed_and_everything_can_be_told(state: State, wanted: Wanted) -> None:
    seen = domain.survey([state], {}, wanted)
    made = plan(state, wanted, seen)
    assert made.changes == () and made.observed is state and plan(state, wanted, seen) == made
    told = report(state, wanted, seen, full=True)
    judgement = judge(state, wanted, seen)
    assert judgement is not None and told["verdict"] == judgement.verdict
    assert {finding.code for finding in made.findings} <= set(MEANINGS)
    table = domain.overview(seen, dataclasses.replace(wanted, csv=True), {"esx": made}, {"away": "host-9"})
    assert table["verdicts"] == {judgement.verdict: 1} and table["csv"].count("\nesx,") >= 1 and "\naway,host-9," in table["csv"]


@settings(max_examples=300)
@given(STATES, WANTED)
def test_supported_has_a_source(state: State, wanted: Wanted) -> None:
    judgement = judge(state, wanted, domain.survey([], {}, wanted))
    assert judgement is not None
    parts = [*judgement.devices, *([judgement.cpu] if judgement.cpu else [])]
    for judged in parts:
        if judged.verdict == "supported":
            assert judged.own and judged.source == "the user's guide"
        if judged.verdict != "not_listed":
            assert judged.source
    if judgement.verdict == "supported":
        assert all(judged.verdict == "supported" for judged in parts) and judgement.cpu and state.devices is not None
        assert all(check.met or not check.must and check.met is None for check in judgement.checked)


def of_everything(**changed: object) -> str:
    """A host that a list calls supported in all its parts, and that tells everything, but for what is changed."""
    cpu = Cpu("intel", 6, 85, 7, "Xeon", ("nx", "vmx", "xsave"), ("nx", "svm", "vmx", "xsave"), 2, 32, 64)
    nic = Device("0000:01:00.0", 0x8086, 1, 0, 0, 0x0200, driver="i40en")
    state = State(version="7.0.3", cpu=cpu, memory=64 << 30, firmware="uefi", devices=(nic,), boot=Boot("naa.1", "Disk", 240_000, False))
    rows = (
        Row(verdict="supported", source="guide", vendor=0x8086),
        Row(verdict="supported", source="guide", maker="intel", family=6),
    )
    return VERDICTS[rank(dataclasses.replace(state, **changed), Wanted(target=(8, 0, 3), rows=rows))]  # type: ignore[arg-type]


def test_what_is_not_told_keeps_a_host_from_being_supported() -> None:
    assert of_everything() == "supported"
    assert of_everything(firmware=None) == "supported", "what is only recommended need not be told"
    silent = Cpu("intel", 6, 85, 7, "Xeon", ("vmx", "xsave"), ("svm", "vmx", "xsave"), 2, 32, 64)
    untold: dict[str, list[object]] = {
        "cpu": [None, silent],
        "memory": [None],
        "devices": [None],
        "boot": [None, Boot("naa.1", "Disk", None, False)],
    }
    assert {of_everything(**{name: value}) for name, values in untold.items() for value in values} == {"not_listed"}


def test_what_is_sold_as_enough_is_enough_and_a_module_less_is_not() -> None:
    """Firmware keeps a part of 8 GB, and 32 GB of a disk are decimal; one size below it is 6 and 30 GB."""
    wanted = Wanted(target=(8, 0, 3))

    def codes(**changed: object) -> set[str]:
        state = State(version="8.0.3", **changed)  # type: ignore[arg-type]
        return {finding.code for finding in plan(state, wanted, domain.survey([], {}, wanted)).findings}

    assert "memory_too_small" not in codes(memory=int(7.6 * (1 << 30))) and "memory_too_small" in codes(memory=7 << 30)
    assert "memory_below_advice" not in codes(memory=int(11.4 * (1 << 30))) and "memory_below_advice" in codes(memory=11 << 30)
    for size, small in ((30_520, False), (28_600, True), (15_260, True)):  # 32, 30 and 16 GB as sold, in MB of esxcli
        assert ("boot_disk_too_small" in codes(boot=Boot("naa.1", "Disk", size, False))) == small, size


def test_a_list_that_forgets_the_processor_is_told_so() -> None:
    nic = Device("0000:01:00.0", 0x8086, 1, 0, 0, 0x0200, driver="i40en")
    state = State(version="8.0.3", cpu=Cpu("intel", 6, 85, 7, "Xeon Gold"), devices=(nic,))
    texts = []
    for rows in ((), ({"vendor": 0x8086},), ({"maker": "intel", "family": 6},), ({"vendor": 0x8086}, {"maker": "intel", "family": 6})):
        own = tuple(Row(verdict="supported", source="guide", **row) for row in rows)
        wanted = Wanted(target=(8, 0, 3), rows=own)
        made = plan(state, wanted, domain.survey([], {}, wanted))
        texts.append([finding.text for finding in made.findings if finding.code == "device_not_listed"])
    assert texts == [[], ["the CPU: Xeon Gold (intel 6/85/7)"], ["1 of 1 devices: 0000:01:00.0 (8086:0001)"], []]


@given(STATES, WANTED)
def test_an_error_is_a_known_bad_host(state: State, wanted: Wanted) -> None:
    made = plan(state, wanted, domain.survey([], {}, wanted))
    if made.errors:
        assert VERDICTS[rank(state, wanted)] == "known_bad"
    if VERDICTS[rank(state, wanted)] in ("supported", "not_listed"):
        assert {finding.code for finding in made.findings} <= {"hardware_not_told", "device_not_listed"}


# Memory, cores, boot device: less is never better. `silent` keeps none of them from being judged.
@given(STATES, WANTED, st.integers(0, 64 << 30))
def test_less_memory_is_never_better(state: State, wanted: Wanted, memory: int) -> None:
    more, less = (
        dataclasses.replace(state, memory=max(memory, state.memory or 0)),
        dataclasses.replace(state, memory=min(memory, state.memory or 0)),
    )
    assert rank(less, wanted) >= rank(more, wanted)


@given(STATES, WANTED, cpus(), st.sampled_from(FEATURES))
def test_a_feature_less_is_never_better(state: State, wanted: Wanted, cpu: Cpu, feature: str) -> None:
    told = tuple(sorted({*cpu.told, feature}))
    with_it = dataclasses.replace(cpu, told=told, features=tuple(sorted({*cpu.features, feature})))
    without = dataclasses.replace(cpu, told=told, features=tuple(name for name in cpu.features if name != feature))
    assert rank(dataclasses.replace(state, cpu=without), wanted) >= rank(dataclasses.replace(state, cpu=with_it), wanted)


@given(STATES, WANTED, DEVICES.filter(lambda device: device.pci_class != 0x0200))
def test_a_device_more_is_never_better(state: State, wanted: Wanted, device: Device) -> None:
    """But for Ethernet controllers, one of which a host must have."""
    less = dataclasses.replace(state, devices=state.devices or ())
    more = dataclasses.replace(state, devices=(*(state.devices or ()), device))
    assert rank(more, wanted) >= rank(less, wanted)


@given(STATES, TARGETS, st.lists(ROWS_OF_USERS, max_size=4))
def test_a_bad_row_for_a_device_of_the_host_shows(state: State, target: tuple[int, int, int], rows: list[Row]) -> None:
    if not state.devices:
        return
    device = state.devices[0]
    exact = Row(verdict="known_bad", source="ours", vendor=device.vendor, device=device.device, subvendor=0, subdevice=0)
    assert VERDICTS[rank(state, Wanted(target=target, rows=(*rows, exact)))] == "known_bad"


@given(STATES)
def test_without_a_target_nothing_is_judged(state: State) -> None:
    wanted = Wanted()
    seen = domain.survey([], {}, wanted)
    assert {finding.code for finding in plan(state, wanted, seen).findings} <= {"hardware_not_told"}
    told = report(state, wanted, seen, full=True)
    assert told["verdict"] is None and told["requirements"] is None
    assert not any("verdict" in device for device in told["network"] or ())


# ---- the catalogue --------------------------------------------------------------------------------------------------


def test_every_row_of_the_catalogue_has_a_source() -> None:
    assert all(len(entry.source) > 10 for entry in (*DEMANDS, *ROWS))
    assert all(row.note and row.verdict != "supported" for row in ROWS)


@pytest.mark.parametrize("release", RELEASES)
def test_each_release_has_all_that_any_has_or_says_whose_demand_it_is(release: str) -> None:
    target = release_of(release)
    assert target is not None
    must = {demand.name for demand in DEMANDS if demand.must and demand.span.first is not None and demand.span.first <= target}
    told = {demand.name: of for demand, of in demands_of(target)}
    assert must <= set(told)
    assert all(of in ("", "7.0", "8.0") and (not of or of < release) for of in told.values())


def test_a_later_update_demands_more() -> None:
    first, second, bare = (
        {demand.name for demand, _of in demands_of(release_of(text) or (0, 0, 0))} for text in ("8.0 U1", "8.0 U2", "8.0")
    )
    assert "xsave" not in first and "xsave" in second and second == bare


# ---- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["6.7", "10.0", "8", "latest", "", "8.0;", "7.1"])
def test_releases_without_a_catalogue_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"7\.0, 8\.0, 9\.0"):
        parse({"target_release": text})


def test_a_list_needs_a_target() -> None:
    with pytest.raises(BadInput, match="without target_release"):
        parse({"compatibility_list": [{"pci": "8086", "verdict": "advice"}]})


@given(st.text(max_size=20))
def test_any_target_is_taken_or_refused(text: str) -> None:
    try:
        wanted = parse({"target_release": text})
    except BadInput as problem:
        assert "target_release" in problem.cause and problem.hint
        return
    assert wanted.target is not None and f"{wanted.target[0]}.{wanted.target[1]}" in RELEASES


@pytest.mark.parametrize(
    ("usb", "level", "verdict"), [(True, "warning", "advice"), (False, "error", "known_bad"), (None, "error", "known_bad")]
)
def test_a_small_device_holds_the_boot_banks_only_if_it_is_usb(usb: bool | None, level: str, verdict: str) -> None:
    assert of_everything(boot=Boot("mpx.1", "SD card", 8_000, usb)) == verdict
    state = State(version="7.0.3", boot=Boot("mpx.1", "SD card", 8_000, usb))
    wanted = Wanted(target=(8, 0, 3))
    found = {finding.code: finding.level for finding in plan(state, wanted, domain.survey([], {}, wanted)).findings}
    assert found["boot_disk_too_small"] == level
