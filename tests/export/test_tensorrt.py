"""Building plans, over the double of TensorRT: options, timing cache, progress, errors."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from flowtrack.errors import EngineError, ExportError, OptionError, OutputError
from flowtrack.export.tensorrt import (
    BuildOptions,
    Phases,
    build_plan,
    timing_cache_path,
    wanted_fingerprint,
)
from flowtrack.runtime.engines.tensorrt import open_tensorrt, this_machine
from flowtrack.runtime.engines.tensorrt.device import open_gpu
from tests.support.graphs import assemble, helper, pooled_heatmaps, tiny_bundle
from tests.support.tensorrt_double import opened, tensorrt_double
from tests.support.tensorrt_plans import plan_of

GRAPH = pooled_heatmaps(5, 16, 12, 4)
PROFILES = tuple({"data": ((size, 3, 16, 12),) * 3} for size in (1, 4))


@pytest.fixture(params=["10.16.1.11", "11.4.0.106"])
def world(request, monkeypatch):
    with tensorrt_double(monkeypatch, request.param) as world:
        yield world
        assert world.stack == []


def fingerprint(**options):
    pose, _ = tiny_bundle()
    file, machine = pose.pose.file, this_machine(open_gpu(0))
    return wanted_fingerprint(file, machine, PROFILES, ("data",), BuildOptions(**options))


def test_a_plan_holds_its_profiles_and_the_defaults(world):
    head, graph = opened(build_plan(GRAPH, fingerprint(), open_gpu(0)))
    assert graph == GRAPH
    assert head.profiles == [{"data": [[size, 3, 16, 12]] * 3} for size in (1, 4)]
    assert (head.level, head.workspace, head.ampere, head.flags) == (3, None, False, [])


def test_every_option_reaches_the_builder(world):
    options = BuildOptions(5, 0.5, True, True, True, True)
    wanted = fingerprint(**vars(options))
    head, _ = opened(build_plan(GRAPH, wanted, open_gpu(0)))
    assert (head.level, head.workspace, head.ampere) == (5, 1 << 29, True)
    assert head.flags == ["REFIT", "VERSION_COMPATIBLE", "WEIGHT_STREAMING"]
    for name, value in vars(options).items():
        assert getattr(wanted, name) == value


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"level": -1}, "level is -1, expected 0 to 5"),
        ({"level": 6}, "level is 6"),
        ({"workspace_gb": 0}, "workspace is 0 GB, expected more than 0"),
        ({"workspace_gb": float("inf")}, "workspace is inf GB"),
        ({"workspace_gb": float("nan")}, "workspace is nan GB"),
    ],
)
def test_wrong_options_are_refused_before_work_starts(option, message):
    with pytest.raises(OptionError, match=message):
        BuildOptions(**option)


def test_parser_errors_name_the_nodes(world):
    world.failing["parse"] = ("Conv", "AveragePool")
    nodes = [helper.make_node("AveragePool", ["data"], ["maps"], "pool_1", kernel_shape=[2, 2])]
    graph = assemble(
        {"data": ("float32", ("N", 3, 16, 12))}, nodes, {"maps": ("float32", ("N", 3, 15, 11))}
    )
    message = r"node 'pool_1' \(AveragePool\): No importer registered .* Use device `cuda`"
    with pytest.raises(ExportError, match=message):
        build_plan(graph, fingerprint(), open_gpu(0))
    assert world.calls["build_serialized_network"] == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("build_serialized_network", "TensorRT built no plan.*said: out of memory.*--workspace"),
        ("add_optimization_profile", "does not take the profile .* --buckets or another --frame"),
    ],
)
def test_a_failing_builder_is_told_with_what_to_do(world, call, message):
    world.failing[call] = True
    with pytest.raises(EngineError, match=message):
        build_plan(GRAPH, fingerprint(), open_gpu(0))


def test_the_timing_cache_is_kept_and_used_again(world, tmp_path):
    place = tmp_path / "deep" / "cache.timing"
    build_plan(GRAPH, fingerprint(), open_gpu(0), place)
    size = b"+%d" % len(GRAPH)
    assert place.read_bytes() == b"timing" + size
    build_plan(GRAPH, fingerprint(), open_gpu(0), place)
    assert place.read_bytes() == b"timing" + 2 * size
    place.write_bytes(b"of another GPU")
    build_plan(GRAPH, fingerprint(), open_gpu(0), place)
    assert place.read_bytes() == b"timing" + size
    assert list(place.parent.iterdir()) == [place]


def test_a_timing_cache_that_cannot_be_is_told(world, tmp_path):
    with pytest.raises(OutputError, match=r"timing cache .* cannot be read"):
        build_plan(GRAPH, fingerprint(), open_gpu(0), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"timing cache .* cannot be"):
        build_plan(GRAPH, fingerprint(), open_gpu(0), tmp_path / "file" / "x.timing")


def test_each_gpu_and_version_has_a_timing_cache_of_its_own(world, tmp_path):
    here = this_machine(open_gpu(0))
    name = timing_cache_path(tmp_path, here).name
    assert name == f"Test-GPU-{here.tensorrt}.timing"
    others = (replace(here, gpu="Other"), replace(here, tensorrt="10.1.0.1"))
    assert name not in {timing_cache_path(tmp_path, other).name for other in others}


def test_progress_rises_to_the_end(world):
    told = []
    build_plan(GRAPH, fingerprint(), open_gpu(0), None, lambda *step: told.append(step))
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert {phase for phase, _ in told} == {"Building Engine", "Computing layers", "Tuning"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("from the caller")])
def test_what_the_caller_raises_stops_the_build_and_comes_out(world, error, tmp_path):
    told = []

    def stop(phase, share):
        told.append(phase)
        if share > 0.3:
            raise error

    with pytest.raises(type(error)):
        build_plan(GRAPH, fingerprint(), open_gpu(0), tmp_path / "x.timing", stop)
    assert "Tuning" not in told
    assert world.calls["build step"] == len(told) - 2 == 2  # but for where two phases begin
    assert not (tmp_path / "x.timing").exists()


def test_phases_within_phases():
    phases = Phases()
    phases.start("all", None, 4)
    phases.complete("all", 0)
    phases.start("part", "all", 2)
    assert phases.share("part") == 0.25
    phases.complete("part", 0)
    assert phases.share("part") == 0.25 + 0.125
    phases.start("bit", "part", 1)
    phases.complete("bit", 0)
    assert phases.share("bit") == 0.25 + 0.25
    phases.finish("part")
    phases.complete("all", 3)
    assert phases.share("all") == 1.0
    phases.start("alone", "unheard of", 0)
    assert phases.share("alone") == 0.0
    phases.start("part", "all", 2)  # a name may come again
    assert phases.share("part") == 1.0


def test_a_built_plan_runs(world):
    engine = open_tensorrt(*plan_of(GRAPH, PROFILES, ("data",)))
    batch = np.ones((3, 3, 16, 12), np.float32)
    assert engine.infer({"data": batch})["maps"].shape == (3, 5, 4, 3)
    assert engine.scratch_bytes == 4096
    assert "tensorrt" in sys.modules
    engine.close()
