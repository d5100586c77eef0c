"""Frozen dataclasses read strictly from JSON, and described as JSON Schema, from their types alone.

Understood types: str, int, float, bool, Literal, X | None, tuple[X, ...], tuple of fixed length,
dict[str, X], dict[str, Any] and nested dataclasses. Unknown names are refused.
"""

from __future__ import annotations

import dataclasses
import math
import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from flowtrack.errors import BundleError

T = TypeVar("T")


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
        if not math.isfinite(value):
            raise BundleError(f"{where} is {value}, expected a finite number")
        return float(value)
    if kind in (str, int, bool) and type(value) is kind:
        return value
    names = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
    raise BundleError(f"{where} is {_shown(value)}, expected {names[kind]}")


def json_schema(kind: type, title: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of what `read_dataclass` accepts for `kind`."""
    schema = _describe(kind)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}


def _describe(kind: Any) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if dataclasses.is_dataclass(kind):
        return _describe_dataclass(kind)
    if origin in (Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return {"anyOf": [_describe(inner), {"type": "null"}]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return {"type": "array", "items": _describe(arguments[0])}
        count = len(arguments)
        return {
            "type": "array",
            "prefixItems": [_describe(argument) for argument in arguments],
            "minItems": count,
            "maxItems": count,
        }
    if origin is dict:
        return {"type": "object", "additionalProperties": _describe(arguments[1])}
    names = {str: "string", int: "integer", float: "number", bool: "boolean"}
    return {"type": names[kind]}


def _describe_dataclass(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    fields = dataclasses.fields(kind)
    summary = (kind.__doc__ or "").strip().splitlines()[0]
    return {
        "type": "object",
        "description": summary,
        "properties": {field.name: _describe(hints[field.name]) for field in fields},
        "required": [field.name for field in fields if _is_required(field)],
        "additionalProperties": False,
    }
