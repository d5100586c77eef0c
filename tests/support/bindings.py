"""TensorRT's real Python bindings on a machine without a GPU, and what they lack of what we use.

The bindings load once three empty libraries stand in for TensorRT's own. Nothing can be built or
run that way, but every class, method, signature and enum can be looked at.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.tensorrt_uses import Use, members_of

MAJORS = (10, 11)

_SYMBOLS = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion",
    "initLibNvInferPlugins", "getPluginRegistry", "getBuilderPluginRegistry",
    "getInferLibVersion", "getLogger",
)  # fmt: skip

_DUMP = """
import inspect, json, sys
import tensorrt

def members(cls):
    found = {}
    for name in dir(cls):
        member = getattr(cls, name)
        if name.startswith("__") and name != "__init__":
            continue
        if inspect.isclass(member):
            found[name] = {"members": members(member)}
            continue
        prop = isinstance(member, property)
        instance = type(member).__name__ == cls.__name__
        found[name] = {
            "doc": member.__doc__ or "",
            "call": callable(member) and not instance,
            "written": prop and member.fset is not None,
            "type": cls.__name__ if instance else "",
        }
    return found

def described(value):
    if inspect.isclass(value):
        return {"members": members(value)}
    return {"doc": "", "call": callable(value)}

names = [name for name in vars(tensorrt) if not name.startswith("__")]
json.dump({name: described(getattr(tensorrt, name)) for name in names}, sys.stdout)
"""


def folder_of(major: int) -> Path:
    """Where `make dev` puts the bindings of a major version."""
    return Path(sys.prefix) / f"tensorrt-{major}" / "tensorrt_bindings"


def why_not(major: int) -> str | None:
    """Why the bindings cannot be looked at here; None if they can."""
    if not folder_of(major).is_dir():
        return f"the bindings of TensorRT {major} are not installed; `make dev` does it"
    return None if shutil.which("cc") else "no C compiler"


def environment(major: int, scratch: Path) -> dict[str, str]:
    """Variables with which `import tensorrt` finds the bindings, and they find their libraries."""
    code = "".join(f"void *{name}(void) {{ return 0; }}\n" for name in _SYMBOLS)
    source = scratch / "stub.c"
    source.write_text(code)
    for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        name = f"lib{library}.so.{major}"
        subprocess.run(
            ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", scratch / name, source],
            check=True,
        )
    return {
        **os.environ,
        "LD_LIBRARY_PATH": str(scratch),
        "PYTHONPATH": os.pathsep.join([str(folder_of(major)), os.environ.get("PYTHONPATH", "")]),
    }


def look_at(major: int, scratch: Path) -> dict[str, Any]:
    """Every name of the bindings with its members, their docstrings, and what can be set."""
    done = subprocess.run(
        [sys.executable, "-c", _DUMP],
        env=environment(major, scratch),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    api: dict[str, Any] = json.loads(done.stdout)
    if re.search("^__version__ = ", (folder_of(major) / "__init__.py").read_text(), re.M):
        api["__version__"] = {"doc": "", "call": False}  # which only the package around them has
    return api


def problems(uses: list[Use], api: Mapping[str, Any]) -> list[str]:
    """Everything that our source touches and these bindings do not have."""
    return [f"{use.place}: {text}" for use in uses for text in _problem(use, api)]


def _problem(use: Use, api: Mapping[str, Any]) -> Iterator[str]:
    members = members_of(use.owner, api)
    full = f"{use.owner}.{use.name}".lstrip(".")
    if members is None or use.name not in members:
        yield f"there is no {full}"
        return
    member = members[use.name]
    if use.written and not member.get("written"):
        yield f"{full} cannot be set"
    signatures = _signatures(member, use.name)
    if use.overrides is not None and all(len(own) != use.overrides for own in signatures):
        yield f"{full} has other parameters than the method in its place"
    if use.call is None:
        return
    if "members" in member:  # a class: its constructor
        signatures = _signatures(member["members"]["__init__"], "__init__")
    elif not member["call"]:
        yield f"{full} is no method"
        return
    positional, keywords = use.call
    if signatures and not any(_takes(own[1:], positional, keywords) for own in signatures):
        yield f"{full} does not take {positional} arguments and {list(keywords)}"


Parameter = tuple[str, bool]  # name, and whether it has a default


def _signatures(member: Mapping[str, Any], name: str) -> list[list[Parameter]]:
    """The parameters of each overload, self included, from a docstring of pybind11."""
    lines = re.findall(rf"^(?:\d+\. )?{name}\((.*)\) -> ", member.get("doc", ""), re.M)
    return [_parameters(line) for line in lines if not line.startswith("*args")]


def _parameters(text: str) -> list[Parameter]:
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[(<{") - (character in "])>}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [(part.partition(":")[0].strip(), "=" in part) for part in parts if part.strip()]


def _takes(parameters: list[Parameter], positional: int, keywords: tuple[str, ...]) -> bool:
    if positional > len(parameters):
        return False
    rest = dict(parameters[positional:])
    required = {name for name, default in rest.items() if not default}
    return set(keywords) <= set(rest) and required <= set(keywords)
