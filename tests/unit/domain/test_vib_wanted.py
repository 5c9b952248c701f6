# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people declare, and what cannot be meant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import vib_wanted
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.vib_archive import Broken
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.vib_package import Rule, build
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.vib_wanted import parse
from tests.unit.domain.vib_makers import AGENT, wish


def _with_port(port: Any, **more: Any) -> dict[str, Any]:
    return {"rulesets": [{"name": "agent", "rules": [{"direction": "inbound", "protocol": "tcp", "port": port, **more}]}]}


def _named(name: Any) -> dict[str, Any]:
    return {"rulesets": [{**AGENT, "name": name}]}


BAD: list[tuple[dict[str, Any], str]] = [
    ({"rulesets": None}, "state present needs rulesets, and there is none"),
    ({"rulesets": []}, "state present needs rulesets"),
    ({"state": "built", "dest": "/x", "rulesets": []}, "state built needs rulesets"),
    ({"state": "built"}, "state built needs dest"),
    ({"state": "built", "dest": "/x", "esxi_hostname": ["*"]}, "state built looks at no host, and esxi_hostname is given"),
    (_with_port("0"), "rulesets entry 1 (agent), rule 1 has port '0', which is neither a port nor a range"),
    (_with_port("65536"), "has port '65536'"),
    (_with_port("http"), "has port 'http'"),
    (_with_port("9-8"), "has port '9-8'"),
    (_with_port("8-"), "has port '8-'"),
    (_with_port("1-2-3"), "has port '1-2-3'"),
    (_with_port(""), "has port ''"),
    (_with_port(None), "has port ''"),
    (_with_port("²"), "has port '²'"),
    (_with_port("-80"), "has port '-80'"),
    (_with_port("8.5"), "has port '8.5'"),
    (_with_port(80, direction="in"), "has direction 'in'"),
    (_with_port(80, protocol="icmp"), "has protocol 'icmp'"),
    (_with_port(80, port_type="any"), "has port_type 'any'"),
    (_named(""), "rulesets entry 1 has the name ''"),
    (_named("a" * 51), "rulesets entry 1 has the name 'aaa"),
    (_named("a b"), "has the name 'a b'"),
    (_named("../x"), "has the name '../x'"),
    (_named("a\n"), None),  # type: ignore[list-item] # blanks around it are cut off
    ({"rulesets": [AGENT, AGENT]}, "rulesets names 'agent' twice"),
    ({"rulesets": [AGENT, {**AGENT, "name": "Agent"}]}, "rulesets names 'agent' and 'Agent', which differ only in their case"),
    ({"rulesets": [{"name": "agent", "rules": []}]}, "rulesets entry 1 (agent) has no rules"),
    ({"rulesets": [{**AGENT, "rules": AGENT["rules"] * 2}]}, "has the rule tcp/8080 inbound twice"),
    ({"rulesets": [{**AGENT, "enabled": None, "required": True}]}, "is required and not enabled"),
    ({"name": "a_b"}, "name 'a_b' cannot be that of a package"),
    ({"name": "a" * 51}, "cannot be that of a package"),
    ({"name": ""}, "name '' cannot be"),
    ({"vendor": "a b"}, "vendor 'a b' cannot be"),
    ({"version": "1.x"}, "version '1.x' cannot be"),
    ({"version": "01"}, "version '01' cannot be"),
    ({"version": "1.0.0-1"}, "version '1.0.0-1' cannot be"),
    ({"summary": "x" * 201}, "is not one line of 1 to 200 characters"),
    ({"summary": "a\x07"}, "is not one line"),
    ({"release_date": "yesterday"}, "release_date 'yesterday' is no date"),
    ({"release_date": "2026-02-30"}, "is no date"),
    ({"force": True, "installer": "patch_manager"}, "force is an option of esxcli, and installer is patch_manager"),
]


@pytest.mark.parametrize(("options", "sentence"), BAD, ids=[f"{number}" for number in range(len(BAD))])
def test_bad(options: dict[str, Any], sentence: str | None) -> None:
    params = {"state": "present", "rulesets": [AGENT], **options}
    if sentence is None:
        assert parse(params).package
        return
    with pytest.raises(BadInput) as caught:
        parse(params)
    assert sentence in caught.value.cause
    assert caught.value.hint.endswith(".")


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [(8080, 8080, 8080), ("8080", 8080, 8080), ("8000-8100", 8000, 8100), (" 8000 - 8100 ", 8000, 8100), ("9-9", 9, 9)],
)
def test_ports(text: Any, first: int, last: int) -> None:
    assert parse(_with_port(text)).rulesets[0].rules == (Rule("inbound", "tcp", first, last),)


def test_a_toggle_that_is_left_out_is_nobodys_business() -> None:
    """It is born closed: never open wider than asked for."""
    wanted = wish({**AGENT, "enabled": None}, {**AGENT, "name": "b", "enabled": False}, {**AGENT, "name": "c", "enabled": True})
    assert dict(wanted.toggles) == {"b": False, "c": True}
    assert [ruleset.enabled for ruleset in wanted.rulesets] == [False, False, True]


def test_absent_needs_no_rulesets() -> None:
    assert parse({"state": "absent"}).package is None
    assert parse({"state": "absent", "rulesets": [AGENT]}).package is not None


def test_what_is_packed_is_opened_before_it_goes_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt = wish().vib.replace(b"8080", b"8081")
    monkeypatch.setattr(vib_wanted, "build", lambda package: spoilt)
    with pytest.raises(Broken, match="the sha-256 checksum of the payload payload1 is wrong"):
        assert wish().vib
    monkeypatch.setattr(vib_wanted, "build", lambda package: build(replace(package, summary="Another one")))
    with pytest.raises(Broken, match="what was packed is not what was declared"):
        assert wish().vib
