# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a machine is locked and what opens it, over all small states."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import crypto as domain
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.crypto_model import (
    Custody,
    Disk,
    EnableHost,
    HostMode,
    Key,
    KeyStatus,
    Machine,
    MarkDefault,
    Permission,
    Placement,
    PresentCertificate,
    Provider,
    RegisterAgain,
    RegisterServer,
    Reload,
    RequestCertificate,
    Reregister,
    Server,
    TrustServer,
    Unlock,
    UpdateServer,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.crypto_wanted import (
    RECORD,
    ProviderWish,
    ServerWish,
    Wanted,
    as_record,
    fingerprint_of,
    parse,
)
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput

PEM = "-----BEGIN CERTIFICATE-----\nTm90IHJlYWxseQ==\n-----END CERTIFICATE-----\n"
OTHER = "-----BEGIN CERTIFICATE-----\nQW5vdGhlciBvbmU=\n-----END CERTIFICATE-----\n"
HOME, DISK = Key("1", "kms-a"), Key("2", "kms-b")
PLACE = Placement(name="app", path="[store] app/app.vmx", folder="group-v1", pool="resgroup-1", host="host-1", datacenter="datacenter-1")
ACTS = Wanted(acts=True)
DAY = 86400.0


def machine(**more: Any) -> Machine:
    given: dict[str, Any] = {"crypto": "locked", "connection": "invalid", "home": HOME, "origin": "config.keyId", "host": "host-1"}
    return Machine(moid="vm-1", name="app", placement=PLACE, **{**given, **more})


def custody(reason: str = "", *, active: bool | None = True, kind: str = "vCenter", mode: str = "safe", **more: Any) -> Custody:
    given: dict[str, Any] = {
        "providers": {
            "kms-a": Provider(name="kms-a", kind=kind, active=active, default=True),
            "kms-b": Provider(name="kms-b", active=True),
        },
        "statuses": {HOME: KeyStatus(not reason, reason), DISK: KeyStatus(True)},
        "hosts": {"host-1": HostMode(moid="host-1", name="esx-1", mode=mode)},
    }
    return Custody(**{**given, **more})


def seen(state: Machine, of: Custody, wanted: Wanted = ACTS) -> domain.Seen:
    return domain.survey([state], {"custody": of}, wanted)


def plan(state: Machine, of: Custody | None = None, wanted: Wanted = ACTS) -> Any:
    of = of or custody()
    return domain.plan(state, wanted, seen(state, of, wanted))


def codes(made: Any) -> list[str]:
    return [finding.code for finding in made.findings]


REASONS = (
    "",
    "KeyStateMissingInCache",
    "KeyStateClusterInvalid",
    "KeyStateClusterUnreachable",
    "KeyStateMissingInKMS",
    "KeyStateNotActiveOrEnabled",
    "KeyStateManagedByTrustAuthority",
    "KeyStateManagedByNKP",
    "NoPermissionToAccessKeyProvider",
    "WrappingKeyMissingInKMS",
    "WrappingKeyNotActiveOrEnabled",
    "KeyStateOfTheFuture",
)


@pytest.mark.parametrize(
    ("state", "of", "expected", "changes"),
    [
        (machine(), custody("KeyStateClusterUnreachable"), ["provider_unreachable"], []),
        # vCenter may have a key at hand although its provider is away.
        (machine(), custody(active=False), ["key_missing_on_host"], [Unlock()]),
        (machine(), custody(active=False, statuses={}), ["provider_unreachable"], []),
        (machine(), custody("KeyStateMissingInCache", active=False), ["provider_unreachable"], []),
        (machine(), custody(statuses={}), ["key_state_untold"], [Unlock()]),
        (machine(), custody(statuses={HOME: KeyStatus(False)}), ["key_unavailable"], []),
        (
            machine(home=Key("1", "native")),
            custody(statuses={Key("1", "native"): KeyStatus(False, "KeyStateManagedByNKP")}),
            ["provider_native"],
            [Unlock()],
        ),
        (machine(), custody("KeyStateMissingInCache"), ["key_not_in_cache"], [Unlock()]),
        (machine(), custody("KeyStateMissingInKMS"), ["key_missing"], []),
        (machine(), custody("KeyStateNotActiveOrEnabled"), ["key_not_active"], []),
        (machine(), custody("WrappingKeyMissingInKMS"), ["wrapping_key_missing"], []),
        (machine(), custody("WrappingKeyNotActiveOrEnabled"), ["wrapping_key_not_active"], []),
        (machine(), custody("KeyStateOfTheFuture"), ["key_unavailable"], []),
        (machine(), custody("NoPermissionToAccessKeyProvider"), ["privilege_missing"], []),
        (machine(), custody("KeyStateManagedByNKP", kind="nativeProvider"), ["provider_native"], [Unlock()]),
        (machine(), custody("KeyStateManagedByTrustAuthority", kind="trustAuthority"), ["provider_trust_authority"], [Unlock()]),
        (machine(), custody("KeyStateClusterInvalid"), ["provider_unknown"], []),
        (machine(home=Key("1", "gone")), custody(), ["provider_unknown"], []),
        (machine(home=Key("1")), custody(), ["key_state_untold"], [Unlock()]),
        (machine(), custody(), ["key_missing_on_host"], [Unlock()]),
        (machine(event="KeyMissingOnHost"), custody(), ["key_missing_on_host"], [Unlock()]),
        (machine(event="KMSClusterError"), custody(), ["still_locked"], [Unlock()]),
        (machine(event="KeyMissingOnKMS"), custody(), ["still_locked"], [Unlock()]),
        (machine(), custody(mode="incapable"), ["key_missing_on_host", "host_not_safe"], [Unlock()]),
        (machine(home=None), custody(), ["key_id_unknown"], [Unlock()]),
        (machine(home=None), custody(providers={}), ["provider_unreachable"], []),
        (machine(denied=("Cryptographer.RegisterVM on the machine",)), custody(), ["privilege_missing"], []),
        (machine(), custody(denied=("Cryptographer.ManageKeys on the root folder",)), ["privilege_missing"], []),
        (machine(connection="orphaned"), custody(), ["invalid_otherwise"], []),
        (machine(crypto="", home=None), custody(), ["invalid_otherwise"], []),
        (machine(crypto="", home=None, connection="connected"), custody(), [], []),
        (machine(crypto="unlocked", connection="connected"), custody(), [], []),
        (machine(crypto="unlocked"), custody(), ["open_but_invalid"], [Reload()]),
        (machine(crypto="unlocked", connection="connected"), custody("KeyStateMissingInKMS"), ["would_lock"], []),
        (machine(), custody(is_vcenter=False), ["vcenter_missing"], []),
        (machine(present=False), custody(is_vcenter=False, manager="192.0.2.1"), ["vcenter_missing"], []),
        (machine(present=True), custody(is_vcenter=False), ["still_locked"], [Reload()]),
    ],
)
def test_each_cause(state: Machine, of: Custody, expected: list[str], changes: list[Any]) -> None:
    made = plan(state, of)
    assert codes(made) == expected
    assert list(made.changes) == changes


def test_a_disk_without_its_key() -> None:
    disks = (Disk(label="Hard disk 1", key=HOME), Disk(label="Hard disk 2", key=DISK), Disk(label="Hard disk 3"))
    gone = custody(statuses={HOME: KeyStatus(True), DISK: KeyStatus(False, "KeyStateMissingInKMS")})
    locked = plan(machine(disks=disks), gone)
    assert codes(locked) == ["key_missing_on_host", "disk_key_missing"] and locked.changes == (Unlock(),)
    assert "Hard disk 2" in locked.findings[1].text and "Hard disk 1" not in locked.findings[1].text
    off = plan(machine(crypto="unlocked", connection="connected", disks=disks), gone)
    assert codes(off) == ["disk_key_missing"] and not off.changes
    running = plan(machine(crypto="unlocked", connection="connected", power="poweredOn", disks=disks), gone)
    assert codes(running) == ["would_lock"]


def states() -> Iterator[tuple[Machine, Custody]]:
    homes = (None, HOME, Key("1", "gone"), Key("1"))
    for home, crypto, connection, event in itertools.product(
        homes,
        ("", "locked", "unlocked"),
        ("connected", "invalid", "orphaned", "inaccessible"),
        ("", "KMSClusterError", "TAKeyMissingOnHost"),
    ):
        for reason, mode in itertools.product(REASONS, ("safe", "prepared")):
            for active in (True, False, None):
                state = machine(
                    home=home, crypto=crypto, connection=connection, event=event, disks=(Disk(label="d", key=DISK),) if home else ()
                )
                yield state, custody(reason, active=active, mode=mode)


@pytest.mark.parametrize("wanted", [ACTS, Wanted(acts=True, reregister=True), Wanted(acts=True, enable_hosts=True), Wanted()])
def test_invariants_over_all_small_states(wanted: Wanted) -> None:
    for state, of in states():
        judged = seen(state, of, wanted)
        made = domain.plan(state, wanted, judged)
        if not wanted.acts:
            assert made.changes == ()
        now = state
        for change in made.changes:
            assert change.applied_to(now) != now
            now = change.applied_to(now)
        # As in a run: what is planned of the predicted state is nothing.
        assert domain.plan(made.predicted, wanted, judged).changes == ()
        report = domain.report(state, wanted, judged, full=True)
        assert report["outcome"] in ("open", "waiting", "not_ours")
        # Each machine is exactly one of: open, waiting with a named cause, not ours.
        assert (report["cause"] is not None) == (report["outcome"] == "waiting")
        if made.changes:
            assert report["outcome"] == "waiting" and state.is_encrypted
        if state.crypto == "locked" and report["outcome"] == "waiting":
            assert any(finding.level != "note" for finding in made.findings)
        text = repr(domain.overview(judged, replace(wanted, csv=True, without="kms-a"), {"app": made}, {}))
        assert "PRIVATE" not in text


def test_the_last_resort() -> None:
    wish = Wanted(acts=True, reregister=True)
    made = plan(machine(), wanted=wish)
    assert made.changes == (Unlock(), Reregister(PLACE, (HOME,))) and made.changes[1].fallback
    assert made.predicted.before is None, "it is not expected to be needed"
    assert made.changes[1].applied_to(machine()).before == PLACE
    # Never where the key cannot be had: it would not open there either.
    assert plan(machine(), custody("KeyStateMissingInKMS"), wish).changes == ()
    for state in (
        machine(frozen="it is poweredOn"),
        replace(machine(), placement=replace(PLACE, path="")),
        replace(machine(), placement=replace(PLACE, folder="")),
    ):
        refused = plan(state, wanted=wish)
        assert refused.changes == (Unlock(),) and codes(refused)[-1] == "reregister_refused"


def test_what_is_left_behind_by_a_registration_is_told() -> None:
    place = replace(
        PLACE,
        permissions=(Permission(principal="EXAMPLE\\app", group=False, role=-1, propagate=True),),
        values=(("Owner", "a"),),
        tags=("urn:tag",),
    )
    read = machine(crypto="unlocked", connection="connected")
    assert codes(plan(domain.after(replace(read, placement=place), replace(read, before=place), False))) == []
    found = plan(
        domain.after(replace(read, placement=replace(PLACE, pool="resgroup-9", host="host-2")), replace(read, before=place), False)
    )
    assert codes(found) == ["not_restored", "on_another_host", "tags_lost"]
    assert "EXAMPLE\\app" in found.findings[0].text and "Owner" in found.findings[0].text and "pool" in found.findings[0].text


# ---- the key provider -----------------------------------------------------------------------------------------------

SHOWN = Server(name="one", address="192.0.2.7", fingerprint="ab" * 32, pem=PEM, trusted=False)
WISH = ProviderWish(
    name="kms-a", servers=(ServerWish(name="one", address="192.0.2.7", fingerprint="ab" * 32),), certificate=PEM, default=True
)


def endpoint(of: Custody, wish: ProviderWish = WISH) -> Any:
    wanted = Wanted(acts=True, provider=wish)
    return domain.endpoint_plan(domain.survey([machine()], {"custody": of}, wanted), wanted)


def test_a_provider_on_a_new_vcenter() -> None:
    made = endpoint(Custody(shown={"one": SHOWN}))
    assert [type(change) for change in made.changes] == [RegisterServer, TrustServer, PresentCertificate, MarkDefault]
    assert made.findings == ()
    done = made.predicted
    assert endpoint(done).changes == () and endpoint(done).findings == ()
    assert domain.settings(done) != domain.settings(made.observed)
    # The machines wait for what the endpoint is about to get.
    wanted = Wanted(acts=True, provider=WISH)
    judged = domain.survey([machine()], {"custody": Custody(shown={"one": SHOWN})}, wanted)
    assert domain.plan(machine(), wanted, judged).changes == (Unlock(),)
    other = domain.survey([machine(home=DISK)], {"custody": Custody(shown={"one": SHOWN})}, wanted)
    assert domain.plan(machine(home=DISK), wanted, other).changes == ()


@pytest.mark.parametrize(
    ("shown", "wish", "expected"),
    [
        ({}, WISH, ["key_server_silent"]),
        ({"one": replace(SHOWN, fingerprint="")}, WISH, ["key_server_silent"]),
        ({"one": replace(SHOWN, fingerprint="cd" * 32)}, WISH, ["key_server_differs"]),
        ({"one": SHOWN}, replace(WISH, servers=(ServerWish(name="one", address="192.0.2.7"),)), ["key_server_unconfirmed"]),
        ({"one": SHOWN}, replace(WISH, certificate="", request=True), ["certificate_requested"]),
        ({}, ProviderWish(name="kms-z"), ["provider_unknown", "provider_not_named"]),
    ],
)
def test_a_server_is_trusted_only_once_its_fingerprint_was_compared(
    shown: dict[str, Server], wish: ProviderWish, expected: list[str]
) -> None:
    made = endpoint(Custody(shown=shown), wish)
    assert codes(made) == expected
    if expected[0].startswith("key_server"):
        assert not any(isinstance(change, TrustServer) for change in made.changes)


def test_more_of_a_provider() -> None:
    known = Provider(
        name="kms-a", servers=(Server(name="one", address="192.0.2.6", trusted=True, trusts=False),), active=False, client_pem=PEM
    )
    trusted = {"one": replace(SHOWN, trusted=True)}
    assert [type(c) for c in endpoint(Custody(providers={"kms-a": known}, shown=trusted)).changes] == [UpdateServer, MarkDefault]
    there = replace(known, default=True, servers=(replace(known.servers[0], address="192.0.2.7"),))
    made = endpoint(Custody(providers={"kms-a": there}, shown=trusted))
    assert not made.changes and codes(made) == ["vcenter_not_trusted"]
    assert [type(c) for c in endpoint(Custody(providers={"kms-a": replace(there, client_pem=OTHER)}, shown=trusted)).changes] == [
        PresentCertificate
    ]
    away = replace(there, servers=(replace(there.servers[0], trusts=None, text="no route"),))
    assert codes(endpoint(Custody(providers={"kms-a": away}, shown=trusted))) == ["provider_unreachable"]
    assert codes(endpoint(Custody(providers={"kms-a": replace(known, kind="nativeProvider")}, shown=trusted))) == [
        "provider_of_another_kind"
    ]
    assert codes(endpoint(Custody(denied=("x",)))) == ["privilege_missing"]
    assert codes(endpoint(Custody(is_vcenter=False))) == ["vcenter_missing"]
    asked = replace(WISH, certificate="", request=True)
    first = endpoint(Custody(providers={"kms-a": replace(there, client_pem="")}, shown=trusted), asked)
    assert first.changes == (RequestCertificate("kms-a"),)
    assert endpoint(first.predicted, asked).changes == () and codes(endpoint(first.predicted, asked)) == ["certificate_requested"]
    soon = replace(there, client_expires_in=2 * DAY, servers=(replace(there.servers[0], trusts=True, expires_in=3 * DAY),))
    assert codes(endpoint(Custody(providers={"kms-a": soon}, shown=trusted))) == ["certificate_ends_soon", "provider_unreachable"]


def test_hosts_are_put_into_safe_mode_only_for_machines_that_open_then() -> None:
    wanted = Wanted(acts=True, enable_hosts=True)
    for of, expected in (
        (custody(mode="prepared"), (EnableHost("host-1", "esx-1"),)),
        (custody("KeyStateMissingInKMS", mode="prepared"), ()),
        (custody(), ()),
    ):
        assert domain.endpoint_plan(domain.survey([machine()], {"custody": of}, wanted), wanted).changes == expected


def test_a_lost_machine_comes_back() -> None:
    wanted = Wanted(acts=True, restore=(PLACE,))
    made = domain.endpoint_plan(domain.survey([], {"custody": Custody(lost=(PLACE,))}, wanted), wanted)
    assert made.changes == (RegisterAgain(PLACE),) and codes(made) == ["machine_lost"]
    assert made.predicted.lost == ()


# ---- telling --------------------------------------------------------------------------------------------------------


def test_the_worksheet_names_keys_machines_disks_and_hosts() -> None:
    gone = {HOME: KeyStatus(False, "KeyStateMissingInKMS"), DISK: KeyStatus(False, "KeyStateNotActiveOrEnabled")}
    of = custody(statuses=gone)
    machines = {
        "a": machine(disks=(Disk(label="Hard disk 1", key=HOME), Disk(label="Hard disk 2", key=DISK))),
        "=b": machine(crypto="unlocked", connection="connected"),
    }
    judged = domain.survey(machines.values(), {"custody": of}, ACTS)
    plans = {name: domain.plan(state, ACTS, judged) for name, state in machines.items()}
    told = domain.overview(judged, replace(ACTS, csv=True), plans, {})
    assert told["worksheet"] == [
        {
            "key_id": "1",
            "provider": "kms-a",
            "cause": "key_missing",
            "vms": ["=b", "a"],
            "disks": ["a: Hard disk 1"],
            "hosts": ["esx-1"],
            "locked": 1,
        },
        {
            "key_id": "2",
            "provider": "kms-b",
            "cause": "key_not_active",
            "vms": ["a"],
            "disks": ["a: Hard disk 2"],
            "hosts": ["esx-1"],
            "locked": 1,
        },
    ]
    assert told["causes"] == {"key_missing": ["a"]}
    assert "'=b; a" in told["csv"], "a spreadsheet must not take a name for a formula"
    away = domain.overview(judged, Wanted(without="kms-b"), plans, {})["would_lock"]
    assert away["vms"] == [] and away["vms_with_disks_only"] == ["a"] and away["known"]


@given(
    st.lists(st.tuples(st.sampled_from(["locked", "unlocked", ""]), st.sampled_from(["1", "2", "3"]), st.sampled_from(REASONS)), max_size=8)
)
def test_every_locked_machine_is_counted_once(rows: list[tuple[str, str, str]]) -> None:
    machines = {
        f"m{n}": machine(crypto=c, home=Key(k, "kms-a") if c else None, connection="connected") for n, (c, k, _r) in enumerate(rows)
    }
    of = custody(statuses={Key(k, "kms-a"): KeyStatus(not r, r) for _c, k, r in rows})
    judged = domain.survey(machines.values(), {"custody": of}, ACTS)
    told = domain.overview(judged, ACTS, {name: domain.plan(state, ACTS, judged) for name, state in machines.items()}, {})
    counted = [name for names in told["causes"].values() for name in names]
    assert sorted(counted) == sorted(name for name, state in machines.items() if state.crypto == "locked")


# ---- wishes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"wait_for_provider": -1}, "wait_for_provider"),
        ({"wait_for_provider": 60, "deadline": 60}, "deadline"),
        ({"reregister": True}, "backup"),
        ({"without_provider": " "}, "without_provider"),
        ({"restore": {"format": "something else"}}, "restore"),
        ({"restore": {"format": RECORD, "vms": [{"name": "a"}]}}, "damaged"),
        ({"restore": {"format": RECORD, "vms": [{**as_record(PLACE), "template": "no"}]}}, "damaged"),
        ({"key_provider": {"name": " "}}, "name"),
        ({"key_provider": {"name": "a", "servers": [{"address": "https://kms/"}]}}, "address"),
        ({"key_provider": {"name": "a", "servers": [{"address": "kms", "port": 0}]}}, "port"),
        ({"key_provider": {"name": "a", "servers": [{"address": "kms"}, {"address": "kms"}]}}, "two servers"),
        ({"key_provider": {"name": "a", "servers": [{"address": "kms", "fingerprint": "ab:cd"}]}}, "SHA-256"),
        ({"key_provider": {"name": "a", "certificate": "/etc/cert.pem"}}, "PEM"),
        ({"key_provider": {"name": "a", "private_key": "-----BEGIN PRIVATE KEY-----"}}, "certificate"),
        ({"key_provider": {"name": "a", "certificate": PEM, "private_key": "secret"}}, "private_key"),
        ({"key_provider": {"name": "a", "certificate": PEM, "private_key": "-----BEGIN ENCRYPTED PRIVATE KEY-----"}}, "encrypted"),
        ({"key_provider": {"name": "a", "certificate": PEM, "request": True}}, "request"),
    ],
)
def test_bad_input_is_a_sentence(params: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as problem:
        parse(params)
    assert words in problem.value.cause and problem.value.hint
    assert "secret" not in str(problem.value)


def test_good_input() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----"
    given_ = {
        "reregister": False,
        "key_provider": {
            "name": "kms-a",
            "servers": [
                {
                    "address": "kms.example.com",
                    "password": "pw",
                    "fingerprint": "SHA256 Fingerprint".replace(" Fingerprint", "") + "=" + "AB:" * 31 + "AB",
                }
            ],
            "certificate": PEM,
            "private_key": key,
        },
        "restore": {"format": RECORD, "vms": [as_record(PLACE)]},
    }
    wanted = parse(given_)
    assert wanted.acts and wanted.provider and wanted.restore == (PLACE,)
    assert wanted.provider.servers[0].fingerprint == "ab" * 32 and wanted.provider.servers[0].port == 5696
    assert set(wanted.secrets) == {key, "pw"}
    assert key not in repr(wanted) and "pw'" not in repr(wanted)
    assert not parse({}).acts
    assert fingerprint_of(PEM) != fingerprint_of(OTHER)
