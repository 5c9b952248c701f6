# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses as people write them, as hosts keep them, and as sets. Pure. Private to this collection.

A set of addresses is a tuple of networks, sorted, none within another; a single address is a network of one.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from .errors import BadInput

Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"
Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"


def addresses_given(option: str, texts: Iterable[str]) -> tuple[Network, ...]:
    """What stands in an option for addresses: addresses and ranges ``192.0.2.10-192.0.2.20``. Raises BadInput."""
    found: list[Network] = []
    for text in texts:
        word = _word(option, text)
        if "/" in word:
            raise BadInput(f"{option} has {word!r}, which is a network", hint="Put it into ip_network.")
        first, dash, last = (part.strip() for part in word.partition("-"))
        ends = [_address(option, word, part) for part in ((first, last) if dash else (first,))]
        if ends[0].version != ends[-1].version or int(ends[0]) > int(ends[-1]):
            raise BadInput(f"{option} has {word!r}, which is no range", hint="Write the lower address first: 192.0.2.10-192.0.2.20.")
        found.extend(ipaddress.summarize_address_range(ends[0], ends[-1]))
    return tidy(found)


def networks_given(option: str, texts: Iterable[str]) -> tuple[Network, ...]:
    """What stands in an option for networks. Bits behind the mask are dropped. Raises BadInput."""
    found: list[Network] = []
    for text in texts:
        word = _word(option, text)
        if "/" not in word:
            raise BadInput(
                f"{option} has {word!r} without a mask",
                hint=f"Write {word}/{64 if ':' in word else 24}, or put a single address into ip_address.",
            )
        base, _slash, mask = word.partition("/")
        _address(option, word, base, nobody=False)
        try:
            network = ipaddress.ip_network(word, strict=False)
        except ValueError:
            longest, example = (128, "2001:db8::/64") if ":" in base else (32, "192.0.2.0/24")
            cause = f"{option} has {word!r}, whose mask {mask!r} is no prefix length from 1 to {longest}"
            raise BadInput(cause, hint=f"Write for example {example}.") from None
        if network.prefixlen == 0:
            raise BadInput(f"{option} has {word!r}, which is every address", hint="Use all_ip: true if that is meant.")
        _somebody(option, word, network.network_address)
        found.append(network)
    return tidy(found)


def _word(option: str, text: object) -> str:
    word = str(text).strip()
    if not word:
        raise BadInput(f"{option} holds an empty entry", hint="Remove it; often a variable is empty there.")
    if "," in word or " " in word:
        raise BadInput(f"{option} has {word!r}, which is more than one", hint="Use one entry a line.")
    return word


def _address(option: str, text: str, part: str, *, nobody: bool = True) -> Address:
    """``part`` is the address in an entry ``text``."""
    try:
        address = ipaddress.ip_address(part)
    except ValueError:
        # Some programs read 010 as 8.
        zeros = ":" not in part and all(octet.isdigit() for octet in part.split(".")) and re.search(r"\b0\d", part)
        raise BadInput(
            f"{option} has {text!r}, {'which is' if part == text else f'and {part!r} is'} no IP address",
            hint="Leading zeros are not taken: write 10 for 010."
            if zeros
            else "Host names are not taken here; write for example 192.0.2.10.",
        ) from None
    if getattr(address, "scope_id", None):
        raise BadInput(f"{option} has {text!r} with an interface", hint="Leave out what follows the %.")
    if nobody:
        _somebody(option, part, address)
    return address


def _somebody(option: str, text: str, address: Address) -> None:
    if address.is_multicast or (address.is_unspecified and "/" not in text):
        raise BadInput(f"{option} has {text!r}, an address that no peer can have", hint="Use the address that the peer sends from.")


def tidy(networks: Iterable[Network]) -> tuple[Network, ...]:
    """Without doubles and without what lies within another; neighbours are not merged, so that people find their entries."""
    kept: list[Network] = []
    for network in sorted(set(networks), key=lambda n: (n.version, int(n.network_address), n.prefixlen)):
        if not (kept and kept[-1].version == network.version and network.subnet_of(kept[-1])):  # type: ignore[arg-type]
            kept.append(network)
    return tuple(kept)


@functools.lru_cache(maxsize=4096)
def merged(networks: tuple[Network, ...]) -> tuple[Network, ...]:
    """The same set in the one shape that can be compared."""
    found: list[Network] = []
    for version in (4, 6):
        found.extend(ipaddress.collapse_addresses([n for n in networks if n.version == version]))  # type: ignore[type-var]
    return tuple(found)


def minus(networks: Sequence[Network], gone: Iterable[Network]) -> tuple[Network, ...]:
    left = list(networks)
    for network in gone:
        after: list[Network] = []
        for each in left:
            if each.version != network.version or not each.overlaps(network):
                after.append(each)
            elif network.subnet_of(each) and network != each:  # type: ignore[arg-type]
                after.extend(each.address_exclude(network))  # type: ignore[arg-type]
        left = after
    return tidy(left)


@functools.lru_cache(maxsize=4096)
def within(inner: tuple[Network, ...], outer: tuple[Network, ...]) -> bool:
    """Whether a set lies in another."""
    whole = merged(outer)
    return all(any(i.version == o.version and i.subnet_of(o) for o in whole) for i in merged(inner))  # type: ignore[arg-type]


@functools.lru_cache(maxsize=4096)
def kept_by_host(addresses: tuple[str, ...], networks: tuple[tuple[str, int], ...]) -> tuple[Network, ...]:
    """What a host says that it has. It took it once, so nothing is refused; for what cannot be read see ``unreadable``."""
    return tidy(known for text in _texts(addresses, networks) if (known := parsed(text)))


def unreadable(addresses: tuple[str, ...], networks: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
    """The entries of a host's list that are neither an address nor a network, as they stand there."""
    return tuple(sorted({text for text in _texts(addresses, networks) if parsed(text) is None}))


def _texts(addresses: Iterable[str], networks: Iterable[tuple[str, int]]) -> list[str]:
    return [text.strip() for text in (*addresses, *(f"{network}/{prefix}" for network, prefix in networks))]


@functools.lru_cache(maxsize=4096)
def parsed(text: str) -> Network | None:
    """An address or a network; None for a name."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def unmapped(text: str) -> str | None:
    """An address without the ``::ffff:`` of one that speaks IPv4; None for a name."""
    known = parsed(text)
    if known is None:
        return None
    mapped = getattr(known.network_address, "ipv4_mapped", None)
    return str(mapped) if mapped else text


def is_single(network: Network) -> bool:
    return network.prefixlen == network.max_prefixlen


def shown(network: Network) -> str:
    return str(network.network_address) if is_single(network) else str(network)
