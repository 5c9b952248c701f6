# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one door to pyVmomi: its types, its serialiser, and its tables as a guide for the lean parser. Private."""

from __future__ import annotations

import datetime
import functools
import re
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

try:
    from pyVmomi import SoapAdapter, VmomiSupport, vim, vmodl

    IMPORT_ERROR = None
except ImportError:
    IMPORT_ERROR = traceback.format_exc()
    SoapAdapter = VmomiSupport = vim = vmodl = None  # type: ignore[assignment]

# Features take vim and vmodl from here: no other file may import pyVmomi, so that a missing one is one message.
__all__ = [
    "IMPORT_ERROR",
    "NoSoap",
    "Ref",
    "UnknownFault",
    "Wire",
    "envelope",
    "method",
    "moment",
    "newest_version",
    "plain_items",
    "plain_objects",
    "untyped",
    "vim",
    "vmodl",
]
NAMESPACE = "urn:vim25"
_XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_BRACKETS = re.compile(r"\[[^\]]*\]")
_FRACTION = re.compile(r"\.(\d+)")

ItemT = TypeVar("ItemT")


class Ref(NamedTuple):
    """A managed object as the wire names it: ``HostSystem``, ``host-14``."""

    type: str
    id: str

    def __str__(self) -> str:
        return f"{self.type}:{self.id}"


def method(type_name: str, wsdl_name: str) -> Any:
    """Parameters, result and privilege of an operation, from pyVmomi's tables."""
    return getattr(VmomiSupport.GetWsdlType(NAMESPACE, type_name), wsdl_name).info


def envelope(operation: str, receiver: Ref, inner: str) -> bytes:
    """A call written without pyVmomi's tables; ``inner``: its arguments as XML."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f'<soapenv:Body><{operation} xmlns="{NAMESPACE}"><_this type={quoteattr(receiver.type)}>{escape(receiver.id)}</_this>'
        f"{inner}</{operation}></soapenv:Body></soapenv:Envelope>"
    ).encode()


def newest_version(api_version: str) -> str:
    """pyVmomi's name of the newest API version that both sides know."""
    wanted = _numbers(api_version)
    known = [
        (_numbers(text), version) for text, version in VmomiSupport.versionMap.items() if text.startswith("vim25/") and text[6:7].isdigit()
    ]
    fitting = [pair for pair in known if pair[0] <= wanted]
    return max(fitting)[1] if fitting else min(known)[1]


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(number) for number in re.findall(r"\d+", version.rpartition("/")[2])]
    return tuple([*numbers, 0, 0, 0, 0][:4])


class NoSoap(Exception):
    """An answer that is not the one to the question."""


class UnknownFault(Exception):
    """An answer that pyVmomi's tables do not cover: a fault newer than they are, or one that some proxy wrote."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name_on_wire = name
        self.msg = text

    @classmethod
    def read(cls, body: bytes, problem: Exception) -> UnknownFault:
        root = ElementTree.fromstring(body)
        text = root.find(".//faultstring")
        detail = root.find(".//detail/*")
        if text is None and detail is None:
            return cls("UnknownAnswer", f"pyvmomi cannot read it ({type(problem).__name__}: {problem}); a newer one may")
        name = "" if detail is None else _local(detail.get(_XSI_TYPE) or detail.tag)
        # esxcli's own fault says what happened there, and in its text no more than EsxCLI.CLIFault.summary.
        said = [part.text for part in root.iterfind(".//detail//{*}errMsg") if part.text]
        return cls(name or "UnknownFault", "; ".join(said) if said else "" if text is None else text.text or "")


class Wire:
    """Serialises calls and reads replies of one API version."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.action = f'"{NAMESPACE}/{VmomiSupport.versionIdMap[version]}"'
        self._stub = _Stub(version)

    def request(self, ref: Ref, info: Any, arguments: dict[str, Any]) -> bytes:
        unknown = set(arguments) - {param.name for param in info.params}
        if unknown:
            raise TypeError(f"{info.wsdlName} has no parameter {sorted(unknown)}")
        receiver = VmomiSupport.GetWsdlType(NAMESPACE, ref.type)(ref.id, self._stub)
        return self._stub.SerializeRequest(receiver, info, [arguments.get(param.name) for param in info.params])

    def knows(self, type_name: str, path: str) -> bool:
        """Whether a property path exists in this API version. A server older than a path refuses the whole call."""
        kind = VmomiSupport.GetWsdlType(NAMESPACE, type_name)
        for name in _BRACKETS.sub("", path).split("."):
            try:
                info = kind._GetPropertyInfo(name)
            except AttributeError:
                return True
            if not VmomiSupport.IsChildVersion(self.version, info.version):
                return False
            kind = info.type.Item if issubclass(info.type, list) else info.type
        return True

    def result(self, body: bytes, result_type: Any) -> Any:
        """The typed result, or the fault as an exception object. Raises ExpatError when it is no SOAP."""
        try:
            return SoapAdapter.SoapResponseDeserializer(self._stub).Deserialize(body, result_type)
        except (LookupError, AttributeError, TypeError, ValueError) as problem:
            return UnknownFault.read(body, problem)

    def managed(self, ref: Ref) -> Any:
        """A reference as an argument for a typed call."""
        return VmomiSupport.GetWsdlType(NAMESPACE, ref.type)(ref.id, self._stub)


if SoapAdapter is not None:

    class _Stub(SoapAdapter.SoapStubAdapterBase):
        """Only serialises. With pyVmomi an attribute read is a round trip of its own: refused, so that none creeps in."""

        requestContext = None

        def InvokeMethod(self, mo: Any, info: Any, args: Any) -> Any:
            raise TypeError(f"{info.wsdlName}: call it through the session")

        def InvokeAccessor(self, mo: Any, info: Any) -> Any:
            raise TypeError(f"{info.name}: read it in bulk")


def plain_objects(
    chunks: Iterable[bytes],
    operation: str = "RetrievePropertiesEx",
    keep: Callable[[Ref, dict[str, Any], dict[str, str]], Any] | None = None,
) -> tuple[list[Any], str]:
    """One page of a property collector's reply.

    Returns (reference, value by path, fault name by path) an object, or what ``keep`` makes of it, and the token of the next
    page or "". Each object is read as it comes and its XML dropped, so that memory is that of what is kept: where this needs
    20 MB for 1,000 hosts, pyVmomi's own reader needs 639 MB.
    """
    objects: list[Any] = []
    token = ""
    for element in _elements(chunks, operation, 4):
        if _local(element.tag) == "objects":
            found = _plain_object(element)
            objects.append(keep(*found) if keep else found)
        elif _local(element.tag) == "token":
            token = element.text or ""
    return objects, token


def plain_items(chunks: Iterable[bytes], info: Any, keep: Callable[[dict[str, Any]], ItemT]) -> list[ItemT]:
    """What an operation returns, one data object or many, as plain values. Each is turned by ``keep`` as it comes and
    dropped, so that memory is that of what is kept.
    """
    listed = issubclass(info.result, list)
    read = _typed_reader(info.result.Item if listed else info.result)
    return [keep(read(element)) for element in _elements(chunks, info.wsdlName, 3) if _local(element.tag) == "returnval"]


def _elements(chunks: Iterable[bytes], operation: str, depth: int) -> Iterator[Any]:
    """The elements that lie so deep in an answer, each as soon as it is complete, and gone once it was looked at. Raises
    NoSoap where this is no answer to that operation."""
    parser = ElementTree.XMLPullParser(("start", "end"))  # type: ignore[var-annotated]
    above: list[Any] = []  # as far down as it matters; of what lies deeper, its depth is enough
    at = 0
    answered = False
    response = f"{operation}Response"
    for chunk in _without_doctype(chunks):
        parser.feed(chunk)
        element: Any
        for event, element in parser.read_events():  # type: ignore[misc]
            if event == "start":
                if at < depth:
                    above[at:] = [element]
                at += 1
                continue
            at -= 1
            if at == depth:
                if _local(above[2].tag) == response and (depth < 4 or _local(above[3].tag) == "returnval"):
                    yield element
                    above[-1].remove(element)
            elif at == 2 and _local(element.tag) == response and _local(above[1].tag) == "Body":
                answered = True
    parser.close()
    if not answered:
        raise NoSoap("an answer to something else")


def _without_doctype(chunks: Iterable[bytes]) -> Iterator[bytes]:
    tail = b""
    for chunk in chunks:
        if b"<!DOCTYPE" in tail + chunk:
            raise NoSoap("a document type, which SOAP forbids")
        yield chunk
        tail = (tail + chunk)[-8:]


def _plain_object(element: ElementTree.Element) -> tuple[Ref, dict[str, Any], dict[str, str]]:
    ref = Ref("", "")
    values: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for child in element:
        name = _local(child.tag)
        if name == "obj":
            ref = Ref(child.get("type", ""), child.text or "")
        elif name == "propSet":
            values[child[0].text or ""] = _dynamic(child[1])
        elif name == "missingSet":
            missing[child[0].text or ""] = _fault_name(child)
    return ref, values, missing


def _fault_name(element: ElementTree.Element) -> str:
    for part in element.iter():
        if _local(part.tag) == "fault" and part.get(_XSI_TYPE):
            return _local(part.get(_XSI_TYPE, ""))
    return "unknown"


@functools.cache
def _local(tag: str) -> str:
    return tag.rpartition("}")[2].rpartition(":")[2]


def _dynamic(element: ElementTree.Element) -> Any:
    """A value whose type the element itself names (anyType)."""
    name = _local(element.get(_XSI_TYPE, ""))
    if name.startswith("ArrayOf"):
        # ArrayOfInt holds xsd:int, ArrayOfHostService holds HostService.
        item = _SIMPLE.get(name[7:8].lower() + name[8:]) or _reader(name[7:])
        return [item(child) for child in element]
    return _reader(name)(element)


@functools.cache
def _reader(wsdl_name: str) -> Callable[[ElementTree.Element], Any]:
    simple = _SIMPLE.get(wsdl_name)
    if simple:
        return simple
    known = _known(wsdl_name)
    return untyped if known is None else _typed_reader(known)


@functools.cache
def _known(wsdl_name: str) -> Any:
    try:
        return VmomiSupport.GetWsdlType(NAMESPACE, wsdl_name)
    except KeyError:
        return None


@functools.cache
def _typed_reader(known: type) -> Callable[[ElementTree.Element], Any]:
    if known is object:
        return _dynamic
    if issubclass(known, bool):
        return _SIMPLE["boolean"]
    if issubclass(known, int):
        return _SIMPLE["int"]
    if issubclass(known, float):
        return _SIMPLE["double"]
    if issubclass(known, datetime.datetime):
        return _SIMPLE["dateTime"]
    if issubclass(known, VmomiSupport.ManagedObject):
        return _SIMPLE["ManagedObjectReference"]
    if issubclass(known, VmomiSupport.DataObject):
        return _structure(known)
    return _SIMPLE["string"]


def _structure(known: type) -> Callable[[ElementTree.Element], Any]:
    """Reads a data object into a dict; what is unset is left out, a list stays a list even with one item."""
    # Name -> is it a list, how is an item read. Readers are made when first met: types may contain themselves.
    types = {info.name: info.type for info in known._GetPropertyList()}  # type: ignore[attr-defined]
    members: dict[str, tuple[bool, Callable[[ElementTree.Element], Any]]] = {}
    own_name = VmomiSupport.GetWsdlName(known)

    def member(tag: str) -> tuple[bool, Callable[[ElementTree.Element], Any]]:
        kind = types.get(_local(tag))
        if kind is None:
            members[tag] = False, untyped
        elif issubclass(kind, list):
            members[tag] = True, _typed_reader(kind.Item)
        else:
            members[tag] = False, _typed_reader(kind)
        return members[tag]

    def read(element: ElementTree.Element) -> dict[str, Any]:
        result: dict[str, Any] = {}
        actual = _local(element.get(_XSI_TYPE) or own_name)
        if actual != own_name:
            if _known(actual):
                return {**_reader(actual)(element), "_type": actual}
            result["_type"] = actual
        for child in element:
            tag = child.tag
            is_list, item = members.get(tag) or member(tag)
            if is_list:
                result.setdefault(_local(tag), []).append(item(child))
            else:
                result[_local(tag)] = item(child)
        return result

    return read


def untyped(element: ElementTree.Element) -> Any:
    """What stands in no table of pyVmomi: text stays text, children become a dict, repeated ones a list."""
    if not len(element):
        return element.text or ""
    result: dict[str, Any] = {}
    for child in element:
        name = _local(child.tag)
        value = untyped(child)
        if name in result:
            earlier = result[name]
            result[name] = [*earlier, value] if isinstance(earlier, list) else [earlier, value]
        else:
            result[name] = value
    return result


def moment(text: str) -> datetime.datetime:
    """An xsd:dateTime as an aware datetime; the server's are UTC with microseconds."""
    text = _FRACTION.sub(lambda m: "." + m.group(1)[:6].ljust(6, "0"), text.strip()).replace("Z", "+00:00")
    value = datetime.datetime.fromisoformat(text)
    return value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)


def _moment_or_none(text: str) -> datetime.datetime | None:
    """One host's odd date (year 0) must not end the read of a thousand."""
    try:
        return moment(text)
    except ValueError:
        return None


_SIMPLE: dict[str, Callable[[ElementTree.Element], Any]] = {
    "string": lambda element: element.text or "",
    "anyURI": lambda element: element.text or "",
    "base64Binary": lambda element: element.text or "",
    "boolean": lambda element: element.text in ("true", "1"),
    "double": lambda element: float(element.text or 0),
    "float": lambda element: float(element.text or 0),
    "dateTime": lambda element: _moment_or_none(element.text or ""),
    "ManagedObjectReference": lambda element: Ref(element.get("type", ""), element.text or ""),
    "anyType": _dynamic,
    **dict.fromkeys(("byte", "short", "int", "long"), lambda element: int(element.text or 0)),
}
