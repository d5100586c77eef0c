"""`flowtrack eval posetrack` on a bundle: a plain run, or the paper's Table 5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowtrack.cli.clip_data import ClipData
from flowtrack.cli.console import note, print_json, print_table, progress_bar
from flowtrack.cli.eval_posetrack_show import show_poses
from flowtrack.errors import OptionError

if TYPE_CHECKING:
    from flowtrack.evaluation.deployed.ablation import Contender
    from flowtrack.evaluation.deployed.ablation_report import AblationResult
    from flowtrack.evaluation.deployed.networks import Networks
    from flowtrack.evaluation.deployed.posetrack_set import TruthClip
    from flowtrack.evaluation.sequences import PoseSequence


@dataclass(frozen=True)
class RunRequest:
    """What is asked for on the command line; None or empty where an option is not given."""

    data: ClipData
    bundles: tuple[Path, ...]
    out: Path | None
    joints: str | None
    device: str
    threads: int
    ablation: bool
    weaken: float | None
    pose_nms: bool
    paper: bool | None
    cache: Path | None

    def check(self) -> None:
        """Refuse what cannot be done, and what would be ignored.

        Raises:
            OptionError: options are missing, or do not go together.
        """
        self.data.check()
        if self.out is not None and self.out.is_file():
            raise OptionError(f"--out {self.out} is a file, expected a folder; name another one")
        if self.ablation:
            if self.out is not None and self.data.synthetic is None:
                raise OptionError("--out would be ignored (--ablation writes no results; --html "
                                  "keeps its tables); leave it out")  # fmt: skip
            return
        given = {
            "weaken": self.weaken is not None, "pose-nms": self.pose_nms,
            "paper": self.paper is not None, "cache": self.cache is not None,
        }  # fmt: skip
        ignored = [f"--{name}" for name, there in given.items() if there]
        if ignored:
            raise OptionError(f"{', '.join(ignored)} would be ignored (they belong to --ablation)")
        if len(self.bundles) > 1:
            raise OptionError(f"{len(self.bundles)} bundles are given, expected one; several are "
                              "compared with --ablation")  # fmt: skip
        folder = self.data.truth_folder
        if self.out is not None and folder is not None and self.out.resolve() == folder:
            raise OptionError(f"--out {self.out} holds the truth, which results of the same name "
                              "would replace; name another folder")  # fmt: skip

    @property
    def clips_folder(self) -> Path | None:
        """Where rendered clips are kept."""
        return None if self.out is None else self.out / "clips"

    def networks(self) -> list[Networks]:
        """The bundles' networks, loaded."""
        from flowtrack.evaluation.deployed.networks import open_networks
        from flowtrack.runtime.default import default_bundle_path

        paths = self.bundles or (default_bundle_path(),)
        loaded = [open_networks(path, self.device, self.threads) for path in paths]
        note(f"running on {loaded[0].device}")
        return loaded


def evaluate_run(request: RunRequest, as_json: bool, html: Path | None) -> None:
    """Do what is asked for and show it.

    Raises:
        OptionError: options are missing, or do not go together.
    """
    request.check()
    if request.ablation:
        evaluate_ablation(request, as_json, html)
    else:
        evaluate_bundle(request, as_json, html)


def evaluate_bundle(request: RunRequest, as_json: bool, html: Path | None) -> None:
    """Track a data set with a bundle as it is, and show how well that went."""
    from flowtrack.evaluation.clip_counts import count_clip
    from flowtrack.evaluation.posetrack import PoseTrackScores
    from flowtrack.evaluation.sequences import joint_rows
    from flowtrack.report import Report

    rows = joint_rows(request.joints or request.data.joints)
    (networks,) = request.networks()
    with request.data.opened(request.clips_folder) as clips:
        results = _tracked(networks, clips, request.out)
        scores = PoseTrackScores(rows, tuple(count_clip(clip.truth, own) for clip, own in results))

        def illustrate(report: Report) -> None:
            from flowtrack.evaluation.deployed.posetrack_pictures import add_worst_frames

            add_worst_frames(report, results, rows)

        facts = {"bundle": networks.name, "data_set": request.data.name, "device": networks.device}
        what = f"{networks.name} on {request.data.name}"
        show_poses(scores, what, as_json, html, facts=facts, illustrate=illustrate)


def _tracked(
    networks: Networks, clips: Sequence[TruthClip], out: Path | None
) -> list[tuple[TruthClip, PoseSequence]]:
    from flowtrack.evaluation.deployed.posetrack import run_clips

    pipeline = networks.pipeline(networks.manifest.tracker_options)
    with progress_bar() as bar:
        task = bar.add_task("tracking", total=sum(map(len, clips)))
        return list(run_clips(pipeline, clips, out, progress=lambda: bar.advance(task)))


def evaluate_ablation(request: RunRequest, as_json: bool, html: Path | None) -> None:
    """Track a data set with all settings of Table 5, and show the table."""
    from flowtrack.evaluation.deployed.ablation import contenders, is_posetrack
    from flowtrack.evaluation.deployed.weakening import Weakening

    weakening = None if request.weaken is None else Weakening(request.weaken)
    blocks = contenders(request.networks(), weakening)
    with request.data.opened(request.clips_folder) as clips:
        result = _ablation(request, clips, blocks)
        paper = is_posetrack(clips) if request.paper is None else request.paper
    if html is not None:
        result.report(request.data.name, paper=paper).write(html)
        note(f"wrote {html}")
    if as_json:
        print_json({"data_set": request.data.name, **result.as_dict()})
    else:
        _show(request, result, paper)


def _ablation(
    request: RunRequest, clips: Sequence[TruthClip], blocks: Sequence[Contender]
) -> AblationResult:
    from flowtrack.evaluation.deployed.ablation import ROWS, run_ablation
    from flowtrack.evaluation.deployed.ablation_report import AblationResult
    from flowtrack.evaluation.deployed.memory import Memory

    with Memory(request.cache) as memory, progress_bar() as bar:
        total = sum(map(len, clips)) * len(blocks) * len(ROWS)
        task = bar.add_task("all settings", total=total)
        rows = run_ablation(
            clips, blocks, memory, joints=request.joints or request.data.joints,
            pose_nms=request.pose_nms, progress=lambda: bar.advance(task),
        )  # fmt: skip
    return AblationResult.of(rows)


def _show(request: RunRequest, result: AblationResult, paper: bool) -> None:
    """Tables for people."""
    print_table(result.table(paper=paper), f"Table 5 on {request.data.name}, in percent")
    print_table(result.claim_table(), "What the paper claims, and what these data say")
    note(result.about_poses())
