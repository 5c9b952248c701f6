# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What simulated hosts are made of beyond their profile: PCI devices, CPUs, NVMe versions, graphics cards, boot devices.

`captured` is the 8.0.3 host of pyVmomi's test data with all its 48 PCI devices. Everything else is made up from the ids that
manufacturers publish (pci.ids); no such host was captured. Numbers are put on the wire as real hosts do: ids as signed 16 bit,
bus, slot and function as signed bytes, CPUID levels as signed 32 bit.
"""

from __future__ import annotations

from typing import Any

from .errors import ScenarioError
from .profile import near

# address, class, vendor, device, subvendor, subdevice, vendor's name, name, bridge; without the 32 root ports
_CAPTURED = (
    ("00:00.0", 0x0600, 0x8086, 0x7190, 0x15AD, 0x1976, "Intel Corporation", "Virtual Machine Chipset", ""),
    ("00:01.0", 0x0604, 0x8086, 0x7191, 0, 0, "Intel Corporation", "440BX/ZX/DX - 82443BX/ZX/DX AGP bridge", ""),
    ("00:07.0", 0x0601, 0x8086, 0x7110, 0x15AD, 0x1976, "Intel Corporation", "Virtual Machine Chipset", ""),
    ("00:07.1", 0x0101, 0x8086, 0x7111, 0x15AD, 0x1976, "Intel Corporation", "PIIX4 for 430TX/440BX/MX IDE Controller", ""),
    ("00:07.3", 0x0680, 0x8086, 0x7113, 0x15AD, 0x1976, "Intel Corporation", "Virtual Machine Chipset", ""),
    ("00:07.7", 0x0880, 0x15AD, 0x0740, 0x15AD, 0x0740, "VMware", "Virtual Machine Communication Interface", ""),
    ("00:0f.0", 0x0300, 0x15AD, 0x0405, 0x15AD, 0x0405, "VMware", "SVGA II Adapter", ""),
    ("00:11.0", 0x0604, 0x15AD, 0x0790, 0, 0, "VMware", "PCI bridge", ""),
    ("02:00.0", 0x0C03, 0x15AD, 0x0774, 0x15AD, 0x1976, "VMware", "USB1.1 UHCI Controller", "00:11.0"),
    ("02:01.0", 0x0C03, 0x15AD, 0x0770, 0x15AD, 0x0770, "VMware", "USB2 EHCI Controller", "00:11.0"),
    ("03:00.0", 0x0107, 0x15AD, 0x07C0, 0x15AD, 0x07C0, "VMware Inc.", "PVSCSI SCSI Controller", "00:15.0"),
    ("04:00.0", 0x0200, 0x15AD, 0x07B0, 0x15AD, 0x07B0, "VMware Inc.", "vmxnet3 Virtual Ethernet Controller", "00:15.1"),
    ("0b:00.0", 0x0200, 0x15AD, 0x07B0, 0x15AD, 0x07B0, "VMware Inc.", "vmxnet3 Virtual Ethernet Controller", "00:16.0"),
    ("0c:00.0", 0x0108, 0x15AD, 0x07F0, 0x15AD, 0x07F0, "VMware", "NVMe SSD Controller", "00:16.1"),
    ("13:00.0", 0x0200, 0x15AD, 0x07B0, 0x15AD, 0x07B0, "VMware Inc.", "vmxnet3 Virtual Ethernet Controller", "00:17.0"),
    ("1b:00.0", 0x0200, 0x15AD, 0x07B0, 0x15AD, 0x07B0, "VMware Inc.", "vmxnet3 Virtual Ethernet Controller", "00:18.0"),
)
# adapter, address, driver; in the order in which the host told them
_CAPTURED_NICS = (("vmnic0", "0b:00.0"), ("vmnic1", "13:00.0"), ("vmnic2", "1b:00.0"), ("vmnic3", "04:00.0"))
_CAPTURED_HBAS = (
    ("ParallelScsiHba", "vmhba0", "03:00.0", "pvscsi", "scsi"),
    ("PcieHba", "vmhba1", "0c:00.0", "nvme_pcie", "nvme"),
    ("BlockHba", "vmhba2", "00:07.1", "vmkata", "scsi"),
    ("BlockHba", "vmhba64", "00:07.1", "vmkata", "scsi"),
)
_CAPTURED_BOOT = {"name": "mpx.vmhba0:C0:T0:L0", "model": "Virtual disk", "vendor": "VMware", "gb": 32}
# Real devices by a name of ours: class, ids, names.
DEVICES: dict[str, tuple[int, int, int, int, int, str, str]] = {
    "intel_x710": (0x0200, 0x8086, 0x1572, 0x8086, 0x0000, "Intel Corporation", "Ethernet Controller X710 for 10GbE SFP+"),
    "realtek_8168": (0x0200, 0x10EC, 0x8168, 0x1458, 0xE000, "Realtek Semiconductor Co., Ltd.", "RTL8111/8168/8411 PCIe Gigabit Ethernet"),
    "realtek_8125": (0x0200, 0x10EC, 0x8125, 0x1043, 0x87D7, "Realtek Semiconductor Co., Ltd.", "RTL8125 2.5GbE Controller"),
    "realtek_wifi": (0x0280, 0x10EC, 0xC822, 0x10EC, 0xC124, "Realtek Semiconductor Co., Ltd.", "RTL8822CE 802.11ac PCIe Wireless"),
    "realtek_cards": (0xFF00, 0x10EC, 0x5227, 0x10EC, 0x5227, "Realtek Semiconductor Co., Ltd.", "RTS5227 PCI Express Card Reader"),
    "samsung_pm1725": (0x0108, 0x144D, 0xA822, 0x1028, 0x1FD9, "Samsung Electronics Co Ltd", "NVMe SSD Controller 172Xa/172Xb"),
    "megaraid_3508": (0x0104, 0x1000, 0x0016, 0x1000, 0x9460, "Broadcom / LSI", "MegaRAID Tri-Mode SAS3508"),
    "nobody_raid": (0x0104, 0xFFFE, 0x8001, 0xFFFE, 0x0001, "", ""),
    "nvidia_a100": (0x0302, 0x10DE, 0x20B0, 0x10DE, 0x1450, "NVIDIA Corporation", "GA100 [A100 SXM4 40GB]"),
    "matrox_g200": (0x0300, 0x102B, 0x0536, 0x102B, 0x0000, "Matrox Electronics Systems Ltd.", "Integrated Matrox G200eW3"),
    "habana_gaudi": (0x1200, 0x1DA3, 0x1000, 0x1DA3, 0x1000, "Habana Labs Ltd.", "HL-2000 AI Training Accelerator [Gaudi]"),
}
# vendor's twelve letters in the order ebx, edx, ecx
_MAKERS = {"intel": "GenuineIntel", "amd": "AuthenticAMD", "hygon": "HygonGenuine"}
_BITS = {"nx": ("extended", "edx", 20), "xsave": ("basic", "ecx", 26), "vmx": ("basic", "ecx", 5), "svm": ("extended", "ecx", 2)}
FEATURES = tuple(_BITS)
_STAYS = ("vendor", "model")


def signed(number: int, bits: int) -> int:
    return number - (1 << bits) if number >> (bits - 1) & 1 else number


def made(base: dict[str, Any], row: dict[str, Any], where: str) -> dict[str, Any]:
    """A profile's hardware with what `hosts[].hardware` says; keys that begin with an underscore are ours."""
    out = {**base, **{key: row[key] for key in _STAYS if key in row}}
    if "memory_gb" in row:
        out["memory"] = int(row["memory_gb"] * (1 << 30))
    if "memory_bytes" in row:
        out["memory"] = row["memory_bytes"]
    if "cpu" in row:
        out.update(_cpu(base, row["cpu"], where))
    if row.get("captured"):
        out.update(_captured())
    if "pci" in row:
        out.update(_devices(row["pci"], where))
    out["_firmware"] = row.get("firmware", "UEFI")
    out["_told"] = row.get("told", True)
    if "graphics" in row:
        out["_graphics"] = [dict(card) for card in row["graphics"]]
    if "boot" in row:
        out["_boot"] = {"name": "naa.5000c500a1b2c3d4", "model": "Disk", "vendor": "ATA", "gb": 240, **row["boot"]}
    out["_software_fcoe"] = row.get("software_fcoe", False)
    return out


def _captured() -> dict[str, Any]:
    ports = [
        (f"00:{slot:02x}.{function}", 0x0604, 0x15AD, 0x07A0, 0, 0, "VMware", "PCI Express Root Port", "")
        for slot in range(0x15, 0x19)
        for function in range(8)
    ]
    rows: list[tuple[Any, ...]] = sorted([*_CAPTURED, *ports])
    return {
        "pci": [
            _wire(f"0000:{address}", kind, vendor, device, subvendor, subdevice, maker, name, f"0000:{bridge}" if bridge else "")
            for address, kind, vendor, device, subvendor, subdevice, maker, name, bridge in rows
        ],
        "nics": len(_CAPTURED_NICS),
        "hbas": len(_CAPTURED_HBAS),
        "_nics": [(name, f"0000:{address}", "nvmxnet3") for name, address in _CAPTURED_NICS],
        "_hbas": [(kind, name, f"0000:{address}", driver, protocol) for kind, name, address, driver, protocol in _CAPTURED_HBAS],
        "_passthrough": {f"0000:{address}": "no" for address, *_rest in rows},
        "_nvme": {"vmhba1": "1.3"},
        "_boot": dict(_CAPTURED_BOOT),
        "_graphics": [],
    }


def _wire(
    address: str, kind: int, vendor: int, device: int, subvendor: int, subdevice: int, maker: str, name: str, bridge: str
) -> dict[str, Any]:
    _domain, bus, rest = address.split(":")
    slot, _dot, function = rest.partition(".")
    wire = {
        "id": address,
        "classId": signed(kind, 16),
        "bus": signed(int(bus, 16), 8),
        "slot": signed(int(slot, 16), 8),
        "function": signed(int(function, 16), 8),
        "vendorId": signed(vendor, 16),
        "deviceId": signed(device, 16),
        "subVendorId": signed(subvendor, 16),
        "subDeviceId": signed(subdevice, 16),
        "vendorName": maker,
        "deviceName": name,
    }
    return {**wire, "parentBridge": bridge} if bridge else wire


def _devices(rows: list[dict[str, Any]], where: str) -> dict[str, Any]:
    """Devices as the scenario lists them, on addresses of their own where it names none; a chipset comes first."""
    wires = [_wire("0000:00:00.0", 0x0600, 0x8086, 0x2020, 0x8086, 0, "Intel Corporation", "Host bridge", "")]
    nics: list[tuple[str, str, str]] = []
    hbas: list[tuple[str, str, str, str, str]] = []
    passthrough, nvme = {"0000:00:00.0": "no"}, {}
    for index, row in enumerate(rows):
        place = f"{where}.hardware.pci[{index}]"
        if row["is"] not in DEVICES:
            raise ScenarioError(f"{place}.is: no device '{row['is']}': {near(row['is'], DEVICES)}")
        kind, vendor, device, subvendor, subdevice, maker, name = DEVICES[row["is"]]
        address = row.get("address", f"0000:{0x80 + index * 8:02x}:00.0")
        wires.append(_wire(address, kind, vendor, device, subvendor, subdevice, maker, name, ""))
        passthrough[address] = row.get("passthrough", "no")
        driver = row.get("driver")
        if driver and kind >> 8 == 2:
            nics.append((f"vmnic{len(nics)}", address, driver))
        elif driver and kind >> 8 == 1:
            hbas.append(
                ("PcieHba" if kind == 0x0108 else "BlockHba", f"vmhba{len(hbas)}", address, driver, "nvme" if kind == 0x0108 else "scsi")
            )
        if "nvme" in row and hbas:
            nvme[hbas[-1][1]] = row["nvme"]
    found = {"pci": wires, "nics": len(nics), "hbas": len(hbas), "_nics": nics, "_hbas": hbas}
    return {**found, "_passthrough": passthrough, "_nvme": nvme}


def _cpu(base: dict[str, Any], row: dict[str, Any], where: str) -> dict[str, Any]:
    """CPUID of a made-up processor: the captured registers with another signature, maker and bits."""
    registers = {each["level"] & 0xFFFFFFFF: dict(each) for each in base["cpu_features"]}
    maker = row.get("vendor", "intel")
    letters = _MAKERS[maker].encode()
    for name, part in (("ebx", letters[0:4]), ("edx", letters[4:8]), ("ecx", letters[8:12])):
        registers[0][name] = _bits(int.from_bytes(part, "little"))
    family, model, stepping = row.get("family", 6), row.get("model", 0x6A), row.get("stepping", 6)
    if not (0 <= family <= 270 and 0 <= model <= 255 and 0 <= stepping <= 15):
        raise ScenarioError(f"{where}.hardware.cpu: no processor has family {family}, model {model}, stepping {stepping}")
    low = min(family, 15)
    registers[1]["eax"] = _bits((family - low) << 20 | (model >> 4) << 16 | low << 8 | (model & 15) << 4 | stepping)
    missing = [*row.get("missing", ()), *(["vmx"] if maker != "intel" else [])]
    present = [] if maker == "intel" or "svm" in missing else ["svm"]
    for feature, wanted in (*((name, False) for name in missing), *((name, True) for name in present)):
        level, register, bit = _BITS[feature]
        cells = registers[1 if level == "basic" else 0x80000001]
        number = int(cells[register].replace(":", ""), 2)
        cells[register] = _bits(number | 1 << bit if wanted else number & ~(1 << bit))
    return {
        "cpu_vendor": maker,
        "cpu_model": row.get("brand", base["cpu_model"]),
        "cpu_features": [{**cells, "level": signed(level, 32)} for level, cells in registers.items()],
    }


def _bits(number: int) -> str:
    text = f"{number:032b}"
    return ":".join(text[index : index + 4] for index in range(0, 32, 4))


# ---- as data objects hold it ------------------------------------------------------------------------------------------------------


def pnics(hardware: dict[str, Any], mac: str, base: dict[str, Any]) -> list[dict[str, Any]]:
    """Physical NICs; `base` is how the first one looks on a host whose scenario says nothing of hardware."""
    if "_nics" not in hardware:
        return [base]
    return [
        {
            **base,
            "key": f"key-vim.host.PhysicalNic-{name}",
            "device": name,
            "pci": address,
            "driver": driver,
            "mac": f"{mac[:-2]}{index:02x}",
        }
        for index, (name, address, driver) in enumerate(hardware["_nics"])
    ]


def adapters(hardware: dict[str, Any]) -> list[tuple[str, dict[str, Any]]] | None:
    """Type and fields of each host bus adapter; None where the scenario says nothing of hardware."""
    if "_hbas" not in hardware and not hardware.get("_software_fcoe"):
        return None
    found = [(kind, _adapter(kind, name, address, driver, protocol)) for kind, name, address, driver, protocol in hardware.get("_hbas", ())]
    if hardware.get("_software_fcoe"):
        kind = "FibreChannelOverEthernetHba"
        link = {"vnportMac": "00:00:00:00:00:00", "fcfMac": "00:00:00:00:00:00", "vlanId": 0}
        wwn = {"portWorldWideName": 0, "nodeWorldWideName": 0, "portType": "unknown", "speed": 0}
        fcoe = {**_adapter(kind, "vmhba33", "", "fcoe", "scsi"), **wwn, "underlyingNic": "vmnic0", "linkInfo": link, "isSoftwareFcoe": True}
        found.append((kind, fcoe))
    return found


def _adapter(kind: str, name: str, address: str, driver: str, protocol: str) -> dict[str, Any]:
    bus = int(address.split(":")[1], 16) if address else 0
    told = {"device": name, "bus": bus, "status": "unknown", "model": driver, "driver": driver, "pci": address, "storageProtocol": protocol}
    return {"key": f"key-vim.host.{kind}-{name}", **told}


def passthrough(hardware: dict[str, Any]) -> list[dict[str, Any]] | None:
    if "_passthrough" not in hardware:
        return None
    ranks = ("no", "capable", "enabled", "active")
    rows = []
    for address, state in hardware["_passthrough"].items():
        rank = ranks.index(state)
        flags = {"passthruCapable": rank >= 1, "passthruEnabled": rank >= 2, "passthruActive": rank >= 3}
        rows.append({"id": address, "dependentDevice": "", **flags})
    return rows


def graphics(hardware: dict[str, Any]) -> list[dict[str, Any]] | None:
    if "_graphics" not in hardware:
        return None
    return [
        {
            "deviceName": card.get("name", "NVIDIA A100"),
            "vendorName": card.get("vendor", "NVIDIA Corporation"),
            "pciId": card.get("address", "0000:00:00.0"),
            "graphicsType": card.get("type", "shared"),
            "memorySizeInKB": int(card.get("memory_mb", 0)) << 10,
        }
        for card in hardware["_graphics"]
    ]
