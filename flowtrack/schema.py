"""Frozen dataclasses read strictly from JSON, and described as JSON Schema, from their types alone.

Understood types: str, int, float, bool, Literal, X | None, tuple[X, ...], tuple of fixed length,
dict[str, X], dict[str, Any] and nested dataclasses. Unknown names are refused. A field's `limits`
are JSON Schema keywords, held against its value by `check_limits` and copied into the schema.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import re
import types
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from flowtrack.errors import BundleError

T = TypeVar("T")

_OF_THE_LIST = frozenset({"minItems"})  # the other keywords are about every item of a list


def _matches(value: str, pattern: str) -> bool:
    return re.fullmatch(pattern, value) is not None


_CHECKS: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = MappingProxyType(
    {
        "minimum": ("at least", operator.ge),
        "maximum": ("at most", operator.le),
        "exclusiveMinimum": ("more than", operator.gt),
        "pattern": ("text that matches", _matches),
        "enum": ("one of", lambda value, known: value in known),
    }
)


def limits(**keywords: Any) -> dict[str, Mapping[str, Any]]:
    """Metadata of a dataclass field: JSON Schema keywords that its value must satisfy.

    Understood are `minimum`, `maximum`, `exclusiveMinimum`, `pattern` (of the whole text), `enum`
    and `minItems`. All but the last concern every item of a list, and None satisfies all. A
    `description` says in words what a pattern asks for.
    """
    return {"limits": keywords}


def check_limits(instance: Any, where: str) -> None:
    """Hold a dataclass, and those inside it, against the limits of their fields.

    Raises:
        BundleError: a value breaks one; the message names the entry.
    """
    for field in dataclasses.fields(instance):
        value, place = getattr(instance, field.name), f"{where}.{field.name}"
        if dataclasses.is_dataclass(value):
            check_limits(value, place)
        else:
            _check_value(value, field.metadata.get("limits", {}), place)


def _check_value(value: Any, keywords: Mapping[str, Any], where: str) -> None:
    if isinstance(value, tuple):
        if len(value) < keywords.get("minItems", 0):
            raise BundleError(
                f"{where} has {len(value)} items, expected at least {keywords['minItems']}"
            )
        for i, item in enumerate(value):
            _check_value(item, keywords, f"{where}[{i}]")
        return
    if value is None:
        return
    for keyword, limit in keywords.items():
        if keyword not in _CHECKS:
            continue
        wording, holds = _CHECKS[keyword]
        if not holds(value, limit):
            wanted = keywords.get("description", f"{wording} {limit}")
            raise BundleError(f"{where} is {_shown(value)}, expected {wanted}")


def read_dataclass(kind: type[T], value: Any, where: str) -> T:
    """An instance of the dataclass `kind` from decoded JSON.

    Args:
        where: path of the value within its file, for messages.

    Raises:
        BundleError: a name is unknown or missing, or a value has the wrong type.
    """
    if not isinstance(value, dict):
        raise BundleError(f"{where} is {_shown(value)}, expected an object")
    assert dataclasses.is_dataclass(kind)
    known = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise BundleError(f"{where} has unknown entries {unknown}; known are {sorted(known)}")
    hints = get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for name, field in known.items():
        if name in value:
            arguments[name] = _read(hints[name], value[name], f"{where}.{name}")
        elif _is_required(field):
            raise BundleError(f"{where}.{name} is missing")
    instance: T = kind(**arguments)
    return instance


def _is_required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _read(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        return read_dataclass(kind, value, where)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _read(inner, value, where)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool) != isinstance(arguments[0], bool):
            raise BundleError(f"{where} is {_shown(value)}, expected one of {list(arguments)}")
        return value
    if origin is tuple:
        return _read_tuple(arguments, value, where)
    if origin is dict:
        if not isinstance(value, dict):
            raise BundleError(f"{where} is {_shown(value)}, expected an object")
        return {key: _read(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    return _read_scalar(kind, value, where)


def _read_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise BundleError(f"{where} is {_shown(value)}, expected a list")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        kinds = (arguments[0],) * len(value)
    else:
        kinds = arguments
    if len(kinds) != len(value):
        raise BundleError(f"{where} has {len(value)} items, expected {len(kinds)}")
    items = zip(kinds, value, strict=True)
    return tuple(_read(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(items))


def _read_scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise BundleError(f"{where} is {_shown(value)}, expected a finite number")
        return number
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)  # JSON has one kind of number, and JSON Schema takes 1.0 as an integer
    if kind in (str, int, bool) and type(value) is kind:
        return value
    names = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
    raise BundleError(f"{where} is {_shown(value)}, expected {names[kind]}")


def json_schema(kind: type, title: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of what `read_dataclass` accepts for `kind`."""
    schema = describe(kind)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}


def describe(kind: Any, keywords: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """The part of a JSON Schema that describes one of the understood types.

    Args:
        keywords: limits of its values, see `limits`.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if dataclasses.is_dataclass(kind):
        return _describe_dataclass(kind)
    if origin in (Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return {"anyOf": [describe(inner, keywords), {"type": "null"}]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        of_list = {name: limit for name, limit in keywords.items() if name in _OF_THE_LIST}
        of_items = {name: limit for name, limit in keywords.items() if name not in _OF_THE_LIST}
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return {"type": "array", "items": describe(arguments[0], of_items), **of_list}
        count = len(arguments)
        return {
            "type": "array",
            "prefixItems": [describe(argument, of_items) for argument in arguments],
            "minItems": count,
            "maxItems": count,
        }
    if origin is dict:
        return {"type": "object", "additionalProperties": describe(arguments[1])}
    names = {str: "string", int: "integer", float: "number", bool: "boolean"}
    return {"type": names[kind], **keywords}


def _describe_dataclass(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    fields = dataclasses.fields(kind)
    summary = (kind.__doc__ or "").strip().splitlines()[0]
    return {
        "type": "object",
        "description": summary,
        "properties": {
            field.name: describe(hints[field.name], field.metadata.get("limits", {}))
            for field in fields
        },
        "required": [field.name for field in fields if _is_required(field)],
        "additionalProperties": False,
    }
