# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys on a key server: every answer that one can give, with a server made of Python values that notes what it is told."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._domain import kms
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import BadInput, EndpointUnreachable, ServerFault

DAY = 86400
LOST: Any = EndpointUnreachable("the connection was lost: reset", hint="Look there.")


class Fake:
    """Holds keys as a server answers about them. ``activating``: what it answers to Activate, by id; by default it does it."""

    def __init__(self, keys: Mapping[str, dict[str, Any]], **activating: Any) -> None:
        self.keys = {one: dict(answer) for one, answer in keys.items()}
        self.activating = activating
        self.told: list[tuple[str, list[str]]] = []
        self.gone_after_writing = False
        self.check: bool | None = None

    def __call__(self, _params: Mapping[str, Any], check: bool) -> Fake:
        self.check = check
        return self

    def __enter__(self) -> Fake:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.told.append(("end", []))

    def look(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        if self.gone_after_writing and any(what == "activate" for what, _ids in self.told):
            raise LOST
        self.told.append(("look", list(ids)))
        return {one: dict(self.keys.get(one, {"refused": ("ITEM_NOT_FOUND", "no such thing")})) for one in ids}

    def activate(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        self.told.append(("activate", list(ids)))
        answers = {}
        for one in ids:
            answer = self.activating.get(one, "done")
            if answer == "unsent":
                break
            if answer in ("done", "elsewhere") or (isinstance(answer, dict) and answer.get("done")):
                self.keys[one]["state"] = "active"
            refused = {"refused": ("PERMISSION_DENIED", "it is active")} if answer == "elsewhere" else {}
            answers[one] = refused or (
                {"problem": LOST} if isinstance(answer, dict) else {} if answer in ("done", "ignored") else answer[1]
            )
        return answers

    def describe(self) -> dict[str, Any]:
        return {"address": "kms-01.example.com"}


def key(state: str | None = "active", **more: Any) -> dict[str, Any]:
    return {"state": state, "object_type": "symmetric_key", "algorithm": "AES", "length": 256, "names": ["n"], "dates": {}, **more}


def run(server: Fake, *ids: str, check: bool = False, **options: Any) -> dict[str, Any]:
    params = {"key_ids": list(ids) or None, "worksheet": None, "state": None, **options}
    return kms.task(server)(params, check)


# ---- what is asked for ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "neither key_ids nor worksheet names a key"),
        ({"key_ids": []}, "neither key_ids nor worksheet names a key"),
        ({"key_ids": [], "worksheet": []}, "neither key_ids nor worksheet names a key"),
        ({"key_ids": ["a", ""]}, "key_ids, entry 2 is empty"),
        ({"key_ids": ["  "]}, "key_ids, entry 1 is empty"),
        ({"key_ids": [None]}, "key_ids, entry 1 is empty"),
        ({"key_ids": ["a", "b", " a "]}, "key_ids names a more than once"),
        ({"key_ids": ["a\nb"]}, r"key_ids, entry 1 'a\\nb' holds characters that cannot be seen"),
        ({"worksheet": [{"key_id": "a"}, {"provider": "p", "vms": []}]}, "worksheet, entry 2 has no key_id, only provider, vms"),
        ({"worksheet": [{}]}, "worksheet, entry 1 has no key_id, only nothing"),
        ({"worksheet": [{"key_id": None}]}, "worksheet, entry 1, key_id is empty"),
    ],
)
def test_what_cannot_be_meant(params: dict[str, Any], message: str) -> None:
    server = Fake({})
    with pytest.raises(BadInput, match=message) as refused:
        kms.task(server)(params, False)
    assert refused.value.hint and server.told == [] and server.check is None


def test_ids_of_both_once_and_in_order() -> None:
    rows = [{"key_id": "c", "provider": "p"}, {"key_id": "a", "provider": "p"}, {"key_id": "c", "provider": "p"}, {"key_id": 17}]
    assert kms.parse({"key_ids": ["b", " a"], "worksheet": rows, "state": "active"}) == kms.Wanted(("b", "a", "c", "17"), True)


# ---- what is found ----------------------------------------------------------------------------------------------------------------
ANSWERS: dict[str, tuple[dict[str, Any], str, str]] = {
    "active": (key(), "", ""),
    "no type told": (key(object_type=None), "", ""),
    "pre-active": (key("pre_active", dates={"initial": 0}), "kms_key_pre_active", "pre_active made 1970-01-01T00:00:00+00:00"),
    "due": (key("pre_active", dates={"activation": DAY}), "kms_key_pre_active", "pre_active, due at 1970-01-02T00:00:00+00:00"),
    "deactivated": (key("deactivated"), "kms_key_deactivated", "deactivated"),
    "dated": (
        key("deactivated", dates={"deactivation": 2 * DAY}),
        "kms_key_deactivated",
        "deactivated since 1970-01-03T00:00:00+00:00",
    ),
    "compromised": (
        key("compromised", dates={"compromise": DAY}),
        "kms_key_compromised",
        "compromised since 1970-01-02T00:00:00+00:00",
    ),
    "destroyed": (key("destroyed"), "kms_key_destroyed", "destroyed"),
    "destroyed, compromised": (key("destroyed_compromised"), "kms_key_destroyed", "destroyed_compromised"),
    "destroyed by reason": ({"refused": ("OBJECT_DESTROYED", "")}, "kms_key_destroyed", "the key server says OBJECT_DESTROYED"),
    "not found": ({"refused": ("ITEM_NOT_FOUND", "no")}, "kms_key_not_found", "the key server does not have it (ITEM_NOT_FOUND)"),
    "not found, 2.0": ({"refused": ("OBJECT_NOT_FOUND", "")}, "kms_key_not_found", "the key server does not have it (OBJECT_NOT_FOUND)"),
    "denied": ({"refused": ("PERMISSION_DENIED", "")}, "kms_key_no_permission", "the key server says PERMISSION_DENIED"),
    "denied, 2.0": ({"refused": ("NOT_AUTHORISED", "")}, "kms_key_no_permission", "the key server says NOT_AUTHORISED"),
    "a certificate": (key("active", object_type="certificate"), "kms_not_a_key", "its object type is certificate"),
    "no state": (key(None), "kms_key_state_unknown", "the answer holds no state"),
    "a new state": (key("resting"), "kms_key_state_unknown", "the state is 'resting'"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_wrong(name: str) -> None:
    answer, code, text = ANSWERS[name]
    result = run(Fake({"1": answer}), "1")
    entry = result["crypto_keys"]["1"]
    assert [(one["level"], one["code"], one["text"], one["status"]) for one in entry["findings"]] == (
        [("error", code, text, "open")] if code else []
    )
    assert entry["status"] == ("not_compliant" if code else "compliant")
    assert entry["failure"] is None and result["failed"] is False and result["changed"] is False
    assert entry["found"] is ("refused" not in answer)
    assert result["hints"] == ({code: kms.MEANINGS[code].hint} if code else {})
    assert set(entry["dates"]) == set(kms.DATES)


@pytest.mark.parametrize("name", [name for name in ANSWERS if name not in ("pre-active", "due")])
def test_nothing_else_is_ever_activated(name: str) -> None:
    answer, code, _text = ANSWERS[name]
    server = Fake({"1": answer})
    result = run(server, "1", state="active")
    assert [what for what, _ids in server.told] == ["look", "end"]
    entry = result["crypto_keys"]["1"]
    assert entry["status"] == ("failed" if code else "compliant") and result["failed"] is bool(code)
    if code:
        assert entry["failure"]["kind"] == "not_compliant" and entry["failure"]["cause"].startswith(f"{code}: ")
        assert f"1: {kms.MEANINGS[code].means} {kms.MEANINGS[code].hint}" in result["msg"]


def test_states_without_a_way_back_say_so() -> None:
    for code in ("kms_key_deactivated", "kms_key_compromised"):
        assert "KMIP has no operation" in kms.MEANINGS[code].hint


def test_a_refusal_of_another_kind_is_a_failure() -> None:
    server = Fake({"1": {"refused": ("OBJECT_ARCHIVED", "in the vault")}, "2": key(), "3": {"problem": ServerFault("odd", hint="Look.")}})
    result = run(server, "1", "2", "3")
    assert [entry["status"] for entry in result["crypto_keys"].values()] == ["failed", "compliant", "failed"]
    assert result["crypto_keys"]["1"]["failure"]["fault"] == "OBJECT_ARCHIVED"
    assert result["failed"] is True and "1: the key server refuses: in the vault. The key server's own log says more" in result["msg"]
    assert "warnings" in run(server, "1", check=True) and run(server, "1", check=True)["failed"] is False


def test_the_sentence_counts() -> None:
    server = Fake({"1": key(), "2": key("deactivated"), "3": key(), "5": key("deactivated")})
    result = run(server, "1", "2", "3", "4", "5")
    assert result["msg"] == "5 keys: 3 not compliant (2 kms_key_deactivated, 1 kms_key_not_found), 2 compliant."
    assert result["summary"] == {"compliant": 2, "not_compliant": 3}
    assert run(server, "1")["msg"] == "1 key: 1 compliant."


# ---- activating -------------------------------------------------------------------------------------------------------------------
def test_activated_and_read_back() -> None:
    server = Fake({"1": key("pre_active"), "2": key(), "3": key("pre_active")})
    result = run(server, "1", "2", "3", "4", state="active")
    assert server.told == [("look", ["1", "2", "3", "4"]), ("activate", ["1", "3"]), ("look", ["1", "3"]), ("end", [])]
    keys = result["crypto_keys"]
    assert [keys[one]["status"] for one in "1234"] == ["changed", "compliant", "changed", "failed"]
    assert keys["1"]["state"] == "active" and keys["1"]["changed"] and result["changed"]
    assert [(one["level"], one["status"]) for one in keys["1"]["findings"]] == [("warning", "repaired")]
    assert result["msg"].startswith(
        "4 keys: 2 changed, 1 compliant, 1 failed (1 kms_key_not_found). 4: The key server says that it has no key of this id"
    )
    again = run(server, "1", "2", "3", state="active")
    assert again["changed"] is False and again["summary"] == {"compliant": 3}


def test_a_check_run_sends_nothing() -> None:
    server = Fake({"1": key("pre_active"), "2": key("deactivated")})
    result = run(server, "1", "2", state="active", check=True)
    assert server.check is True and [what for what, _ids in server.told] == ["look", "end"]
    assert result["crypto_keys"]["1"]["status"] == "would_change" and result["crypto_keys"]["1"]["state"] == "pre_active"
    assert result["crypto_keys"]["1"]["findings"][0]["status"] == "would_repair"
    assert result["changed"] is True and result["failed"] is False and result["warnings"] == [result["msg"]]


@pytest.mark.parametrize(
    ("answer", "status", "changed", "kind", "words"),
    [
        (
            ("refused", {"refused": ("PERMISSION_DENIED", "not yours")}),
            "failed",
            False,
            "permission_missing",
            "PERMISSION_DENIED: not yours",
        ),
        (("refused", {"refused": ("GENERAL_FAILURE", "disk")}), "failed", False, "server_fault", "the key server refuses: disk"),
        ("elsewhere", "compliant", False, "", ""),
        ("ignored", "failed", False, "not_converged", "it was told to become active and is pre_active"),
        ({"done": True}, "changed", True, "", ""),
        ({"done": False}, "failed", False, "not_converged", "is pre_active: the connection was lost: reset"),
        ("unsent", "failed", False, "not_converged", "the connection ended before the key's turn"),
    ],
)
def test_what_can_come_of_it(answer: Any, status: str, changed: bool, kind: str, words: str) -> None:
    server = Fake({"0": key("pre_active"), "1": key("pre_active")}, **{"1": answer})
    result = run(server, "0", "1", state="active")
    entry = result["crypto_keys"]["1"]
    assert (entry["status"], entry["changed"]) == (status, changed)
    assert (entry["failure"] or {"kind": ""})["kind"] == kind and words in (entry["failure"] or {"cause": ""})["cause"]
    assert result["crypto_keys"]["0"]["status"] == "changed"


def test_what_was_written_is_told_though_nobody_can_look() -> None:
    server = Fake({"1": key("pre_active"), "2": key()})
    server.gone_after_writing = True
    result = run(server, "1", "2", state="active")
    entry = result["crypto_keys"]["1"]
    assert (entry["status"], entry["changed"], result["changed"], result["failed"]) == ("failed", True, True, True)
    assert "could not be read: the connection was lost" in entry["failure"]["cause"]
    assert result["crypto_keys"]["2"]["status"] == "compliant"


# ---- properties -------------------------------------------------------------------------------------------------------------------
ANY = st.sampled_from([answer for answer, _code, _text in ANSWERS.values()])


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), ANY, min_size=1), st.booleans(), st.booleans())
def test_each_key_has_its_entry_and_twice_is_once(keys: dict[str, Any], check: bool, active: bool) -> None:
    server = Fake(keys)
    options = {"state": "active"} if active else {}
    first = run(server, *keys, check=check, **options)
    assert list(first["crypto_keys"]) == list(keys) and sum(first["summary"].values()) == len(keys)
    wrote = [ids for what, ids in server.told if what == "activate"]
    meant = [one for one, answer in keys.items() if answer.get("state") == "pre_active"]
    assert wrote == ([meant] if active and not check and meant else [])
    assert first["changed"] is bool(active and meant)
    second = run(server, *keys, check=check, **options)
    assert second["changed"] is (bool(meant) and active and check)
    if check:
        assert second == first
    for entry in first["crypto_keys"].values():
        assert (entry["failure"] is not None) == (entry["status"] == "failed")
        assert {one["code"] for one in entry["findings"]} <= set(first["hints"]) <= set(kms.MEANINGS)


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.text()))
def test_a_date_is_a_date_or_nothing(seconds: Any) -> None:
    text = kms.moment(seconds)
    if text is not None:
        back = datetime.datetime.fromisoformat(text)
        assert back.tzinfo is not None and (back - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)).total_seconds() == seconds


@given(st.lists(st.text(), max_size=4), st.lists(st.dictionaries(st.sampled_from(["key_id", "x"]), st.text(), max_size=2), max_size=4))
def test_options_are_taken_or_refused(ids: list[str], rows: list[dict[str, str]]) -> None:
    parse: Callable[[dict[str, Any]], kms.Wanted] = kms.parse
    try:
        wanted = parse({"key_ids": ids, "worksheet": rows})
    except BadInput as refused:
        assert refused.hint
        return
    assert set(wanted.ids) == {one.strip() for one in [*ids, *(row["key_id"] for row in rows)]}
    assert len(set(wanted.ids)) == len(wanted.ids)
