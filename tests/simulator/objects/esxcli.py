# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""esxcli over SOAP: the executer of a host, and the registry of commands. A namespace is a file objects/esxcli_NAME.py with @command functions.

The wire is that of govmomi, whose govc people use for it: internal/types.go (ExecuteSoap and its types), cli/esx (how commands, arguments and
results look), simulator/esx (FetchCLIInfo as dumped from a host, the shape of faults). pyVmomi's tables have none of it, so it is XML by hand.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from pyVmomi import VmomiSupport

from ..errors import SoapFault
from ..plain import HIDDEN, SECRET
from ..registry import Call, Managed, Raw, operation
from ..software import ImageError
from ..versions import APIS
from ..xmlwrite import escape

if TYPE_CHECKING:
    from ..host import Host
    from .host_system import HostSystem

EXECUTE = "ExecuteSoap"
CLI_FAULT = "VimEsxCLICLIFault"
INFO = "CLIInfo.FetchCLIInfo"
_SUMMARY = "EsxCLI.CLIFault.summary"
_SPACES = 'xmlns="urn:vim25" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a command: its wire name, its long option, how it is read."""

    name: str
    option: str = ""  # "--vibname"; default: -- and the name
    short: str = ""  # "-n"
    help: str = ""
    flag: bool = False  # stands for itself: true when given
    boolean: bool = False
    many: bool = False
    required: bool = False
    choices: tuple[str, ...] = ()

    @property
    def aliases(self) -> list[str]:
        return [name for name in (self.short, self.option or f"--{self.name}") if name]


@dataclass(frozen=True)
class Command:
    """One esxcli command. `run(item, arguments)` gives rows (list), one object (dict), a text, a truth, a number, or None."""

    path: str
    run: Callable[[Any, dict[str, Any]], Any]
    kind: str
    parameters: tuple[Parameter, ...]
    writes: bool
    help: str
    since: str | None
    hints: Mapping[str, str] = field(default_factory=dict)
    old_kind: str | None = None  # what its rows were called before 8.0

    @property
    def namespace(self) -> str:
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    def known_to(self, host: Host) -> bool:
        return self.since is None or host.profile.api.rank <= APIS[self.since].rank


COMMANDS: dict[str, Command] = {}
NAMESPACES: dict[str, str] = {}  # what FetchCLIInfo says about each


def command(
    path: str,
    *,
    kind: str = "",
    parameters: Iterable[Parameter] = (),
    writes: bool = False,
    help: str = "",
    since: str | None = None,
    hints: Mapping[str, str] | None = None,
    old_kind: str | None = None,
) -> Callable[[Any], Any]:
    """Register `software.vib.list` and the like. `kind` names the rows of the result ("VIBSummaryExt"), `since` is an API version."""

    def mark(function: Any) -> Any:
        COMMANDS[path] = Command(path, function, kind, tuple(parameters), writes, help, since, dict(hints or {}), old_kind)
        return function

    return mark


class CliFault(Exception):
    """What esxcli refuses, in lines of errMsg."""

    def __init__(self, *lines: str) -> None:
        super().__init__(" ".join(lines))
        self.lines = lines


@functools.cache
def _load() -> None:
    """All objects/esxcli_*.py, once; they import this module for its registry. Who comes while another thread is at it, waits for the imports."""
    from .. import objects

    for found in pkgutil.iter_modules(objects.__path__):
        if found.name.startswith("esxcli_"):
            importlib.import_module(f"{objects.__name__}.{found.name}")


def find(method: str) -> Command | None:
    """The command behind "vim.EsxCLI.software.vib.install"; PowerCLI's stubs write the last word with a capital (pyvisdk too)."""
    _load()
    path = method.removeprefix("vim.EsxCLI.")
    namespace, _dot, name = path.rpartition(".")
    return COMMANDS.get(path) or COMMANDS.get(f"{namespace}.{name[:1].lower()}{name[1:]}")


# ---- arguments -----------------------------------------------------------------------------------------------------------------------
def values(argument: dict[str, str]) -> list[str]:
    """The texts in `<viburl>a</viburl><viburl>b</viburl>`. What stands outside of such elements, or in others, is no argument."""
    name = argument.get("name", "")
    try:
        found = ElementTree.fromstring(f"<all>{argument.get('val', '')}</all>")
    except ElementTree.ParseError as exc:
        raise _no_argument(str(exc)) from None
    if any((text or "").strip() for text in (found.text, *(row.tail for row in found))):
        raise _no_argument(f"text outside of <{name}>")
    for row in found:
        if row.tag.rpartition("}")[2] != name or len(row):
            raise _no_argument(f"<{row.tag}> where <{name}> belongs")
    return [row.text or "" for row in found]


def _no_argument(why: str) -> SoapFault:
    return SoapFault("InvalidArgument", f"A specified parameter was not correct: argument ({why})", invalidProperty="argument")


def described(arguments: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """What the journal says of an ExecuteSoap, and whether it changes anything. A dry run changes nothing."""
    method = str(arguments.get("method", ""))
    found = find(method)
    given: dict[str, Any] = {}
    for row in arguments.get("argument", ()):
        try:
            given[row.get("name", "")] = values(row)
        except SoapFault:
            given[row.get("name", "")] = [row.get("val", "")]
    given = {name: [HIDDEN] if name in SECRET else rows for name, rows in given.items()}
    path = found.path if found is not None else method.removeprefix("vim.EsxCLI.").removeprefix("vim.")
    dry = any(text.strip().lower() in _TRUE for text in given.get("dryrun", ()))
    return {"esxcli": path, "arguments": given}, found is not None and found.writes and not dry


def _truth(name: str, text: str) -> bool:
    word = text.strip().lower()
    if word not in (*_TRUE, *_FALSE):
        raise CliFault(f"Invalid data constraint for parameter '{name}'.")
    return word in _TRUE


def _read(found: Command, rows: list[dict[str, str]]) -> dict[str, Any]:
    known = {one.name: one for one in found.parameters}
    out: dict[str, Any] = {}
    for row in rows:
        name = row.get("name", "")
        parameter = known.get(name)
        if parameter is None:
            raise CliFault(f"Unknown parameter '{name}' of esxcli {found.path.replace('.', ' ')}.")
        given = values(row)
        if parameter.flag or parameter.boolean:
            out[name] = _truth(name, given[0] if given else "")
            continue
        if parameter.choices and any(text not in parameter.choices for text in given):
            raise CliFault(f"Invalid data constraint for parameter '{name}'.")
        out[name] = given if parameter.many else (given[0] if given else "")
    for parameter in found.parameters:
        if parameter.required and not out.get(parameter.name):
            raise CliFault(f"Missing required parameter {'|'.join(parameter.aliases)}")
    return out


# ---- results -------------------------------------------------------------------------------------------------------------------------
def _scalar(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else escape(str(value))


def _fields(row: Mapping[str, Any]) -> str:
    """Fields in the order of their names, as in govmomi's dumps; a list repeats its element, None is absent."""
    parts = []
    for name in sorted(row):
        value = row[name]
        for one in value if isinstance(value, (list, tuple)) else () if value is None else (value,):
            if isinstance(one, Mapping):
                parts.append(f"<{name}>{_fields(one)}</{name}>")
            else:
                parts.append(f"<{name}>{_scalar(one)}</{name}>")
    return "".join(parts)


def response(found: Command, value: Any, host: Host) -> str:
    """The XML text of a result: ArrayOfDataObject, one data object, or a plain value."""
    if value is None:
        return ""
    kind = found.old_kind if found.old_kind is not None and host.profile.api.rank > APIS["8.0.0.0"].rank else found.kind
    wire = "VimEsxCLI" + found.path.replace(".", "") + kind
    if isinstance(value, list):
        if all(isinstance(one, str) for one in value) and value:
            return f'<obj {_SPACES} xsi:type="ArrayOfString">{"".join(f"<string>{escape(one)}</string>" for one in value)}</obj>'
        rows = "".join(f'<DataObject xsi:type="{wire}">{_fields(row)}</DataObject>' for row in value)
        return f'<obj {_SPACES} xsi:type="ArrayOfDataObject">{rows}</obj>'
    if isinstance(value, Mapping):
        return f'<obj {_SPACES} xsi:type="{wire}">{_fields(value)}</obj>'
    plain = "boolean" if isinstance(value, bool) else "long" if isinstance(value, int) else "string"
    return f'<obj {_SPACES} xsi:type="xsd:{plain}">{_scalar(value)}</obj>'


def _localized(kind: str, inner: str, text: str) -> str:
    return (
        f'<obj {_SPACES} xsi:type="LocalizedMethodFault"><fault xsi:type="{kind}">{inner}</fault>'
        f"<localizedMessage>{escape(text)}</localizedMessage></obj>"
    )


def fault_result(fault: SoapFault) -> str:
    """`returnval` of a call that esxcli refused; `lines` of the fault become errMsg."""
    if fault.wire_name == CLI_FAULT:
        lines = fault.fields.get("lines") or fault.fields.get("errMsg") or [fault.text]
        inner = "".join(f"<errMsg>{escape(line)}</errMsg>" for line in ([lines] if isinstance(lines, str) else lines))
        text = _SUMMARY
    else:
        inner, text = "", fault.text
    detail = _localized(fault.wire_name, inner, text)
    return f"<returnval><fault><faultMsg>{escape(text)}</faultMsg><faultDetail>{escape(detail)}</faultDetail></fault></returnval>"


# ---- what commands there are -----------------------------------------------------------------------------------------------------------
def _info(item: HostSystem, name: str) -> str | None:
    """FetchCLIInfo of a namespace, the shape of govmomi's simulator/esx/command_info.go."""
    namespace = name.removeprefix("vim.EsxCLI.")
    rows = sorted((one for one in COMMANDS.values() if one.namespace == namespace and one.known_to(item.state)), key=lambda one: one.name)
    if not rows:
        return None

    def head(label: str, shown: str, text: str) -> str:
        return f"<name>{escape(label)}</name><displayName>{escape(shown)}</displayName><help>{escape(text)}</help>"

    methods = []
    for row in rows:
        parts = [head(row.name, row.name, row.help)]
        for one in sorted(row.parameters, key=lambda parameter: parameter.name):
            aliases = "".join(f"<aliases>{alias}</aliases>" for alias in one.aliases)
            shown = (one.option or f"--{one.name}").removeprefix("--")
            parts.append(f"<param>{head(one.name, shown, one.help)}{aliases}<flag>{_scalar(one.flag)}</flag></param>")
        hints = {"formatter": "" if row.writes and not row.kind else "simple", **row.hints}
        parts += [f"<hints><key>{escape(key)}</key><value>{escape(value)}</value></hints>" for key, value in sorted(hints.items())]
        methods.append(f"<method>{''.join(parts)}</method>")
    shown = namespace.rpartition(".")[2]
    return f'<obj {_SPACES} xsi:type="VimCLIInfoInfo">{head(namespace, shown, NAMESPACES.get(namespace, shown))}{"".join(methods)}</obj>'


class ManagedMethodExecuter(Managed):
    """One for each host. Its type and id are those of govmomi's simulator; clients take them as they come."""

    WIRE = "ManagedMethodExecuter"

    def __init__(self, owner: HostSystem, moid: str) -> None:
        self.world = owner.world
        self.moid = moid
        self.owner = owner
        self.ref = VmomiSupport.ManagedObject(moid)

    @property
    def label(self) -> str:
        return f"{self.WIRE}:{self.moid}"

    @property
    def entity(self) -> Managed:
        return self.owner

    @property
    def host(self) -> HostSystem:
        return self.owner

    @operation(privilege="System.View")
    def Fetch(self, call: Call, prop: str) -> Raw:
        raise SoapFault("InvalidProperty", f"The property {prop} does not exist.", name=prop)

    @operation(privilege="System.Read", writes=True, needs_host=True)
    def ExecuteSoap(self, call: Call, moid: str, version: str, method: str, argument: Any = ()) -> Raw:
        privilege = self.owner.option("esxcli_privilege")
        if privilege:
            self.world.check(call, privilege, self)
        found = find(method)
        try:
            if method == f"vim.{INFO}":
                names = [text for row in argument if row.get("name") == "typeName" for text in values(row)]
                text = _info(self.owner, names[0] if names else "")
            elif found is not None and found.known_to(self.owner.state) and _handler(moid) == found.namespace:
                text = response(found, found.run(self.owner, _read(found, list(argument))), self.owner.state)
            else:
                text = None
        except CliFault as exc:
            raise self._refused(*exc.lines) from None
        except ImageError as exc:
            raise self._refused(f"[{exc.kind}]", *exc.lines, LOG_LINE) from None
        if text is None:
            missing = SoapFault("NotFound", "The object or item referred to could not be found.")
            return Raw(fault_result(missing))
        return Raw(f"<returnval><response>{escape(text)}</response></returnval>" if text else "<returnval></returnval>")

    def _refused(self, *lines: str) -> SoapFault:
        """The dispatcher puts it into the answer."""
        shown = ["\n".join(f" {line}" for line in lines)] if self.owner.option("esxcli_errors") == "joined" else list(lines)
        return SoapFault(CLI_FAULT, _SUMMARY, lines=shown)


LOG_LINE = "Please refer to the log file for more details."


def _handler(moid: str) -> str:
    return moid.removeprefix("ha-cli-handler-").replace("-", ".")
