"""What our source touches of TensorRT, found by reading it: no list that could be forgotten."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Use:
    """Something of TensorRT that our source touches.

    Attributes:
        place: file and line.
        owner: class, with dots; empty for the module itself.
        name: that is touched there.
        call: number of positional and names of keyword arguments; None if it is not called.
        written: whether it is assigned to.
        overrides: parameters of a method that we put in its place; None if it is only used.
    """

    place: str
    owner: str
    name: str
    call: tuple[int, tuple[str, ...]] | None = None
    written: bool = False
    overrides: int | None = None


def members_of(owner: str, api: Mapping[str, Any]) -> dict[str, Any] | None:
    """Members of a class, whose name may have dots, or of the module; None if there is none."""
    found: Any = {"members": api}
    for name in owner.split(".") if owner else ():
        found = found.get("members", {}).get(name)
        if found is None:
            return None
    members: dict[str, Any] | None = found.get("members")
    return members


def uses_in(path: Path, api: Mapping[str, Any], text: str | None = None) -> list[Use]:
    """What a file touches of TensorRT, found from imports, annotations and return types."""
    tree = ast.parse(path.read_text() if text is None else text)
    finder = _Finder(path.name, api)
    finder.learn(tree)
    finder.visit(tree)
    return finder.uses


@dataclass(frozen=True)
class _Kind:
    """What an expression is: the module, a class of it, or an instance of a class."""

    what: str
    name: str = ""


_MODULE = _Kind("module")


@dataclass
class _Scope:
    names: dict[str, _Kind] = field(default_factory=dict)
    own: dict[str, _Kind] = field(default_factory=dict)  # attributes of self


class _Finder(ast.NodeVisitor):
    """Walks a file with the types that it knows of names."""

    def __init__(self, file: str, api: Mapping[str, Any]) -> None:
        self.uses: list[Use] = []
        self._file, self._api = file, api
        self._scope = _Scope()
        self._returns: dict[str, _Kind] = {}

    def learn(self, tree: ast.Module) -> None:
        """Return types of the file's own functions, and the name of the module."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name == "tensorrt":
                        self._scope.names[alias.asname or alias.name] = _MODULE
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.returns is not None:
                kind = self._annotated(node.returns)
                if kind is not None:
                    self._returns[node.name] = kind

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        outer = self._scope
        self._scope = _Scope(dict(outer.names))
        for inner in ast.walk(node):
            if isinstance(inner, ast.AnnAssign) and _is_self(inner.target):
                assert isinstance(inner.target, ast.Attribute)
                self._learn_own(inner.target.attr, inner.annotation)
            elif isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
                annotations = {arg.arg: arg.annotation for arg in inner.args.args}
                for assigned in ast.walk(inner):
                    if isinstance(assigned, ast.Assign) and _is_self(assigned.targets[0]):
                        target = assigned.targets[0]
                        assert isinstance(target, ast.Attribute)
                        if isinstance(assigned.value, ast.Name):
                            self._learn_own(target.attr, annotations.get(assigned.value.id))
        for base in node.bases:
            kind = self._kind(base)
            if kind is not None and kind.what == "class":
                self._overrides(node, kind.name)
        self.generic_visit(node)
        self._scope = outer

    def _learn_own(self, name: str, annotation: ast.expr | None) -> None:
        kind = None if annotation is None else self._annotated(annotation)
        if kind is not None:
            self._scope.own[name] = kind

    def _overrides(self, node: ast.ClassDef, base: str) -> None:
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                count = len(method.args.args)
                self._add(method, base, method.name, overrides=count)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer = self._scope
        self._scope = _Scope(dict(outer.names), outer.own)
        for argument in (*node.args.args, *node.args.kwonlyargs):
            kind = self._annotated(argument.annotation) if argument.annotation else None
            if kind is not None:
                self._scope.names[argument.arg] = kind
        self.generic_visit(node)
        self._scope = outer

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        kind = self._annotated(node.annotation)
        if kind is not None and isinstance(node.target, ast.Name):
            self._scope.names[node.target.id] = kind
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        kind = self._kind(node.value)
        if kind is not None and isinstance(node.targets[0], ast.Name):
            self._scope.names[node.targets[0].id] = kind
        self.generic_visit(node)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        for generator in node.generators:
            kind = self._kind(generator.iter)
            if kind is not None and isinstance(generator.target, ast.Name):
                self._scope.names[generator.target.id] = kind
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute):
            owner = self._owner(node.func.value)
            if owner is not None:
                names = tuple(keyword.arg or "" for keyword in node.keywords)
                own = owner.what == "class" and node.func.attr == "__init__"
                count = len(node.args) - own
                if not own:
                    self._add(node, owner.name, node.func.attr, call=(count, names))
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        owner = self._owner(node.value)
        if owner is not None:
            written = isinstance(node.ctx, ast.Store)
            self._add(node, owner.name, node.attr, written=written)
        self.generic_visit(node)

    def _add(self, node: ast.stmt | ast.expr, owner: str, name: str, **facts: Any) -> None:
        self.uses.append(Use(f"{self._file}:{node.lineno}", owner, name, **facts))

    def _owner(self, node: ast.expr) -> _Kind | None:
        kind = self._kind(node)
        return kind if kind is not None and kind.what in ("module", "class", "instance") else None

    def _kind(self, node: ast.expr) -> _Kind | None:
        if isinstance(node, ast.Name):
            return self._scope.names.get(node.id)
        if _is_self(node):
            assert isinstance(node, ast.Attribute)
            return self._scope.own.get(node.attr)
        if isinstance(node, ast.Subscript):  # of a list
            return self._kind(node.value)
        if isinstance(node, ast.Attribute):
            return self._member(node)
        if isinstance(node, ast.Call):
            return self._result(node)
        return None

    def _member(self, node: ast.Attribute) -> _Kind | None:
        owner = self._kind(node.value)
        if owner is None or owner.what == "instance":
            return None
        full = f"{owner.name}.{node.attr}".lstrip(".")
        member = (members_of(owner.name, self._api) or {}).get(node.attr, {})
        if "members" in member:
            return _Kind("class", full)
        return _Kind("instance", member["type"]) if member.get("type") else None

    def _result(self, node: ast.Call) -> _Kind | None:
        """What a call gives: an instance of a class, or what a docstring or annotation says."""
        called = self._kind(node.func)
        if called is not None and called.what == "class":
            return _Kind("instance", called.name)
        if isinstance(node.func, ast.Name):
            return self._returns.get(node.func.id)
        if not isinstance(node.func, ast.Attribute):
            return None
        owner = self._kind(node.func.value)
        if owner is None or owner.what != "instance":
            return None
        doc = (members_of(owner.name, self._api) or {}).get(node.func.attr, {}).get("doc", "")
        given = re.search(r"-> tensorrt(?:\.tensorrt)?\.([\w.]+)", doc)
        return _Kind("instance", given[1]) if given else None

    def _annotated(self, node: ast.expr) -> _Kind | None:
        """The class of TensorRT in an annotation: itself, of a list, or None as well."""
        for inner in _walked(node):
            if isinstance(inner, ast.Attribute):
                kind = self._kind(inner)
                if kind is not None and kind.what == "class":
                    return _Kind("instance", kind.name)
        return None


def _walked(node: ast.expr) -> Iterator[ast.AST]:
    """An annotation's parts; a dict or tuple of things is no thing of TensorRT."""
    if isinstance(node, ast.BinOp):
        yield from _walked(node.left)
        yield from _walked(node.right)
    elif isinstance(node, ast.Subscript):
        if isinstance(node.value, ast.Name) and node.value.id == "list":
            yield from _walked(node.slice)
    else:
        yield node


def _is_self(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    )


@cache
def sources() -> tuple[Path, ...]:
    """Our files that speak to TensorRT."""
    import flowtrack

    package = Path(flowtrack.__file__).parent
    found = sorted(package.rglob("*.py"))
    return tuple(path for path in found if "import tensorrt as trt" in path.read_text())
