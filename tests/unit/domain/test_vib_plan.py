# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner over all small states of a host, and each finding by itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import vib
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.plan import Plan
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.vib import MEANINGS, plan
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.vib_model import (
    RESERVE,
    Guards,
    Installed,
    InstallPackage,
    Live,
    RefreshFirewall,
    RemovePackage,
    RemoveUpload,
    SetRuleset,
    State,
    UploadPackage,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.vib_package import Rule
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.vib_wanted import Wanted
from tests.unit.domain.vib_makers import AGENT, READY, SSH, WIDE, as_told, host, store, wish

WISH = wish()
OLD = as_told(wish({**AGENT, "name": "before"}))
FOREIGN = Installed(name=WISH.name, version="1", vendor="Example")
OURS = Live(True, frozenset({Rule("inbound", "tcp", 8080, 8080)}))
OTHER = Live(True, frozenset({Rule("inbound", "tcp", 8081, 8081)}))
NAME = "fleetcare-firewall"


def codes(one: Plan, level: str = "") -> list[str]:
    return [finding.code for finding in one.findings if level in ("", finding.level)]


def kinds(one: Plan) -> list[str]:
    return [type(change).__name__ for change in one.changes]


def carried_out(one: Plan) -> State:
    """What a run reads back if the host does as it is told."""
    return vib.after(replace(one.predicted, uploaded="", refreshed=False), one.predicted, False)


WISHES: dict[str, Wanted] = {
    "open": WISH,
    "closed": wish({**AGENT, "enabled": False}),
    "untouched": wish({**AGENT, "enabled": None}),
    "two": wish(
        AGENT, {**AGENT, "name": "second", "enabled": None, "rules": [{"direction": "outbound", "protocol": "udp", "port": "1-9"}]}
    ),
    "unknown boot": wish(allow_unknown_secure_boot=True),
    "by name": wish(datastore="ds2"),
    "absent": wish(state="absent"),
    "absent, by name only": replace(wish(state="absent"), package=None, toggles={}),
}


def states() -> Iterator[State]:
    guards = [
        Guards(level=level, image_managed=image, stores=stores)
        for level in ("community", "partner")
        for image in (False, True, None)
        for stores in ((), (store(),), (store(free=1),), (store(trouble="read-only"), store("ds2")))
    ]
    rulesets: list[dict[str, Live] | None] = [
        None,
        {"sshServer": SSH},
        {"sshServer": SSH, "agent": OURS},
        {"sshServer": SSH, "agent": replace(OURS, enabled=False, controllable=False)},
        {"sshServer": SSH, "agent": OTHER, "before": OURS},
    ]
    for guard, live, have, boot, busy in itertools.product(
        guards, rulesets, (None, as_told(WISH), OLD, FOREIGN), (False, True, None), (False, True)
    ):
        yield host(guards=guard, rulesets=live, installed=have, secure_boot=boot, reboot_pending=busy)


@pytest.mark.parametrize("wanted", WISHES.values(), ids=WISHES)
def test_what_holds_for_every_host(wanted: Wanted) -> None:
    for state in states():
        one = plan(state, wanted, {})
        again = plan(carried_out(one), wanted, {})
        assert not again.changes, (state, one.changes, again.changes)
        # What one run does not mend, it says at once; it does not come up in the second.
        assert set(codes(again, "error")) <= set(codes(one, "error")) | {"vib_boot_at_risk", "vib_ruleset_locked", "vib_ruleset_left"}, (
            state,
            one,
        )
        if {"vib_acceptance_level", "vib_secure_boot", "vib_image_managed", "vib_ruleset_taken", "vib_no_datastore"} & set(
            codes(one, "error")
        ):
            assert not one.changes, "nothing is written to a host that takes no package"
        if one.changes:
            mine = {ruleset.name for ruleset in wanted.rulesets} | set(state.installed.rulesets if state.installed else ())
            before = {name: live for name, live in state.all().items() if name not in mine}
            assert {name: live for name, live in one.predicted.all().items() if name not in mine} == before
        for number, change in enumerate(one.changes):
            on_the_way = one.observed
            for earlier in one.changes[:number]:
                on_the_way = earlier.applied_to(on_the_way)
            assert change.applied_to(on_the_way) != on_the_way, change
        if UploadPackage in map(type, one.changes):
            assert kinds(one)[:3] == ["UploadPackage", "InstallPackage", "RefreshFirewall"] and kinds(one)[-1] == "RemoveUpload"
            assert state.secure_boot is False or (state.secure_boot is None and wanted.unknown_boot)
            assert state.guards and state.guards.level == "community" and not state.guards.image_managed
        for finding in one.findings:
            assert finding.text and finding.hint and finding.code in MEANINGS


def test_never_wider_than_asked_for() -> None:
    """At no point of the way is a ruleset of the package open that shall not be."""
    for wanted in WISHES.values():
        for state in states():
            one = plan(state, wanted, {})
            given = {ruleset.name: ruleset for ruleset in wanted.rulesets}
            now = one.observed
            for change in one.changes:
                now = change.applied_to(now)
                if isinstance(change, SetRuleset):
                    assert wanted.toggles[change.ruleset] == change.enabled
                if isinstance(change, RefreshFirewall):
                    for name in change.appear:
                        assert now.all()[name].rules == frozenset(given[name].rules)
            for name, toggle in wanted.toggles.items() if one.changes and wanted.state == "present" else ():
                live = now.all().get(name)
                assert live is None or live.enabled == toggle or live.controllable is False


def test_the_way() -> None:
    one = plan(host(), WISH, {})
    assert kinds(one) == ["UploadPackage", "InstallPackage", "RefreshFirewall", "SetRuleset", "RemoveUpload"]
    upload, install, _refresh, toggle, removal = one.changes
    assert isinstance(upload, UploadPackage) and isinstance(install, InstallPackage) and isinstance(removal, RemoveUpload)
    assert upload.content == WISH.vib and upload.place == install.place == removal.place
    assert install.place.path == f"/vmfs/volumes/ds1-uuid/{upload.place.file}" and "host-1" in upload.place.file
    assert toggle == SetRuleset("agent", True)
    assert one.findings == ()
    assert not plan(host(rulesets={"agent": OURS}, installed=as_told(WISH), guards=None), WISH, {}).changes


def test_two_hosts_of_a_datastore_do_not_share_the_file() -> None:
    """Each removes its own. Asked by themselves, all of them are ha-host."""
    for hosts in ([{"moid": "host-1"}, {"moid": "host-2"}], [{"moid": "ha-host", "uuid": "a"}, {"moid": "ha-host", "uuid": "b"}]):
        places = {plan(host(**one), WISH, {}).changes[0].place.file for one in hosts}  # type: ignore[attr-defined]
        assert len(places) == 2


def test_a_host_that_tells_no_description_is_believed_its_version() -> None:
    """Otherwise each run would install it again."""
    silent = replace(as_told(WISH), description="")
    assert vib.is_right(host(installed=silent), WISH)
    assert not vib.is_right(host(installed=replace(silent, version="1.0.0")), WISH)
    spoilt = replace(silent, description=as_told(WISH).description.replace(as_told(WISH).content, "0" * 64))
    assert not vib.is_right(host(installed=spoilt), WISH)


CASES: list[tuple[str, str, dict[str, Any], Wanted, list[str], list[str]]] = [
    # what, code, host, wish, all findings, changes
    ("no firewall", "vib_firewall_unknown", {"rulesets": None}, WISH, ["vib_firewall_unknown"], []),
    ("level", "vib_acceptance_level", {"guards": replace(READY, level="partner")}, WISH, ["vib_acceptance_level"], []),
    ("level not told", "vib_acceptance_level", {"guards": replace(READY, level="")}, WISH, ["vib_acceptance_level"], []),
    ("secure boot", "vib_secure_boot", {"secure_boot": True}, WISH, ["vib_secure_boot"], []),
    ("enforced", "vib_secure_boot", {"secure_boot": True, "boot_enforced": True, "sealed": True}, WISH, ["vib_secure_boot"], []),
    ("image", "vib_image_managed", {"guards": replace(READY, image_managed=True)}, WISH, ["vib_image_managed"], []),
    (
        "image, absent",
        "vib_image_managed",
        {"guards": replace(READY, image_managed=True), "installed": as_told(WISH)},
        WISHES["absent"],
        ["vib_image_managed"],
        [],
    ),
    ("boot unknown", "vib_secure_boot_unknown", {"secure_boot": None}, WISH, ["vib_secure_boot_unknown"], []),
    (
        "boot unknown, allowed",
        "vib_secure_boot_unknown",
        {"secure_boot": None},
        WISHES["unknown boot"],
        ["vib_secure_boot_unknown"],
        ["UploadPackage", "InstallPackage", "RefreshFirewall", "SetRuleset", "RemoveUpload"],
    ),
    ("no datastore", "vib_no_datastore", {"guards": replace(READY, stores=())}, WISH, ["vib_no_datastore"], []),
    ("another datastore", "vib_no_datastore", {}, WISHES["by name"], ["vib_no_datastore"], []),
    ("vSAN only", "vib_no_datastore", {"guards": replace(READY, stores=(store(plain=False),))}, WISH, ["vib_no_datastore"], []),
    ("full", "vib_no_space", {"guards": replace(READY, stores=(store(free=RESERVE),))}, WISH, ["vib_no_space"], []),
    ("name taken", "vib_ruleset_taken", {"rulesets": {"agent": OTHER}}, WISH, ["vib_ruleset_taken"], []),
    ("foreign package", "vib_name_taken", {"installed": FOREIGN}, WISH, ["vib_name_taken"], []),
    ("foreign package, absent", "vib_name_taken", {"installed": FOREIGN}, WISHES["absent"], ["vib_name_taken"], []),
    ("reboot", "vib_reboot_pending", {"reboot_pending": True}, WISH, ["vib_reboot_pending"], []),
    ("reboot, absent", "vib_reboot_pending", {"reboot_pending": True, "installed": OLD}, WISHES["absent"], ["vib_reboot_pending"], []),
    (
        "maintenance",
        "vib_maintenance_needed",
        {"installed": replace(OLD, maintenance=True)},
        WISH,
        ["vib_maintenance_needed"],
        [],
    ),
    (
        "maintenance, absent",
        "vib_maintenance_needed",
        {"installed": replace(OLD, maintenance=True)},
        WISHES["absent"],
        ["vib_maintenance_needed"],
        [],
    ),
    (
        "boots no more",
        "vib_boot_at_risk",
        {"installed": as_told(WISH), "rulesets": {"agent": OURS}, "secure_boot": True},
        WISH,
        ["vib_boot_at_risk"],
        [],
    ),
    (
        "locked",
        "vib_ruleset_locked",
        {"installed": as_told(WISH), "rulesets": {"agent": replace(OURS, enabled=False, controllable=False)}},
        WISH,
        ["vib_ruleset_locked"],
        [],
    ),
    ("missing", "vib_ruleset_missing", {"installed": as_told(WISH), "refreshed": True}, WISH, ["vib_ruleset_missing"], []),
    (
        "differs",
        "vib_ruleset_differs",
        {"installed": as_told(WISH), "refreshed": True, "rulesets": {"agent": OTHER}},
        WISH,
        ["vib_ruleset_differs"],
        [],
    ),
    ("left", "vib_ruleset_left", {"refreshed": True, "rulesets": {"agent": OURS}}, WISHES["absent"], ["vib_ruleset_left"], []),
    (
        "upload left",
        "vib_upload_left",
        {"installed": as_told(WISH), "rulesets": {"agent": OURS}, "uploaded": "[ds1] x.vib"},
        WISH,
        ["vib_upload_left"],
        [],
    ),
]


@pytest.mark.parametrize(("what", "code", "more", "wanted", "found", "changes"), CASES, ids=[row[0] for row in CASES])
def test_findings_that_stop(what: str, code: str, more: dict[str, Any], wanted: Wanted, found: list[str], changes: list[str]) -> None:
    one = plan(host(**more), wanted, {})
    assert (codes(one), kinds(one)) == (found, changes)
    assert one.findings[0].level == ("warning" if changes else "error")
    assert code in found and len(MEANINGS[code].hint) > 10


NOTES: list[tuple[str, dict[str, Any]]] = [
    ("vib_exec_installed_only", {"guards": replace(READY, exec_installed_only=True)}),
    ("vib_sealed", {"sealed": True}),
    ("vib_other_version", {"installed": OLD, "rulesets": {"before": OURS}}),
    ("vib_image_unknown", {"guards": replace(READY, image_managed=None)}),
    ("vib_ruleset_adopted", {"rulesets": {"agent": OURS}}),
    ("vib_port_taken", {"rulesets": {"sshServer": SSH, "webAccess": OURS}}),
]


@pytest.mark.parametrize(("code", "more"), NOTES, ids=[row[0] for row in NOTES])
def test_findings_that_do_not_stop(code: str, more: dict[str, Any]) -> None:
    one = plan(host(**more), WISH, {})
    assert codes(one) == [code] and one.findings[0].level != "error"
    assert "InstallPackage" in kinds(one)


def test_every_finding_is_in_these_tables() -> None:
    assert {row[1] for row in CASES} | {row[0] for row in NOTES} == set(MEANINGS)


def test_a_port_of_a_ruleset_that_opens_everything_is_not_taken() -> None:
    assert codes(plan(host(rulesets={"nfsClient": WIDE}), WISH, {})) == []
    source = wish({**AGENT, "rules": [{"direction": "inbound", "protocol": "tcp", "port_type": "src", "port": 22}]})
    assert codes(plan(host(), source, {})) == [], "a sender's port opens nothing"


def test_what_is_gone_with_the_old_version() -> None:
    one = plan(host(installed=OLD, rulesets={"sshServer": SSH, "before": OURS}), WISH, {})
    assert set(one.predicted.all()) == {"sshServer", "agent"}


def test_removal_takes_what_the_package_says_it_has() -> None:
    state = host(installed=as_told(WISH), rulesets={"sshServer": SSH, "agent": OURS})
    for wanted in (WISHES["absent"], WISHES["absent, by name only"]):
        one = plan(state, wanted, {})
        assert one.changes[0] == RemovePackage(NAME, as_told(WISH).version)
        assert one.predicted.rulesets == {"sshServer": SSH} and one.predicted.installed is None
    assert not plan(host(), WISHES["absent"], {}).changes


def test_a_stop_between_removal_and_refresh_is_finished_by_the_next_run() -> None:
    one = plan(host(rulesets={"sshServer": SSH, "agent": OURS}), WISHES["absent"], {})
    assert kinds(one) == ["RefreshFirewall"] and set(one.predicted.all()) == {"sshServer"}


def test_a_stop_between_installation_and_refresh_is_finished_by_the_next_run() -> None:
    one = plan(host(installed=as_told(WISH)), WISH, {})
    assert kinds(one) == ["RefreshFirewall", "SetRuleset"]


def test_the_datastore_that_most_have_then_the_roomiest() -> None:
    stores = (
        store("big", free=1 << 40),
        store("ours", free=1 << 34),
        store("ours-too", free=1 << 35),
        store("broken", trouble="not accessible"),
    )
    state = host(guards=replace(READY, stores=stores))
    seen = vib.survey([state, host(guards=replace(READY, stores=stores[1:])), host(guards=None)], {}, WISH)

    def chosen(**options: Any) -> str:
        return str(plan(state, wish(**options), seen).changes[0].place.store)  # type: ignore[attr-defined]

    assert chosen() == "ours-too"
    assert chosen(datastore="big") == "big"
    assert codes(plan(state, wish(datastore="broken"), seen)) == ["vib_no_datastore"]


def test_what_belongs_on_the_control_node() -> None:
    package = WISH.package
    assert package
    kept_out = {"a": plan(host(secure_boot=True), WISH, {}), "b": plan(host(), WISH, {})}
    fine = {"b": kept_out["b"]}
    assert vib.files(WISH, kept_out) == {}, "without dest nothing is written"
    for wanted, plans, names in (
        (wish(dest="/d"), kept_out, [package.bundle_name]),
        (wish(dest="/d"), fine, []),
        (wish(dest="/d"), {"a": plan(host(guards=replace(READY, stores=())), WISH, {})}, []),
        (wish(dest="/d", state="built"), {}, [package.file_name, package.bundle_name]),
        (wish(dest="/d", state="absent"), kept_out, []),
    ):
        assert list(vib.files(wanted, plans)) == names
    told = vib.overview(None, wish(dest="/d"), kept_out, {})
    assert told["msg"].startswith("1 of 2 hosts take no package by themselves. Where one image manages the cluster, import fleetcare-")
    assert "msg" not in vib.overview(None, WISH, kept_out, {})


def test_settings_are_what_a_diff_shows() -> None:
    state = host(installed=as_told(WISH), rulesets={"sshServer": SSH, "agent": OURS})
    assert vib.settings(state) == {
        "package": f"{NAME} {as_told(WISH).version}",
        "rulesets": {"agent": {"enabled": True, "rules": ["tcp/8080 inbound"]}},
    }
    assert vib.settings(host()) == {"package": None, "rulesets": {}}
    assert vib.settings(None) == {} and vib.report(None, WISH, None, full=False) == {}
