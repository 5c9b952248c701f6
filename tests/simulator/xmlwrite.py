# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From pyVmomi data objects to XML: a compiled, caching twin of pyVmomi's SoapSerializer.

pyVmomi's own serialiser needs about as much CPU as its parser, and a simulator that must serve 1,000 hosts cheaper than pyVmomi parses
them (issue 1) cannot use it for bulk reads. This one compiles each (type, API version) once and keeps the text of every *frozen* object
inside that object, so a value that 1,000 hosts share is written once and can never be stale: a change makes a new object.
tests/unit/simulator/test_xmlwrite.py compares both, byte by byte.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Callable
from typing import Any

from pyVmomi import VmomiSupport
from pyVmomi.VmomiSupport import F_LINK, F_OPTIONAL, DataObject, GetVmodlType, IsChildVersion, ManagedObject

from .versions import Api

MethodFault = GetVmodlType("vmodl.MethodFault")
_ENUM = VmomiSupport.Enum
_NAMED = (type, VmomiSupport.ManagedMethod, VmomiSupport.PropertyPath)
_CACHE = "_simulator_xml"


def frozen(value: Any) -> Any:
    """Mark a data object as never to be changed again, so that its text may be kept and shared."""
    value.__dict__[_CACHE] = {}
    return value


def escape(text: str) -> str:
    if "&" in text or "<" in text or ">" in text or "\r" in text:
        return text.replace("&", "&amp;").replace(">", "&gt;").replace("<", "&lt;").replace("\r", "&#13;")
    return text


def timestamp(value: datetime.datetime) -> str:
    """xsd:dateTime with microseconds and Z, as real servers send it (facts.md 2.4)."""
    if value.tzinfo is not None:
        value = value.astimezone(datetime.timezone.utc)
    return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond:06d}Z"


def wsdl_name(kind: Any) -> str:
    """ "HostSystem" for vim.HostSystem."""
    return VmomiSupport.GetWsdlName(kind)


def _type_attribute(kind: Any) -> str:
    """xsi:type's value for a type, as pyVmomi's _QName gives it with urn:vim25 as the default namespace."""
    namespace, name = VmomiSupport.GetQualifiedWsdlName(kind)
    if name == "ManagedObject":
        name = "ManagedObjectReference"
    if name == "ArrayOfManagedObject":
        name = "ArrayOfManagedObjectReference"
    return "xsd:" + name if namespace == VmomiSupport.XMLNS_XSD else name


def reference(tag: str, value: Any, attributes: str = "") -> str:
    return f'<{tag}{attributes} type="{wsdl_name(type(value))}">{escape(value._moId)}</{tag}>'


def scalar(value: Any) -> str:
    """The text of anything that is neither data object, reference nor list."""
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, datetime.datetime):
        return timestamp(value)
    if isinstance(value, VmomiSupport.ManagedMethod):
        return value.info.wsdlName
    if isinstance(value, type):
        return wsdl_name(value)
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode("ascii")
    return escape(str(value))


Writer = Callable[[str, Any, Api], str]


def _write_scalar(tag: str, value: Any, api: Api) -> str:
    return f"<{tag}>{scalar(value)}</{tag}>"


def _write_reference(tag: str, value: Any, api: Api) -> str:
    return reference(tag, value)


def _write_any(tag: str, value: Any, api: Api) -> str:
    return any_element(tag, value, None, api)


def _write_fault(tag: str, value: Any, api: Api) -> str:
    """A MethodFault inside data (TaskInfo.error) travels as LocalizedMethodFault."""
    text = getattr(value, "msg", None)
    message = f"<localizedMessage>{escape(text)}</localizedMessage>" if text else ""
    return f'<{tag}><fault xsi:type="{wsdl_name(type(value))}">{body(value, api, ("msg",))}</fault>{message}</{tag}>'


def _data_writer(kind: Any) -> Writer:
    def write(tag: str, value: Any, api: Api) -> str:
        actual = VmomiSupport.GetCompatibleType(type(value), api.version)
        attribute = "" if actual is kind else f' xsi:type="{wsdl_name(actual)}"'
        return f"<{tag}{attribute}>{body(value, api)}</{tag}>"

    return write


def _link_writer(tag: str, value: Any, api: Api) -> str:
    key = getattr(value, "key", None) if isinstance(value, DataObject) else value
    return f"<{tag}>{scalar(key)}</{tag}>"


def _list_writer(item: Writer) -> Writer:
    def write(tag: str, value: Any, api: Api) -> str:
        return "".join([item(tag, one, api) for one in value])

    return write


def _writer(kind: Any, flags: int = 0) -> Writer:
    if kind is object:
        return _write_any
    if issubclass(kind, list):
        return _list_writer(_writer(kind.Item, flags))
    if flags & F_LINK:
        return _link_writer
    if kind is VmomiSupport.GetVmodlType("vmodl.LocalizedMethodFault") or issubclass(kind, MethodFault):
        return _write_fault
    if issubclass(kind, DataObject):
        return _data_writer(kind)
    if issubclass(kind, ManagedObject):
        return _write_reference
    return _write_scalar


_plans: dict[tuple[Any, str], tuple[tuple[str, Writer, bool], ...]] = {}


def _plan(kind: Any, api: Api) -> tuple[tuple[str, Writer, bool], ...]:
    key = (kind, api.version)
    found = _plans.get(key)
    if found is None:
        found = tuple(
            (info.name, _writer(info.type, info.flags), bool(info.flags & F_OPTIONAL))
            for info in kind._GetPropertyList()
            if IsChildVersion(api.version, info.version)
        )
        _plans[key] = found
    return found


def body(value: Any, api: Api, skip: tuple[str, ...] = ()) -> str:
    """What stands between the tags of a data object."""
    fields = value.__dict__
    cache = fields.get(_CACHE)
    if cache is not None:
        text = cache.get(api.version)
        if text is not None:
            return text
    parts = []
    # A type newer than the client travels as its nearest older ancestor, hence the fields of that one.
    for name, write, optional in _plan(VmomiSupport.GetCompatibleType(type(value), api.version), api):
        item = fields.get(name)
        if item is None or (isinstance(item, list) and not item):
            if not optional and item is None and name not in skip:
                raise TypeError(f"{wsdl_name(type(value))}.{name} is not optional")
            continue
        if name not in skip:
            parts.append(write(name, item, api))
    text = "".join(parts)
    if cache is not None:
        cache[api.version] = text
    return text


def any_element(tag: str, value: Any, declared: Any, api: Api) -> str:
    """One element of type anyType (a property's value): it carries xsi:type. `declared` is the property's own type, where known."""
    if isinstance(value, MethodFault):
        text = getattr(value, "msg", None)
        message = f"<localizedMessage>{escape(text)}</localizedMessage>" if text else ""
        inner = f'<fault xsi:type="{wsdl_name(type(value))}">{body(value, api, ("msg",))}</fault>{message}'
        return f'<{tag} xsi:type="LocalizedMethodFault">{inner}</{tag}>'
    if isinstance(value, DataObject):
        actual = VmomiSupport.GetCompatibleType(type(value), api.version)
        return f'<{tag} xsi:type="{wsdl_name(actual)}">{body(value, api)}</{tag}>'
    if isinstance(value, ManagedObject):
        return reference(tag, value, ' xsi:type="ManagedObjectReference"')
    if isinstance(value, (list, tuple)):
        return _any_list(tag, value, declared, api)
    if isinstance(value, _NAMED):
        return f'<{tag} xsi:type="xsd:string">{scalar(value)}</{tag}>'
    kind = declared if declared is not None and declared is not object else VmomiSupport.Type(value)
    if isinstance(value, _ENUM):
        kind = type(value)
    return f'<{tag} xsi:type="{_type_attribute(kind)}">{scalar(value)}</{tag}>'


def _any_list(tag: str, value: Any, declared: Any, api: Api) -> str:
    kind = type(value) if hasattr(type(value), "Item") else declared
    if kind is None or not hasattr(kind, "Item"):
        raise TypeError(f"a list of unknown type for {tag}")
    item = kind.Item
    if item in (VmomiSupport.ManagedMethod, VmomiSupport.PropertyPath, type):
        child, array = "string", "ArrayOfString"
    elif issubclass(item, ManagedObject):
        child, array = "ManagedObjectReference", "ArrayOfManagedObjectReference"
    else:
        child, array = wsdl_name(item), _type_attribute(kind)
    write = _writer(item)
    return f'<{tag} xsi:type="{array}">{"".join([write(child, one, api) for one in value])}</{tag}>'


def element(tag: str, value: Any, kind: Any, api: Api) -> str:
    """One or several elements of a declared type: what a method returns."""
    if value is None:
        return ""
    return _writer(kind)(tag, value, api)
