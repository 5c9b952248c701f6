# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bulk reads against a server that is played here: keyed paths and their way round, managers, pages that get lost."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast
from xml.etree import ElementTree

import pytest

from ansible_collections.fleetcare.esxi.plugins.module_utils._client import properties
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.properties import Row, collect
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.session import Session
from ansible_collections.fleetcare.esxi.plugins.module_utils._client.vmomi import Ref
from ansible_collections.fleetcare.esxi.plugins.module_utils._domain.errors import (
    EndpointUnreachable,
    FleetcareError,
    LoginRefused,
    PermissionMissing,
    ServerFault,
)

NTPD = 'serviceInfo.service["ntpd"]'
SSHD = 'serviceInfo.service["TSM-SSH"]'
THROUGH = f"configManager.serviceSystem/{NTPD}"


@dataclass
class Server:
    """Takes the place of a session: what objects have, and how the server misbehaves."""

    objects: dict[Ref, dict[str, Any]]
    missing: dict[Ref, dict[str, str]] = field(default_factory=dict)
    # "answer" keyed paths, "refuse" the call, "refuse each" object's path, or "omit" the values
    keyed: str = "answer"
    omit_for: tuple[Ref, ...] = ()
    page: int = 1000
    unknown: tuple[str, ...] = ()
    trouble: Callable[[int, str], FleetcareError | None] = lambda call, operation: None
    keyed_paths: bool = True
    calls: list[tuple[str, str]] = field(default_factory=list)
    _pages: dict[str, list[Any]] = field(default_factory=dict)

    def knows(self, kind: str, path: str) -> bool:
        return path not in self.unknown

    def stream(self, operation: str, inner: str, keep: Callable[[Ref, dict[str, Any], dict[str, str]], Any]) -> tuple[list[Any], str]:
        self.calls.append((operation, inner))
        problem = self.trouble(len(self.calls), operation)
        root = ElementTree.fromstring(f"<x>{inner}</x>")
        if operation == "ContinueRetrievePropertiesEx":
            waiting = self._pages.pop(root.findtext("token") or "", None)
            if problem:
                raise problem
            if waiting is None:
                raise ServerFault("the token is void", fault="InvalidArgument")
            return self._hand_out(waiting, keep)
        if problem:
            raise problem
        paths = {spec.findtext("type"): [str(path.text) for path in spec.findall("pathSet")] for spec in root.findall("specSet/propSet")}
        refs = [Ref(str(obj.get("type")), str(obj.text)) for obj in root.findall("specSet/objectSet/obj")]
        assert root.findtext("options/maxObjects") and root.findtext("specSet/reportMissingObjectsInResults") == "true"
        if self.keyed == "refuse" and any("[" in path for names in paths.values() for path in names):
            raise ServerFault("no such property", fault="InvalidProperty")
        return self._hand_out([self._row(ref, paths[ref.type]) for ref in refs if ref in self.objects], keep)

    def _hand_out(self, rows: list[Any], keep: Callable[..., Any]) -> tuple[list[Any], str]:
        token = f"token & {len(self.calls)}" if len(rows) > self.page else ""
        if token:
            self._pages[token] = rows[self.page :]
        return [keep(*row) for row in rows[: self.page]], token

    def _row(self, ref: Ref, paths: list[str]) -> tuple[Ref, dict[str, Any], dict[str, str]]:
        values, missing = {}, dict(self.missing.get(ref, {}))
        for path in paths:
            found = re.match(r'([\w.]+)\["([^"]+)"\]', path)
            if found is None:
                if path in self.objects[ref] and path not in missing:
                    values[path] = self.objects[ref][path]
            elif self.keyed == "refuse each":
                missing[path] = "InvalidProperty"
            elif self.keyed == "answer" and ref not in self.omit_for and path not in missing:
                elements = {item["key"]: item for item in self.objects[ref].get(found[1], [])}
                if found[2] in elements:
                    values[path] = elements[found[2]]
        return ref, values, {path: why for path, why in missing.items() if path in paths}

    def read(self, refs: list[Ref], paths: list[str]) -> dict[Ref, Row]:
        return collect(cast(Session, self), refs, paths)


def host(number: int) -> Ref:
    return Ref("HostSystem", f"host-{number}")


def system(number: int) -> Ref:
    return Ref("HostServiceSystem", f"serviceSystem-{number}")


def service(key: str, number: int = 0) -> dict[str, Any]:
    return {"key": key, "running": bool(number % 2)}


def fleet(count: int, **how: Any) -> tuple[Server, list[Ref]]:
    objects: dict[Ref, dict[str, Any]] = {}
    for number in range(count):
        objects[host(number)] = {
            "name": f"esx-{number}",
            "serviceInfo.service": [service("TSM-SSH"), service("ntpd", number)],
            "configManager.serviceSystem": system(number),
        }
        objects[system(number)] = {"serviceInfo.service": [service("TSM-SSH"), service("ntpd", number)]}
    return Server(objects, **how), [host(number) for number in range(count)]


KEYED = ["name", NTPD]


def expected(count: int) -> dict[Ref, dict[str, Any]]:
    return {host(number): {"name": f"esx-{number}", NTPD: service("ntpd", number)} for number in range(count)}


def values(rows: dict[Ref, Row]) -> dict[Ref, dict[str, Any]]:
    assert all(ref == row.ref for ref, row in rows.items())
    return {ref: row.values for ref, row in rows.items()}


def test_no_objects_cost_no_call() -> None:
    server, _refs = fleet(1)
    assert server.read([], KEYED) == {} and server.calls == []


@pytest.mark.parametrize("count", [1, 10, 1000])
def test_all_objects_and_paths_come_with_one_call(count: int) -> None:
    server, refs = fleet(count)
    assert values(server.read(refs, KEYED)) == expected(count)
    assert len(server.calls) == 1


# ---- keyed paths ------------------------------------------------------------------------------------------------------------


def test_where_the_server_refuses_keyed_paths_the_whole_array_is_read_and_nobody_notices() -> None:
    server, refs = fleet(3, keyed="refuse")
    assert values(server.read(refs, KEYED)) == expected(3)
    assert len(server.calls) == 2 and not server.keyed_paths
    assert "serviceInfo.service</pathSet>" in server.calls[1][1] and "[" not in server.calls[1][1]


def test_a_server_that_refused_keyed_paths_once_is_not_asked_again() -> None:
    server, refs = fleet(3, keyed="refuse")
    server.read(refs, KEYED)
    server.calls.clear()
    assert values(server.read(refs, KEYED)) == expected(3)
    assert len(server.calls) == 1


def test_where_the_server_refuses_them_object_by_object_the_array_is_read_as_well() -> None:
    server, refs = fleet(3, keyed="refuse each")
    rows = server.read(refs, KEYED)
    assert values(rows) == expected(3) and all(not row.missing for row in rows.values())


def test_only_the_objects_whose_value_was_left_out_are_read_again() -> None:
    server, refs = fleet(5, omit_for=(host(1), host(3)))
    assert values(server.read(refs, KEYED)) == expected(5)
    assert len(server.calls) == 2
    again = re.findall(r">(host-\d)<", server.calls[1][1])
    assert again == ["host-1", "host-3"] and server.keyed_paths


def test_an_element_that_is_in_no_array_is_unset_and_costs_one_more_read() -> None:
    server, refs = fleet(2)
    server.objects[host(1)]["serviceInfo.service"] = [service("TSM-SSH")]
    rows = server.read(refs, KEYED)
    assert rows[host(1)].values == {"name": "esx-1"} and rows[host(1)].missing == {}
    assert rows[host(0)].values[NTPD] == service("ntpd", 0)
    assert len(server.calls) == 2


def test_two_elements_of_one_array_are_taken_from_one_reading_of_it() -> None:
    server, refs = fleet(2, keyed="refuse")
    rows = server.read(refs, [NTPD, SSHD])
    assert rows[host(1)].values == {NTPD: service("ntpd", 1), SSHD: service("TSM-SSH")}
    assert server.calls[1][1].count("<pathSet>") == 1


def test_a_path_that_may_not_be_read_keeps_its_reason_and_is_not_asked_for_again() -> None:
    server, refs = fleet(2, missing={host(0): {NTPD: "NoPermission"}})
    server.omit_for = (host(0),)
    rows = server.read(refs, KEYED)
    assert rows[host(0)].missing == {NTPD: "NoPermission"} and len(server.calls) == 1


def test_the_reason_of_the_whole_array_becomes_the_reason_of_the_element() -> None:
    server, refs = fleet(2, keyed="refuse", missing={host(0): {"serviceInfo.service": "NoPermission"}})
    rows = server.read(refs, KEYED)
    assert rows[host(0)].missing[NTPD] == "NoPermission" and NTPD not in rows[host(0)].values


@pytest.mark.parametrize("problem", [PermissionMissing("no", fault="NoPermission"), ServerFault("no", fault="SystemError")])
def test_another_fault_than_invalid_property_is_not_taken_for_a_refusal_of_keyed_paths(problem: FleetcareError) -> None:
    server, refs = fleet(2, trouble=lambda call, _operation: problem)
    with pytest.raises(type(problem)):
        server.read(refs, KEYED)
    assert len(server.calls) == 1 and server.keyed_paths


def test_an_invalid_property_without_keyed_paths_is_an_error() -> None:
    server, refs = fleet(2, trouble=lambda call, _operation: ServerFault("no", fault="InvalidProperty"))
    with pytest.raises(ServerFault):
        server.read(refs, ["name"])


def test_a_path_that_the_api_version_lacks_is_not_asked_for() -> None:
    server, refs = fleet(2, unknown=("capability.timeConfigSupported",))
    rows = server.read(refs, [*KEYED, "capability.timeConfigSupported"])
    assert values(rows) == expected(2)
    assert "timeConfigSupported" not in server.calls[0][1]


# ---- managers ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 50])
def test_managers_of_all_hosts_are_read_with_one_more_call(count: int) -> None:
    server, refs = fleet(count)
    rows = server.read(refs, ["name", THROUGH])
    assert len(server.calls) == 2
    for number in range(count):
        assert rows[host(number)].values[THROUGH] == service("ntpd", number)
        assert rows[host(number)].values["configManager.serviceSystem"] == system(number)


def test_a_host_without_that_manager_lacks_its_values_and_the_others_have_theirs() -> None:
    server, refs = fleet(2)
    del server.objects[host(0)]["configManager.serviceSystem"]
    rows = server.read(refs, [THROUGH])
    assert rows[host(0)].values == {} and rows[host(1)].values[THROUGH] == service("ntpd", 1)


def test_a_manager_that_vanished_is_named_as_the_reason() -> None:
    server, refs = fleet(2)
    del server.objects[system(0)]
    rows = server.read(refs, [THROUGH])
    assert rows[host(0)].missing == {THROUGH: "ManagedObjectNotFound"}
    assert rows[host(1)].values[THROUGH] == service("ntpd", 1)


def test_reasons_of_a_manager_become_reasons_of_the_host() -> None:
    server, refs = fleet(1, keyed="refuse", missing={system(0): {"serviceInfo.service": "NoPermission"}})
    assert server.read(refs, [THROUGH])[host(0)].missing[THROUGH] == "NoPermission"


def test_a_host_that_is_gone_has_no_row() -> None:
    server, refs = fleet(2)
    del server.objects[host(0)]
    assert set(server.read(refs, ["name"])) == {host(1)}


# ---- pages ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "page", "calls"), [(10, 10, 1), (11, 10, 2), (20, 10, 2), (25, 1, 25)])
def test_all_pages_are_read(count: int, page: int, calls: int) -> None:
    server, refs = fleet(count, page=page)
    assert values(server.read(refs, KEYED)) == expected(count)
    assert len(server.calls) == calls


def test_the_page_size_is_asked_for() -> None:
    server, refs = fleet(1)
    server.read(refs, ["name"])
    assert f"<maxObjects>{properties.PAGE}</maxObjects>" in server.calls[0][1]


def test_big_values_are_shrunk_page_by_page_and_an_odd_one_is_told() -> None:
    server, refs = fleet(3, page=1)
    shrunk: list[str] = []

    def shrink(value: Any) -> str:
        shrunk.append(value)
        if len(shrunk) == 2:
            raise TypeError("not what was expected")
        return f"<{value}>"

    rows = properties.collect(server, refs, ["name"], shrink={"name": shrink})  # type: ignore[arg-type]
    assert len(shrunk) == 3
    assert [row.missing for row in rows.values()] == [{}, {"name": properties.NOT_UNDERSTOOD}, {}]
    assert sum("name" in row.values for row in rows.values()) == 2


def lost(*calls: int) -> Callable[[int, str], FleetcareError | None]:
    return lambda call, _operation: EndpointUnreachable("the connection was lost") if call in calls else None


def test_a_lost_page_starts_the_reading_over_once_and_nothing_is_lost_or_doubled() -> None:
    server, refs = fleet(30, page=10, trouble=lost(3))
    assert values(server.read(refs, KEYED)) == expected(30)
    assert [operation[0] for operation, _inner in server.calls] == ["R", "C", "C", "R", "C", "C"]


def test_a_token_that_the_server_no_longer_knows_starts_the_reading_over() -> None:
    server, refs = fleet(30, page=10)

    def forget(call: int, _operation: str) -> None:
        if call == 2:
            server._pages.clear()

    server.trouble = forget
    assert values(server.read(refs, KEYED)) == expected(30)


def test_a_reading_that_breaks_off_twice_is_an_error_and_no_half_result() -> None:
    server, refs = fleet(30, page=10, trouble=lost(2, 4))
    with pytest.raises(EndpointUnreachable):
        server.read(refs, KEYED)
    assert len(server.calls) == 4


@pytest.mark.parametrize("problem", [ServerFault("no", fault="NotSupported"), LoginRefused("no", fault="NotAuthenticated")])
def test_a_refusal_is_not_repeated(problem: FleetcareError) -> None:
    server, refs = fleet(30, page=10, trouble=lambda call, _operation: problem if call == 2 else None)
    with pytest.raises(type(problem)):
        server.read(refs, ["name"])
    assert len(server.calls) == 2


def test_names_are_escaped_on_the_wire() -> None:
    odd = Ref("HostSystem", "host-<&>")
    server = Server({odd: {"name": "x"}})
    assert server.read([odd], ["name"])[odd].values == {"name": "x"}
