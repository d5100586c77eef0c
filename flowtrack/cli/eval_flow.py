"""`flowtrack eval flow`: end-point error and Fl of optical flow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flowtrack.cli.console import command, note, print_json, progress_bar
from flowtrack.cli.devices import DEVICE_HELP
from flowtrack.errors import OptionError

if TYPE_CHECKING:
    from flowtrack.evaluation.deployed.flow import FlowMethod
    from flowtrack.evaluation.flow import FlowScores
    from flowtrack.evaluation.flow_pairs import PairFiles

_RUN = "Running a bundle"

_PRESETS: dict[str, Literal["ultrafast", "fast", "medium"]] = {
    "dis": "fast", "dis-ultrafast": "ultrafast", "dis-medium": "medium"
}  # fmt: skip
_METHODS = ("bundle", *_PRESETS, "zero")

_Truth = Annotated[Path | None, typer.Option(help="Folder with the true .flo files, or one file.")]
_Results = Annotated[
    Path | None, typer.Option(help="Evaluate these .flo files, named as the truth's.")
]
_Data = Annotated[
    Path | None,
    typer.Option(
        help="Folder of pairs with their flow: FlyingChairs, flownet2's samples, synthetic clips.",
        rich_help_panel=_RUN,
    ),
]
_Synthetic = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Render so many pairs and evaluate on them.", rich_help_panel=_RUN
    ),
]
_Split = Annotated[
    Path | None,
    typer.Option(
        help="Evaluate on the validation pairs of this list (FlyingChairs_train_val.txt).",
        rich_help_panel=_RUN,
    ),
]
_Bundle = Annotated[
    Path | None,
    typer.Option(
        help="Networks: a folder or .zip file.", show_default="those of the package",
        rich_help_panel=_RUN,
    ),
]  # fmt: skip
_Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method", help=f"What to measure, may be repeated: {', '.join(_METHODS)}.",
        show_default="bundle",
        rich_help_panel=_RUN,
    ),
]  # fmt: skip
_Baselines = Annotated[
    bool,
    typer.Option("--baselines/--no-baselines", help="No motion and OpenCV's DIS for comparison."),
]
_Out = Annotated[
    Path | None,
    typer.Option(help="Folder that gets the flow, and rendered pairs.", rich_help_panel=_RUN),
]
_Device = Annotated[
    str | None,
    typer.Option(help=DEVICE_HELP, show_default="auto", rich_help_panel=_RUN),
]
_Threads = Annotated[
    int | None,
    typer.Option(
        min=0, help="CPU threads of the network's run; 0: as many as cores.", show_default="0",
        rich_help_panel=_RUN,
    ),
]  # fmt: skip
_AsJson = Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")]
_Html = Annotated[Path | None, typer.Option(help="Write a page with curves and the worst pairs.")]


@dataclass(frozen=True)
class _Request:
    """What is asked for on the command line; None where an option is not given."""

    truth: Path | None
    results: Path | None
    data: Path | None
    synthetic: int | None
    split: Path | None
    bundle: Path | None
    method: tuple[str, ...]
    baselines: bool
    out: Path | None
    device: str | None
    threads: int | None
    html: Path | None

    def check(self) -> None:
        """Refuse what cannot be done, and what would be ignored.

        Raises:
            OptionError: options are missing, or do not go together.
        """
        if (self.truth is None) != (self.results is None):
            raise OptionError("--truth and --results go together: name both, or --data FOLDER")
        given = [name for name in ("truth", "data", "synthetic") if getattr(self, name) is not None]
        if len(given) != 1:
            raise OptionError(
                f"{' and '.join(f'--{name}' for name in given) or 'nothing'} is given to evaluate "
                "on; expected one of: --truth with --results, --data FOLDER, --synthetic N"
            )
        if self.truth is not None:
            names = ("split", "bundle", "method", "out", "device", "threads")
            self._refuse("--results runs no method", *names)
        if self.data is None:
            self._refuse("--split is of the pairs in --data", "split")
        for name in self.method:
            if name not in _METHODS:
                raise OptionError(f"unknown method {name!r}; known are {', '.join(_METHODS)}")
        if self.method and "bundle" not in self.method:
            self._refuse("no bundle is among the methods", "bundle", "device", "threads")
        if len(set(self.method)) != len(self.method):
            raise OptionError(f"--method {', '.join(self.method)} repeats; name each once")
        if self.out is not None and self.out.is_file():
            raise OptionError(f"--out {self.out} is a file, expected a folder; name another one")
        if self.html is not None and self.html.is_dir():
            raise OptionError(f"--html {self.html} is a folder, expected a file; name another one")

    def _refuse(self, reason: str, *names: str) -> None:
        ignored = [f"--{name}" for name in names if getattr(self, name) not in (None, ())]
        if ignored:
            raise OptionError(f"{', '.join(ignored)} would be ignored ({reason}); leave it out")


@command
def flow(
    truth: _Truth = None,
    results: _Results = None,
    data: _Data = None,
    synthetic: _Synthetic = None,
    split: _Split = None,
    bundle: _Bundle = None,
    method: _Methods = None,
    baselines: _Baselines = True,
    out: _Out = None,
    device: _Device = None,
    threads: _Threads = None,
    as_json: _AsJson = False,
    html: _Html = None,
) -> None:
    """End-point error and Fl of optical flow: of result files, or of a bundle through the runtime.

    Result files: --truth FOLDER --results FOLDER. A bundle: --data FOLDER or --synthetic N; no
    motion and OpenCV's DIS stand beside it. With --out, what was estimated (and rendered) is kept
    and can be evaluated again as result files.
    """
    request = _Request(
        truth, results, data, synthetic, split, bundle, tuple(method or ()), baselines, out, device,
        threads, html,
    )  # fmt: skip
    request.check()
    run = _run_methods(request) if results is None else []
    with _pairs(request) as pairs:
        methods = run or _file_methods(request, pairs)
        scores = _measured(methods, pairs, out)
        if html is not None:
            from flowtrack.evaluation.deployed.flow_report import flow_report

            name = truth or data or f"{synthetic} rendered pairs"
            flow_report(f"Optical flow on {name}", methods, scores, pairs).write(html)
            note(f"wrote {html}")
    if as_json:
        print_json(_summary(methods, scores))
    else:
        _show(methods, scores)


def _run_methods(request: _Request) -> list[FlowMethod]:
    """What is to be measured, ready to run, and what stands beside it."""
    from flowtrack.evaluation.deployed.flow import dis, no_motion, of_bundle
    from flowtrack.runtime.default import default_bundle_path

    wanted = request.method or ("bundle",)
    beside = [name for name in ("dis", "zero") if request.baselines and name not in wanted]
    methods = []
    for name in wanted:
        if name == "bundle":
            path = request.bundle or default_bundle_path()
            methods.append(of_bundle(path, request.device or "auto", request.threads or 0))
        elif name == "zero":
            methods.append(no_motion())
        else:
            methods.append(dis(_PRESETS[name]))
    return methods + [dis(yardstick=True) if name == "dis" else no_motion() for name in beside]


def _file_methods(request: _Request, pairs: list[PairFiles]) -> list[FlowMethod]:
    from flowtrack.evaluation.deployed.flow import no_motion, of_files

    assert request.results is not None  # `check` asks for it
    methods = [of_files(request.results, pairs)]
    return [*methods, no_motion()] if request.baselines else methods


@contextmanager
def _pairs(request: _Request) -> Iterator[list[PairFiles]]:
    """The pairs to evaluate on, rendered where that is asked for."""
    from flowtrack.evaluation.flow_pairs import find_pairs, validation_pairs

    if request.truth is not None:
        yield find_pairs(request.truth, pictures=False)
    elif request.data is not None:
        pairs = find_pairs(request.data)
        yield validation_pairs(pairs, request.split) if request.split else pairs
    else:
        from tempfile import TemporaryDirectory

        from flowtrack.cli.eval_pairs import render_pairs

        assert request.synthetic is not None  # `check` asks for one of the three
        with TemporaryDirectory() as scratch:
            folder = (request.out or Path(scratch)) / "pairs"
            with progress_bar("pairs") as bar:
                task = bar.add_task("rendering", total=request.synthetic)
                render_pairs(folder, request.synthetic, lambda: bar.advance(task))
            yield find_pairs(folder)


def _measured(
    methods: list[FlowMethod], pairs: list[PairFiles], out: Path | None
) -> list[FlowScores]:
    from flowtrack.evaluation.deployed.flow import measure

    with progress_bar("pairs") as bar:
        task = bar.add_task(methods[0].name, total=len(pairs))
        return measure(methods, pairs, out=out, progress=lambda: bar.advance(task))


def _summary(methods: list[FlowMethod], scores: list[FlowScores]) -> dict[str, Any]:
    return {
        "pairs": len(scores[0].pairs),
        "pixels": scores[0].pixels,
        "methods": {
            method.name: {"what": method.what, **score.as_dict()}
            for method, score in zip(methods, scores, strict=True)
        },
    }


def _show(methods: list[FlowMethod], scores: list[FlowScores]) -> None:
    """Tables for people."""
    from rich.console import Console
    from rich.table import Table

    from flowtrack.evaluation.deployed.flow_report import group_table, summary, table

    console = Console(highlight=False)
    tables = [(summary(scores[0]), table(methods, scores))]
    if parts := group_table(methods, scores):
        tables.append(("end-point error by part of the set, px", parts))
    for title, (heading, *rows) in tables:
        shown = Table(box=None, pad_edge=False, title=title, title_justify="left")
        for index, name in enumerate(heading):
            shown.add_column(name, justify="right" if index else "left")
        for row in rows:
            shown.add_row(*row)
        console.print(shown)
    for method in methods:
        note(f"{method.name}: {method.what}")
