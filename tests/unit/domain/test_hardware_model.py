# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How numbers of the wire are read: signed ids, CPUID, releases, versions of NVMe."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.hardware_model import (
    NEWEST,
    VERDICTS,
    Cpu,
    Device,
    Row,
    Span,
    best,
    cpu_of,
    hexadecimal,
    identity,
    nvme_version_of,
    register,
    release_name,
    release_of,
    slot_of,
    span_of,
    unsigned,
    version_of,
    worst,
)

WORDS = st.integers(0, 0xFFFF)


def short(number: int) -> int:
    """As xsd:short carries it."""
    return number - 0x10000 if number > 0x7FFF else number


def byte(number: int) -> int:
    return number - 0x100 if number > 0x7F else number


@given(WORDS)
def test_ids_come_back_from_the_wire(number: int) -> None:
    assert unsigned(short(number)) == number == unsigned(number)
    text = hexadecimal(short(number))
    assert len(text) == 4 and int(text, 16) == number and text == text.lower()


def test_intel_and_realtek() -> None:
    assert hexadecimal(-32634) == "8086" and hexadecimal(4332) == "10ec"


@given(st.integers(0, 255), st.integers(0, 31), st.integers(0, 7))
def test_an_address_comes_from_its_parts_or_from_the_id(bus: int, slot: int, function: int) -> None:
    written = f"0000:{bus:02x}:{slot:02x}.{function}"
    assert slot_of("", byte(bus), slot, function) == written
    assert slot_of(written.upper(), 0, 0, 0) == written
    assert slot_of("odd", byte(bus), slot, function) == written


@given(st.integers(0, 0xFFFFFFFF))
def test_registers(number: int) -> None:
    bits = f"{number:032b}"
    assert register(":".join(bits[at : at + 4] for at in range(0, 32, 4))) == number


@pytest.mark.parametrize(
    "text", [None, "", "0101", "0000:0000:0000:0000:0000:0000:0000:000x", "----:----:----:----:----:----:----:----", "2" * 32]
)
def test_what_is_no_register_tells_nothing(text: str | None) -> None:
    assert register(text) is None


# Published signatures: Ice Lake-SP (the capture), Cascade Lake, Westmere-EP (206C2), Milan, Magny-Cours; and a family that takes all eight bits.
@pytest.mark.parametrize(
    ("eax", "family", "model", "stepping"),
    [(0x606A6, 6, 106, 6), (0x50657, 6, 85, 7), (0x206C2, 6, 44, 2), (0xA00F11, 25, 1, 1), (0x100F91, 16, 9, 1), (0x1A00F11, 41, 1, 1)],
)
def test_signatures(eax: int, family: int, model: int, stepping: int) -> None:
    assert identity({1: {"eax": eax}}) == (None, family, model, stepping)


@given(st.integers(0, 14), st.integers(0, 255), st.integers(0, 15), st.integers(0, 255))
def test_a_signature_is_unfolded(base: int, model: int, stepping: int, extended: int) -> None:
    eax = extended << 20 | (model >> 4) << 16 | base << 8 | (model & 15) << 4 | stepping
    expected = model if base == 6 else model & 15
    assert identity({1: {"eax": eax}})[1:] == (base, expected, stepping)


def levels(**changed: int) -> list[dict[str, object]]:
    def text(number: int) -> str:
        return f"{number:032b}"

    basic = {"level": 1, "eax": text(0x606A6), "ebx": text(0), "ecx": text(changed.get("ecx", 0xFFFA322B)), "edx": text(0)}
    wide = {"level": -2147483647, "eax": text(0), "ebx": text(0), "ecx": text(0x121), "edx": text(changed.get("edx", 0x2C100800))}
    maker = {"level": 0, "eax": text(27), "ebx": text(0x756E6547), "ecx": text(0x6C65746E), "edx": text(0x49656E69)}
    return [maker, basic, wide]


def test_the_captured_processor() -> None:
    cpu = cpu_of(levels(), "Intel(R)  Xeon(R) Gold 6330 CPU", 8, 8, 8)
    assert (cpu.vendor, cpu.family, cpu.model, cpu.stepping) == ("intel", 6, 106, 6)
    assert {"nx", "xsave", "vmx", "long_mode", "aes", "avx"} <= set(cpu.features) and "svm" not in cpu.features
    assert cpu.has("virtualization") and cpu.brand == "Intel(R) Xeon(R) Gold 6330 CPU" and cpu.signature == "intel 6/106/6"


@pytest.mark.parametrize(("feature", "changed"), [("xsave", {"ecx": 0xFFFA322B & ~(1 << 26)}), ("nx", {"edx": 0x2C100800 & ~(1 << 20)})])
def test_one_bit_is_one_feature(feature: str, changed: dict[str, int]) -> None:
    with_it, without = cpu_of(levels(), "", 1, 2, 2), cpu_of(levels(**changed), "", 1, 2, 2)
    assert with_it.has(feature) is True and without.has(feature) is False
    assert set(with_it.features) - set(without.features) == {feature}


def test_a_level_that_is_not_told_is_no_missing_feature() -> None:
    cpu = cpu_of(levels()[:2], "", 1, 2, 2)
    assert cpu.has("nx") is None and cpu.has("xsave") is True
    assert cpu.has("virtualization") is True and cpu_of([], "", 1, 2, 2).has("virtualization") is None


# ---- releases -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("8.0", (8, 0, NEWEST)),
        ("8.0 GA", (8, 0, 0)),
        ("8.0.0", (8, 0, 0)),
        ("8.0 U2", (8, 0, 2)),
        ("8.0U2b", (8, 0, 2)),
        ("8.0 Update 3", (8, 0, 3)),
        ("8.0.3", (8, 0, 3)),
        ("ESXi 7.0 u3", (7, 0, 3)),
        ("ESX 9.0", (9, 0, NEWEST)),
        ("9.0.1.0", (9, 0, 1)),
        ("8", None),
        ("", None),
        ("8.0 U", None),
        ("8.0-9.0", None),
        ("latest", None),
        ("8.0.3x", None),
    ],
)
def test_releases(text: str, release: tuple[int, int, int] | None) -> None:
    assert release_of(text) == release


@given(st.integers(6, 12), st.integers(0, 9), st.sampled_from([0, 1, 2, 3, NEWEST]))
def test_a_release_is_read_as_it_is_named(major: int, minor: int, update: int) -> None:
    assert release_of(release_name((major, minor, update))) == (major, minor, update)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("", ["6.7", "8.0.1", "9.0"], []),
        ("8.0", ["8.0 GA", "8.0.3", "8.0"], ["7.0", "9.0 GA"]),
        ("8.0.2", ["8.0.2"], ["8.0.1", "8.0.3", "8.0"]),
        ("8.0.2-", ["8.0.2", "8.0", "9.0"], ["8.0.1"]),
        ("7.0-8.0.1", ["7.0 GA", "7.0", "8.0.1"], ["8.0.2", "6.7", "8.0"]),
        ("-8.0 U1", ["6.7", "8.0.1"], ["8.0.2"]),
    ],
)
def test_spans(text: str, inside: list[str], outside: list[str]) -> None:
    span = span_of(text)
    assert span is not None
    assert [name for name in inside if release_of(name) not in span] == []  # type: ignore[operator]
    assert [name for name in outside if release_of(name) in span] == []  # type: ignore[operator]


@pytest.mark.parametrize("text", ["-", "8", "8.0-x", "9.0-8.0", "8.0 U2-8.0 U1", "all"])
def test_no_spans(text: str) -> None:
    assert span_of(text) is None


def test_what_a_host_says_of_itself() -> None:
    assert version_of("8.0.3") == (8, 0, 3) and version_of("9.0") == (9, 0, 0) and version_of("") is None


# ---- NVMe -----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9))
def test_versions_of_nvme(major: int, minor: int, tertiary: int) -> None:
    told = f"{major}.{minor}.{tertiary}" if tertiary else f"{major}.{minor}"
    number = major << 16 | minor << 8 | tertiary
    assert nvme_version_of(told) == nvme_version_of(f"0x{number:x}") == nvme_version_of(f" {number} ") == told


@given(st.text(max_size=12))
def test_any_text_is_a_version_or_none(text: str) -> None:
    found = nvme_version_of(text)
    assert found is None or [int(part) for part in found.split(".")]


@pytest.mark.parametrize("text", ["", "0x0", "0x1", "unknown", "1", "1.x", "-1.3"])
def test_no_versions(text: str) -> None:
    assert nvme_version_of(text) is None


# ---- verdicts and rows ----------------------------------------------------------------------------------------------

DEVICES = st.builds(
    Device,
    slot=st.just("0000:01:00.0"),
    vendor=st.sampled_from([0x8086, 0x10EC]),
    device=st.integers(1, 3),
    subvendor=st.integers(1, 2),
    subdevice=st.integers(1, 2),
    pci_class=st.sampled_from([0x0200, 0x0280, 0x0104]),
)
ROWS = st.builds(
    Row,
    verdict=st.sampled_from(VERDICTS),
    source=st.sampled_from(["a", "b"]),
    vendor=st.sampled_from([0x8086, 0x10EC]),
    device=st.sampled_from([None, 1, 2, 3]),
    pci_class=st.sampled_from([None, 0x0200]),
)


@given(st.lists(st.sampled_from(VERDICTS)), st.sampled_from(VERDICTS))
def test_one_more_verdict_never_makes_it_better(verdicts: list[str], more: str) -> None:
    before = worst(verdicts) if verdicts else VERDICTS[0]
    assert VERDICTS.index(worst([*verdicts, more])) >= VERDICTS.index(before)
    assert worst([*verdicts, more]) == worst([more, *verdicts])


def test_of_nothing_nothing_is_known() -> None:
    assert worst([]) == "not_listed"


@given(st.lists(ROWS, max_size=6), DEVICES, st.randoms())
def test_the_order_of_rows_means_nothing(rows: list[Row], device: Device, random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = best(rows, device, (8, 0, 0)), best(shuffled, device, (8, 0, 0))
    assert one == other or (one and other and (one.verdict, one.source, one.note) == (other.verdict, other.source, other.note))


def test_a_device_says_more_than_its_class() -> None:
    device = Device("0000:01:00.0", 0x10EC, 0x8168, 0x1458, 0xE000, 0x0200)
    kind = Row(verdict="known_bad", source="x", vendor=0x10EC, pci_class=0x0200)
    exact = Row(verdict="supported", source="x", vendor=0x10EC, device=0x8168)
    both = Row(verdict="advice", source="x", vendor=0x10EC, device=0x8168, pci_class=0x0200)
    part = Row(verdict="not_listed", source="x", vendor=0x10EC, device=0x8168, subvendor=0x1458, subdevice=0xE000)
    assert best([kind, exact], device, (8, 0, 0)) is exact
    assert best([kind, exact, both], device, (8, 0, 0)) is both
    assert best([kind, exact, both, part], device, (8, 0, 0)) is part


def test_a_class_says_more_than_half_of_it_and_less_than_a_device() -> None:
    device = Device("0000:01:00.0", 0x144D, 0xA822, 0x1028, 0x1FD9, 0x0108)
    storage = Row(verdict="known_bad", source="x", vendor=0x144D, pci_class=0x01, class_shift=8)
    nvme = Row(verdict="advice", source="x", vendor=0x144D, pci_class=0x0108)
    exact = Row(verdict="supported", source="x", vendor=0x144D, device=0xA822)
    assert best([storage, nvme], device, (8, 0, 0)) is nvme
    assert best([storage, nvme, exact], device, (8, 0, 0)) is exact


@pytest.mark.parametrize(("model", "name"), [("supported", "known_bad"), ("known_bad", "supported"), ("advice", "advice")])
def test_of_a_model_and_a_name_of_a_processor_the_worse_counts(model: str, name: str) -> None:
    cpu = Cpu("intel", 6, 85, 7, "Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz")
    by_model = Row(verdict=model, source="x", maker="intel", family=6, model=85)
    by_name = Row(verdict=name, source="y", series="*gold 6248*")
    by_stepping = Row(verdict="not_listed", source="z", maker="intel", family=6, model=85, steppings=(7, 7))
    found = best([by_model, by_name], cpu, (8, 0, 0))
    assert found and found.verdict == worst([model, name])
    assert best([by_model, by_name, by_stepping], cpu, (8, 0, 0)) is by_stepping


@given(st.lists(ROWS, max_size=6), ROWS, DEVICES)
def test_a_row_of_the_same_exactness_never_makes_it_better(rows: list[Row], more: Row, device: Device) -> None:
    before, after = best(rows, device, (8, 0, 0)), best([*rows, more], device, (8, 0, 0))
    if before and after and after.exactness == before.exactness:
        assert VERDICTS.index(after.verdict) >= VERDICTS.index(before.verdict)


@given(st.lists(ROWS, max_size=6), DEVICES)
def test_the_most_exact_row_wins(rows: list[Row], device: Device) -> None:
    found = best(rows, device, (8, 0, 0))
    fitting = [row for row in rows if row.fits(device)]
    assert (found is None) == (not fitting)
    assert found is None or (found.fits(device) and found.exactness == max(row.exactness for row in fitting))


def test_rows_of_devices_do_not_judge_processors() -> None:
    cpu = Cpu("intel", 6, 44, 2, "Xeon E5640")
    device = Device("0000:01:00.0", 6, 44, 0, 0, 0x0200)
    assert not Row(verdict="advice", source="x", vendor=6).fits(cpu)
    assert not Row(verdict="advice", source="x", maker="intel", family=6).fits(device)
    assert Row(verdict="advice", source="x", maker="intel", family=6, steppings=(0, 2)).fits(cpu)
    assert not Row(verdict="advice", source="x", maker="intel", family=6, steppings=(3, 4)).fits(cpu)
    assert Row(verdict="advice", source="x", series="*e56??*").fits(cpu) and not Row(verdict="advice", source="x", series="*e57*").fits(cpu)
    assert not Row(verdict="advice", source="x", maker="intel", family=6).fits(Cpu("amd", 6, 44, 2, ""))


def test_a_span_without_ends_is_everything() -> None:
    assert (6, 7, 0) in Span() and (9, 0, NEWEST) in Span()
