# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a managed object is declared: operations, properties, and the tables that are generated from the declarations.

A method named as the SOAP operation and marked @operation IS the operation; a method marked @prop is the property (or, with a path, the
part of one that can be read without building the whole). The privilege stands next to the method and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pyVmomi import VmomiSupport

from . import paths
from .xmlwrite import any_element

if TYPE_CHECKING:
    from .session import Session
    from .versions import Api
    from .world import World


@dataclass
class Call:
    """One call on its way: who asks, in which API version."""

    world: World
    session: Session | None
    api: Api
    method: str
    agent: str = ""
    peer: str = ""
    set_cookie: str | None = None  # Login's new session

    @property
    def who(self) -> Session:
        """The session; operations that are not anonymous always have one."""
        assert self.session is not None
        return self.session


@dataclass(frozen=True)
class Raw:
    """A result that is XML already (bulk reads are put together from cached fragments)."""

    xml: str


@dataclass(frozen=True)
class Operation:
    """One SOAP operation: what it needs and whether it changes the world (the journal's `write`)."""

    name: str
    privilege: str
    writes: bool
    anonymous: bool  # answered without a session
    needs_host: bool  # refused while the object's host is not connected
    waits: bool  # takes the world's lock itself, because it may wait for a long time


def operation(
    *, privilege: str, writes: bool = False, anonymous: bool = False, needs_host: bool = False, waits: bool = False
) -> Callable[[Any], Any]:
    def mark(function: Any) -> Any:
        function.operation = Operation(function.__name__, privilege, writes, anonymous, needs_host, waits)
        return function

    return mark


def prop(path: Any = None) -> Any:
    """Mark a property's getter: @prop for the property of that name, @prop("config.service") for part of one."""

    def mark(function: Any) -> Any:
        function.prop_path = path if isinstance(path, str) else function.__name__
        return function

    return mark(path) if callable(path) else mark


class Managed:
    """Base of all managed objects of the simulator. `TYPE` is the pyVmomi class whose tables describe the wire."""

    TYPE: ClassVar[Any]
    OPERATIONS: ClassVar[dict[str, Operation]] = {}
    PROPERTIES: ClassVar[dict[str, Callable[[Any], Any]]] = {}
    FAMILIES: ClassVar[list[type[Managed]]] = []
    UNTYPED: ClassVar[dict[str, type[Managed]]] = {}  # wire name -> what pyVmomi's tables do not have

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        operations: dict[str, Operation] = {}
        properties: dict[str, Callable[[Any], Any]] = {}
        for base in reversed(cls.__mro__):
            for value in list(vars(base).values()):
                if hasattr(value, "operation"):
                    operations[value.operation.name] = value.operation
                if hasattr(value, "prop_path"):
                    properties[value.prop_path] = value
        cls.OPERATIONS = operations
        cls.PROPERTIES = properties
        if "TYPE" in vars(cls):
            Managed.FAMILIES.append(cls)
        elif "WIRE" in vars(cls):
            Managed.UNTYPED[vars(cls)["WIRE"]] = cls

    def __init__(self, world: World, moid: str) -> None:
        self.world = world
        self.moid = moid
        self.ref = self.TYPE(moid)

    # What privileges are checked on: a manager of a host answers with its host, a service's own objects with the root folder.
    @property
    def entity(self) -> Managed:
        return self.world.root

    @property
    def path_names(self) -> tuple[str, ...]:
        """The names a denial in a scenario may give: those of the entity and its ancestors."""
        return self.entity.path_names

    @property
    def host(self) -> Any:
        """The simulated host this object belongs to, None for anything of the server itself."""
        return None

    def concerns(self, arguments: dict[str, Any]) -> Any:
        """The host that a call is about, which the journal names and scripted faults match."""
        return self.host

    def api_of(self, asked: Api) -> Api:
        """The version a value of this object is written in: what the client asked, capped by the product it comes from."""
        return asked

    def option(self, name: str) -> Any:
        return self.world.options.get(name)

    def visible_to(self, call: Call) -> bool:
        return call.session is None or call.session.user.unlimited or self.world.allowed(call.session, "System.View", self)

    def value(self, call: Call, plan: paths.Plan, api: Api) -> Any:
        """A property's value at a compiled path, None when unset."""
        return paths.resolve(self, plan, api)

    @operation(privilege="System.View")
    def Fetch(self, call: Call, prop: str) -> Raw:
        """One property. In no WSDL table, but pyVmomi sends it for every attribute that is read (facts.md 6.3)."""
        plan = paths.compile_path(type(self), prop, call.api)
        call.world.check(call, plan.privilege, self)
        api = self.api_of(call.api)
        value = self.value(call, plan, api)
        return Raw("" if value is None else any_element("returnval", value, plan.declared, api))

    @property
    def label(self) -> str:
        return f"{VmomiSupport.GetWsdlName(self.TYPE)}:{self.moid}"


def coverage() -> list[tuple[str, str, str, bool, str]]:
    """(managed object, operation, privilege, writes, note) for every operation there is."""
    rows = [("any", "Fetch", "the property's own", False, "one property")]
    families = [(VmomiSupport.GetWsdlName(family.TYPE), family) for family in Managed.FAMILIES]
    for name, family in [*families, *Managed.UNTYPED.items()]:
        for found in family.OPERATIONS.values():
            if found.name == "Fetch":
                continue
            note = "anonymous" if found.anonymous else ("host must answer" if found.needs_host else "")
            rows.append((name, found.name, found.privilege, found.writes, note))
    return sorted(rows)
