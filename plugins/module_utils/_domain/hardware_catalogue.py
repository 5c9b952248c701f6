# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What releases of ESXi demand of a host, and what is known not to work with them. Data, each row with its source. Private to this collection.

A row is here only if its source was read. No vendor text was found for the demands of 9.0, so there are none; nor for the lists of
CPUs and devices that a release drops (KB 82794 / 318697, KB 77304, KB 88172): what they say belongs into a list of the user's own.
"""

from __future__ import annotations

from dataclasses import dataclass

from .hardware_model import ETHERNET, NEWEST, Row, Span

_SEVEN = Span((7, 0, 0), (7, 0, NEWEST))
_EIGHT = Span((8, 0, 0), (8, 0, NEWEST))
_FROM_SEVEN = Span((7, 0, 0))
RELEASES = ("7.0", "8.0", "9.0")

_GUIDE_7 = "ESXi Hardware Requirements in Installation and Setup of 7.0, docs.vmware.com GUID-DEB8086A"
_GUIDE_8 = "ESXi Hardware Requirements in Installation and Setup of 8.0, docs.vmware.com GUID-DEB8086A"
_XSAVE = "williamlam.com, October 2023: ESXi 8.0 Update 2 requires the XSAVE instruction, even with allowLegacyCPU=true"
_BIOS = "KB 313152, formerly 84233, Deprecation of legacy BIOS support in vSphere"
_USB = "KB 85685, SD card/USB boot device revised guidance, as quoted by tinkertry.com on 27 April 2022"
_VMKLINUX = (
    "blogs.vmware.com, April 2019: What is the Impact of the VMKlinux Driver Stack Deprecation?; on Realtek in 7.0 its driver's packager, "
    "VFrontDe-Org/ESXi-Customizer-PS#17, June 2020"
)
_WESTMERE = "polarclouds.co.uk, Workaround ESXi CPU Unsupported, part 2, E5640 with CPUID 206C2; insecurewi.re on ESXi 7.0 and Westmere"
_FCOE = f"{_GUIDE_8}, Storage Systems"
_NVME = "claimed of ESXi 7 and newer in the field; no vendor text was found. KB 312191 names the command that shows the version"


@dataclass(frozen=True)
class Demand:
    """What a release wants of a host. ``least``: a number, where it is one. ``must``: without it the host cannot be used."""

    name: str
    span: Span
    source: str
    least: int = 1
    must: bool = True


DEMANDS = (
    Demand("cores", _SEVEN, _GUIDE_7, 2),
    Demand("cores", _EIGHT, _GUIDE_8, 2),
    Demand("nx", _SEVEN, _GUIDE_7),
    Demand("nx", _EIGHT, _GUIDE_8),
    # "With ESXi 8.0 Update 2 we now have a minimum requirement": nothing says that a later release went back on it.
    Demand("xsave", Span((8, 0, 2)), _XSAVE),
    Demand("virtualization", _SEVEN, _GUIDE_7, must=False),
    Demand("virtualization", _EIGHT, _GUIDE_8, must=False),
    Demand("memory_gb", _SEVEN, _GUIDE_7, 8),
    Demand("memory_gb", _EIGHT, _GUIDE_8, 8),
    Demand("memory_gb", _EIGHT, _GUIDE_8, 12, must=False),
    Demand("boot_disk_gb", _SEVEN, _GUIDE_7, 32),
    Demand("boot_disk_gb", _EIGHT, _GUIDE_8, 32),
    Demand("ethernet", _SEVEN, _GUIDE_7),
    Demand("ethernet", _EIGHT, _GUIDE_8),
    # 7.0 takes no new server with it, 8.0 none from Cascade Lake and Rome on, "a future version" none at all; whether 9.0 is that: not found.
    Demand("uefi", _FROM_SEVEN, _BIOS, must=False),
    # Supported "through the 8.0 product release"; of what comes after it nothing is promised.
    Demand("no_usb_boot", _FROM_SEVEN, _USB, must=False),
    Demand("nvme_1_3", _FROM_SEVEN, _NVME, must=False),
    Demand("no_software_fcoe", Span((8, 0, 0)), _FCOE),
)

ROWS = (
    # 6.7 was the last release with Linux drivers, and no native one was found in an image. Whoever has one has it from somebody else.
    Row(
        verdict="known_bad",
        source=_VMKLINUX,
        note="Realtek NICs were run by Linux drivers, which 7.0 and newer do not take; a native one was found in no image.",
        span=_FROM_SEVEN,
        vendor=0x10EC,
        pci_class=ETHERNET,
        undriven=_FROM_SEVEN,
    ),
    Row(
        verdict="known_bad",
        source=_WESTMERE,
        note="The installer of 7.0 refuses Westmere-EP; allowLegacyCPU=true turns that into a warning and is not supported.",
        span=_FROM_SEVEN,
        maker="intel",
        family=6,
        model=0x2C,
    ),
)
