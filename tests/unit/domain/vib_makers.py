# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wishes and hosts for the tests of ``_domain/vib*.py``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.vib_model import Guards, Installed, Live, State, Store
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.vib_package import Rule
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.vib_wanted import Wanted, parse

AGENT: dict[str, Any] = {"name": "agent", "enabled": True, "rules": [{"direction": "inbound", "protocol": "tcp", "port": "8080"}]}
SSH = Live(True, frozenset({Rule("inbound", "tcp", 22, 22)}))
WIDE = Live(True, frozenset({Rule("inbound", "tcp", 1, 65535)}))


def wish(*rulesets: dict[str, Any], **options: Any) -> Wanted:
    return parse({"state": "present", "rulesets": list(rulesets or (AGENT,)), **options})


def as_told(wanted: Wanted) -> Installed:
    assert wanted.package
    package = wanted.package
    return Installed(name=package.name, version=package.version, vendor=package.vendor, description=package.description)


def store(name: str = "ds1", free: int = 1 << 33, **more: Any) -> Store:
    return Store(name=name, moid=f"datastore-{name}", path=f"/vmfs/volumes/{name}-uuid", free=free, **more)


READY = Guards(level="community", exec_installed_only=False, image_managed=False, stores=(store(),))


def host(**more: Any) -> State:
    """One that takes a package."""
    state = State(
        name="esx-001.example.com",
        moid="host-1",
        version="8.0.3",
        rulesets={"sshServer": SSH},
        secure_boot=False,
        told_by="it",
        guards=READY,
    )
    return replace(state, **more)


# ---- anything that a user may declare -------------------------------------------------------------------------------------

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_NAMES = st.text(_LETTERS + "._-", min_size=0, max_size=20).map(lambda text: "r" + text)
_PORTS = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(sorted)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    first, last = draw(_PORTS)
    port: Any = draw(st.sampled_from([first, str(first), f"{first}-{last}", f" {first} - {last} "]))
    made = {"direction": draw(st.sampled_from(["inbound", "outbound"])), "protocol": draw(st.sampled_from(["tcp", "udp"])), "port": port}
    if draw(st.booleans()):
        made["port_type"] = draw(st.sampled_from(["src", "dst"]))
    return made


def _meaning(rule: dict[str, Any]) -> tuple[Any, ...]:
    first, _dash, last = str(rule["port"]).partition("-")
    return rule["direction"], rule["protocol"], rule.get("port_type", "dst"), int(first), int(last or first)


@st.composite
def declared(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(st.lists(_NAMES, min_size=1, max_size=5, unique_by=str.lower))
    found = []
    for name in names:
        enabled = draw(st.sampled_from([None, True, False]))
        entry = {"name": name, "rules": draw(st.lists(rules(), min_size=1, max_size=6, unique_by=_meaning)), "enabled": enabled}
        if enabled and draw(st.booleans()):
            entry["required"] = True
        found.append(entry)
    return found


WISHES = st.builds(
    lambda entries, options: wish(*entries, **options),
    declared(),
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.text(_LETTERS + "-", max_size=30).map(lambda text: "p" + text),
            "vendor": st.text(_LETTERS + ".-", max_size=20).map(lambda text: "v" + text),
            "version": st.sampled_from(["1", "2.0", "3.10.0", "0.0.0.999999999"]),
            "summary": st.text(min_size=1, max_size=60).filter(lambda text: " ".join(text.split()).isprintable() and bool(text.split())),
            "release_date": st.dates().map(lambda day: day.isoformat()),
        },
    ),
)
