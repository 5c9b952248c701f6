# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""esxcli commands of a host over SOAP: what is sent and what comes back. Private to this collection.

The two operations are in no public table of the API; their form on the wire is the one that govc has used since 2014
(govmomi cli/esx and internal/types.go).
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from .._domain.errors import ServerFault
from .vmomi import NAMESPACE, NoSoap, Ref, envelope, untyped

PREFIX = "esxcli "
_ONLY_LOOK = ("get", "identify", "list")
_LISTS = ("ArrayOfDataObject", "ArrayOfString")


def only_looks(command: str) -> bool:
    """Whether a command such as ``software.vib.list`` changes nothing, by the verb that esxcli's authors gave it."""
    return command.rpartition(".")[2] in _ONLY_LOOK


def ask_for_executer(host: Ref) -> bytes:
    """The object of a host that executes commands."""
    return envelope("RetrieveManagedMethodExecuter", host, "")


def executer_of(body: bytes) -> Ref:
    found = _returned(body, "RetrieveManagedMethodExecuter")
    if found is None or not found.text:
        raise ServerFault("the host offers no esxcli through the API", hint="Look at its release, and at its connection in vCenter.")
    return Ref(found.get("type", ""), found.text)


def command_call(executer: Ref, command: str, arguments: dict[str, Any]) -> bytes:
    """``arguments`` are named as esxcli's options without dashes: ``viburl``, ``nosigcheck``. One may be a list."""
    namespace = command.rpartition(".")[0]
    parts = [
        f"<moid>ha-cli-handler-{escape(namespace.replace('.', '-'))}</moid>",
        f"<version>{NAMESPACE}/5.0</version>",
        f"<method>vim.EsxCLI.{escape(command)}</method>",
    ]
    for name, value in arguments.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        inner = "".join(f"<{name}>{escape(_text(one))}</{name}>" for one in values)
        parts.append(f"<argument><name>{name}</name><val>{escape(inner)}</val></argument>")
    return envelope("ExecuteSoap", executer, "".join(parts))


def answer_of(body: bytes) -> list[Any]:
    """One entry a result: a dict of its fields as esxcli names them, lists where a field is repeated; or just a text."""
    returned = _returned(body, "ExecuteSoap")
    if returned is None:
        return []
    fault = returned.find("{*}fault")
    if fault is not None:
        raise ServerFault(
            f"esxcli refused: {_reason(fault)}", hint="The host's esxcli.log and esxupdate.log have the details.", fault="VimEsxCLICLIFault"
        )
    response = returned.findtext("{*}response") or ""
    if not response.strip():
        return []
    try:
        answer = ElementTree.fromstring(response)
    except ElementTree.ParseError as problem:
        raise NoSoap(f"an answer of esxcli that is no XML ({problem})") from problem
    kind = next((value for name, value in answer.items() if name.rpartition("}")[2] == "type"), "")
    return [untyped(one) for one in answer] if kind.rpartition(":")[2] in _LISTS else [untyped(answer)]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _returned(body: bytes, operation: str) -> ElementTree.Element | None:
    answer = ElementTree.fromstring(body).find(f"./{{*}}Body/{{*}}{operation}Response")
    if answer is None:
        raise NoSoap("an answer to something else")
    return answer.find("{*}returnval")


def _reason(fault: ElementTree.Element) -> str:
    """``faultMsg`` is often no more than EsxCLI.CLIFault.summary; what happened stands as ``errMsg`` in the detail."""
    message = (fault.findtext("{*}faultMsg") or "").strip()
    detail = (fault.findtext("{*}faultDetail") or "").strip()
    try:
        said = [(one.text or "").strip() for one in ElementTree.fromstring(detail).iterfind(".//{*}errMsg")] if detail else []
    except ElementTree.ParseError:
        said = [detail]
    return (
        "; ".join(" ".join(part.split()) for part in dict.fromkeys([*said, *([] if said else [message])]) if part) or "no reason was given"
    )
