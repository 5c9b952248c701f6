# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SOAP envelopes: read requests with pyVmomi's deserialiser (the recipe of facts.md 6.4), write replies and faults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree
from xml.parsers.expat import ExpatError, ParserCreate

from pyVmomi import VmomiSupport
from pyVmomi.SoapAdapter import SoapDeserializer

from .errors import SoapFault
from .versions import Api
from .xmlwrite import body, element, escape, wsdl_name

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<soapenv:Envelope xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/" '
    'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n<soapenv:Body>\n'
)
_TAIL = "\n</soapenv:Body>\n</soapenv:Envelope>"
_ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
_SEPARATOR = " "


@dataclass(frozen=True)
class Parameter:
    name: str
    type: Any
    optional: bool


@dataclass(frozen=True)
class Signature:
    """What a SOAP operation takes and returns."""

    parameters: dict[str, Parameter]
    result: Any
    since: str
    by_hand: bool = False  # its arguments are of types that pyVmomi's tables lack


_V0 = "vmodl.version.version0"
# Operations in no WSDL table (facts.md 6.3): pyVmomi sends Fetch for every attribute that is read. The others are internal API, as
# govmomi's internal/types.go has them; since when they exist is not written there (esxcli came with 5.0).
UNLISTED = {
    "Fetch": Signature({"prop": Parameter("prop", str, False)}, object, _V0),
    "RetrieveManagedMethodExecuter": Signature({}, object, _V0),
    "RetrieveDynamicTypeManager": Signature({}, object, _V0),
    "ExecuteSoap": Signature(
        {
            "moid": Parameter("moid", str, False),
            "version": Parameter("version", str, False),
            "method": Parameter("method", str, False),
            "argument": Parameter("argument", object, True),
        },
        object,
        _V0,
        by_hand=True,
    ),
}
_signatures: dict[str, Signature | None] = {}


def signature(name: str) -> Signature | None:
    """The operation's signature from pyVmomi's tables, None when nobody knows the name."""
    if name not in _signatures:
        found = UNLISTED.get(name)
        if found is None:
            try:
                info = VmomiSupport.GetWsdlMethod("urn:vim25", name).info
            except KeyError:
                pass
            else:
                parameters = {p.name: Parameter(p.name, p.type, bool(p.flags & VmomiSupport.F_OPTIONAL)) for p in info.params}
                found = Signature(parameters, info.result, info.version)
        _signatures[name] = found
    return _signatures[name]


@dataclass
class Request:
    method: str
    target_type: str
    target: str
    arguments: dict[str, Any] = field(default_factory=dict)


class _Reader:
    """Envelope, Body, method, arguments: each argument is handed to pyVmomi's deserialiser with its declared type."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.depth = 0
        self.in_body = False
        self.request: Request | None = None
        self.text: list[str] = []
        self.reading_target = False
        self.skip_depth = 0
        self.pending: tuple[Parameter, Any] | None = None
        self.namespaces: dict[str | None, list[str]] = {}
        self.signature: Signature | None = None
        self.parser = ParserCreate(namespace_separator=_SEPARATOR)
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.characters
        self.parser.StartNamespaceDeclHandler = self.namespace
        self.parser.EndNamespaceDeclHandler = self.namespace_end

    def namespace(self, prefix: str | None, uri: str) -> None:
        self.namespaces.setdefault(prefix, []).append(uri)

    def namespace_end(self, prefix: str | None) -> None:
        if self.namespaces.get(prefix):
            self.namespaces[prefix].pop()

    def take(self) -> None:
        """Collect a finished argument (its deserialiser drops `stack` when it is done)."""
        if self.pending is None or self.request is None:
            return
        parameter, reader = self.pending
        self.pending = None
        value = reader.GetResult()
        if issubclass(parameter.type, list):
            values = self.request.arguments.setdefault(parameter.name, parameter.type())
            values.extend(value if isinstance(value, list) else [value])
        else:
            self.request.arguments[parameter.name] = value

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.take()
        name = tag.rsplit(_SEPARATOR, 1)[-1]
        if self.skip_depth:
            self.skip_depth += 1
            return
        self.depth += 1
        if self.depth == 2:
            self.in_body = name == "Body"
            if not self.in_body:
                self.skip_depth = 1
        elif self.depth == 3 and self.in_body:
            self.request = Request(name, "", "")
            self.signature = signature(name)
        elif self.depth == 4 and self.request is not None:
            if name == "_this":
                self.request.target_type = attributes.get("type", "")
                self.reading_target = True
                self.text = []
            else:
                self.argument(name, tag, attributes)

    def argument(self, name: str, tag: str, attributes: dict[str, str]) -> None:
        if self.signature is None or self.signature.by_hand:
            self.skip_depth = 1
            return
        parameter = self.signature.parameters.get(name)
        if parameter is None:
            raise SoapFault("InvalidRequest", f"Unexpected element {name} while parsing call information for method {self.method()}")
        kind = parameter.type.Item if issubclass(parameter.type, list) else parameter.type
        reader = SoapDeserializer(version=self.api.version)
        self.depth -= 1  # the deserialiser swallows this element's end
        reader.Deserialize(self.parser, kind, False, self.namespaces)
        reader.StartElementHandler(tag, attributes)
        self.pending = (parameter, reader)

    def method(self) -> str:
        return self.request.method if self.request else "?"

    def end(self, tag: str) -> None:
        self.take()
        if self.skip_depth:
            self.skip_depth -= 1
            if self.skip_depth == 0:
                self.depth -= 1
            return
        if self.reading_target and self.request is not None:
            self.request.target = "".join(self.text)
            self.reading_target = False
        self.depth -= 1

    def characters(self, data: str) -> None:
        if self.reading_target:
            self.text.append(data)


def read(payload: bytes, api: Api) -> Request:
    """The call in a request body; whatever cannot be read is InvalidRequest, as with real servers."""
    reader = _Reader(api)
    try:
        reader.parser.Parse(payload, True)
    except SoapFault:
        raise
    except ExpatError as exc:
        raise SoapFault("InvalidRequest", f"XML document is malformed: {exc}") from None
    except (TypeError, ValueError, KeyError, AttributeError) as exc:
        raise SoapFault("InvalidRequest", f"Cannot parse the arguments of method {reader.method()}: {exc}") from None
    if reader.request is None:
        raise SoapFault("InvalidRequest", "No method in the request's SOAP body")
    if reader.signature is not None and reader.signature.by_hand:
        _by_hand(reader.request, reader.signature, payload)
    return reader.request


def _by_hand(request: Request, found: Signature, payload: bytes) -> None:
    """Texts as texts, anything with parts as a list of dictionaries."""
    body = ElementTree.fromstring(payload).find(f"{{{_ENVELOPE}}}Body")
    method = next(iter(body)) if body is not None else None
    for row in method if method is not None else ():
        name = row.tag.rpartition("}")[2]
        if name == "_this":
            continue
        if name not in found.parameters:
            raise SoapFault("InvalidRequest", f"Unexpected element {name} while parsing call information for method {request.method}")
        if found.parameters[name].type is str:
            request.arguments[name] = row.text or ""
        else:
            request.arguments.setdefault(name, []).append({part.tag.rpartition("}")[2]: part.text or "" for part in row})


def check_arguments(request: Request, found: Signature) -> None:
    for parameter in found.parameters.values():
        if not parameter.optional and parameter.name not in request.arguments and not issubclass(parameter.type, list):
            raise SoapFault("InvalidRequest", f"Required parameter {parameter.name} is missing in method {request.method}")


def reply(method: str, value: Any, kind: Any, api: Api) -> str:
    """A reply with a value of a declared type."""
    return reply_text(method, element("returnval", value, kind, api))


def reply_text(method: str, inner: str) -> str:
    """A reply whose content is XML already (bulk reads)."""
    return f'{_HEAD}<{method}Response xmlns="urn:vim25">{inner}</{method}Response>{_TAIL}'


def fault(error: SoapFault, api: Api) -> str:
    """A fault envelope: the text goes into faultstring, the class and its fields into detail (facts.md 6.1)."""
    made = error.data()
    name = error.wire_name
    fields = ""
    if made is not None:
        kind = VmomiSupport.GetCompatibleType(type(made), api.version)
        # An older client gets the nearest older ancestor, as pyVmomi's own serialiser does it.
        name = wsdl_name(kind) if isinstance(kind, type) else name
        try:
            fields = body(made, api, ("msg",))
        except TypeError:
            fields = ""
    else:
        fields = "".join(f"<{key}>{escape(str(value))}</{key}>" for key, value in error.fields.items())
    return (
        f"{_HEAD}<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>{escape(error.text)}</faultstring>"
        f'<detail><{name}Fault xmlns="urn:vim25" xsi:type="{name}">{fields}</{name}Fault></detail></soapenv:Fault>{_TAIL}'
    )
