# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One read for several readers gives each of them what its own read would have given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleetcare.esxi.plugins.module_utils._client.prefetch import Prefetch, Wish
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.properties import NOT_UNDERSTOOD, collect
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.session import Session
from tests.unit.client.test_properties import NTPD, SSHD, Server, fleet, host, system

ARRAY = "serviceInfo.service"
THROUGH = "configManager.serviceSystem/"
PATHS = ("name", NTPD, SSHD, ARRAY, THROUGH + NTPD, THROUGH + SSHD, THROUGH + ARRAY, "name.unset")


def sizes(array: list[Any]) -> int:
    return len(array)


def running(array: list[Any]) -> list[bool]:
    return [element["running"] for element in array]


SHRINKS: tuple[dict[str, Callable[[Any], Any]], ...] = ({}, {ARRAY: sizes}, {ARRAY: running})


def is_one_readers(paths: list[str]) -> bool:
    """No reader asks for an array and for one of its elements as well."""
    return not any(path.endswith(ARRAY) and any(other.startswith(path + "[") for other in paths) for path in paths)


paths_of_one = st.lists(st.sampled_from(PATHS), unique=True, max_size=5).filter(is_one_readers).map(tuple)
wishes = st.lists(st.builds(Wish, paths_of_one, st.sampled_from(SHRINKS)), min_size=1, max_size=4)
# Who may not read an array may not read its elements either.
DENIED = (ARRAY, NTPD, SSHD)
servers = st.fixed_dictionaries(
    {
        "keyed": st.sampled_from(["answer", "refuse", "refuse each", "omit"]),
        "page": st.sampled_from([1, 1000]),
        "missing": st.sampled_from(
            [{}, {host(0): dict.fromkeys(("name", *DENIED), "NoPermission"), system(1): dict.fromkeys(DENIED, "Away")}]
        ),
    }
)


@settings(deadline=None)
@given(wishes, servers, st.booleans())
def test_each_reader_gets_what_it_would_have_read_alone(wanted: list[Wish], how: dict[str, Any], tells: bool) -> None:
    server, refs = fleet(3, **how)
    tell = {THROUGH + ARRAY: sizes} if tells else {}
    prefetched = Prefetch(cast(Session, server), refs, wanted, tell)
    asked = len(server.calls)
    for wish in wanted:
        alone_server, _refs = fleet(3, **how)
        alone = collect(cast(Session, alone_server), refs, wish.paths, shrink=wish.shrink)
        served = prefetched(cast(Session, server), refs, wish.paths, None, wish.shrink)
        assert {ref: row.values for ref, row in served.items()} == {ref: row.values for ref, row in alone.items()}
        assert {ref: row.missing for ref, row in served.items()} == {ref: row.missing for ref, row in alone.items()}
    assert len(server.calls) == asked
    told = [2 if tells and system(number) not in how["missing"] else None for number in range(3)]
    assert [prefetched.told(ref, THROUGH + ARRAY) for ref in refs] == told


def test_what_nobody_wants_is_not_kept() -> None:
    server, refs = fleet(2)
    prefetched = Prefetch(cast(Session, server), refs, [Wish([THROUGH + NTPD])], {THROUGH + ARRAY: sizes})
    kept = prefetched.value(refs[0], THROUGH + ARRAY)
    assert [element["key"] for element in kept.elements] == ["ntpd"] and kept.told == 2


def test_one_reader_cannot_spoil_the_row_of_another() -> None:
    server, refs = fleet(1)
    prefetched = Prefetch(cast(Session, server), refs, [Wish(["name"])])
    prefetched(cast(Session, server), refs, ["name"])[refs[0]].values["name"] = "spoilt"
    assert prefetched(cast(Session, server), refs, ["name"])[refs[0]].values["name"] == "esx-0"


def test_what_is_odd_to_one_reader_is_told_to_that_one() -> None:
    server, refs = fleet(1)

    def odd(array: Any) -> Any:
        raise TypeError("odd")

    wanted = [Wish([ARRAY], {ARRAY: odd}), Wish([ARRAY])]
    prefetched = Prefetch(cast(Session, server), refs, wanted)
    rows = [prefetched(cast(Session, server), refs, wish.paths, None, wish.shrink)[host(0)] for wish in wanted]
    assert rows[0].missing == {ARRAY: NOT_UNDERSTOOD} and ARRAY not in rows[0].values
    assert rows[1].missing == {} and len(rows[1].values[ARRAY]) == 2


@pytest.mark.parametrize("count", [1, 500])
def test_the_number_of_readers_costs_no_call(count: int) -> None:
    server, refs = fleet(count)
    Prefetch(cast(Session, server), refs, [Wish([path]) for path in PATHS[:3]])
    assert len(server.calls) == 1


def test_an_object_that_went_away_is_in_no_row() -> None:
    server, refs = fleet(2)
    del server.objects[refs[1]]
    prefetched = Prefetch(cast(Session, server), refs, [Wish(["name"])])
    assert list(prefetched(cast(Session, server), refs, ["name"])) == refs[:1]
    assert isinstance(server, Server) and prefetched.told(refs[1], "name") is None
