"""Recipes: everything that decides what a training produces, in one readable file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

from flowtrack.errors import BundleError, OptionError
from flowtrack.schema import check_limits, limits, read_dataclass
from flowtrack.skeleton import skeleton_named
from flowtrack.training.data.crops import CropOptions
from flowtrack.training.data.views import ViewOptions
from flowtrack.training.flow_augment import FlowAugmentOptions

T = TypeVar("T")

Trunk = Literal["resnet", "efficientnet-lite0"]


def _check_input(size: tuple[int, int], multiple: int) -> None:
    if min(size) < multiple or size[0] % multiple or size[1] % multiple:
        raise OptionError(
            f"input is {list(size)}, expected height and width as multiples of {multiple}"
        )


def _check_trunk(network: PoseNetworkOptions | DetectorNetworkOptions) -> None:
    """Refuse an entry that the trunk would ignore."""
    if network.trunk == "resnet":
        if network.frozen:
            raise OptionError(
                f"frozen is {network.frozen}, but only the trunk efficientnet-lite0 can be frozen"
            )
        return
    fresh = type(network).__dataclass_fields__
    for name in ("depth", "width"):
        if (value := getattr(network, name)) != fresh[name].default:
            raise OptionError(f"{name} is {value}, but the trunk {network.trunk} has no {name}")


@dataclass(frozen=True)
class Source:
    """Annotated pictures of people; rendered ones are written in COCO's layout.

    Attributes:
        kind: whose files these are.
        annotations: JSON file (coco) or folder of JSON files (posetrack), below the data folder.
        pictures: folder of pictures, below the data folder.
        share: of all samples, relative to the other sources.
        held_out: share of the pictures kept from training, for validation.
        least_joints: people with fewer labelled joints are left out (pose).
        hidden_weight: weight of joints that are labelled but hidden (pose).
        absent_weight: weight of an empty heatmap for joints without a label (pose): above 0 where
            that means that they are not in the picture, as in rendered ones.
    """

    kind: Literal["coco", "posetrack17", "posetrack18"]
    annotations: str
    pictures: str
    share: float = field(default=1.0, metadata=limits(exclusiveMinimum=0))
    held_out: float = field(default=0.0, metadata=limits(minimum=0, maximum=0.9))
    least_joints: int = field(default=1, metadata=limits(minimum=1))
    hidden_weight: float = field(default=1.0, metadata=limits(minimum=0, maximum=1))
    absent_weight: float = field(default=0.0, metadata=limits(minimum=0, maximum=1))


@dataclass(frozen=True)
class Schedule:
    """How long, how fast and how exactly a network is trained.

    Attributes:
        samples: to train on in all; 0 means `epochs` times the data.
        epochs: passes over the data.
        batch: samples a step, over all processes and accumulated parts.
        accumulate: parts that a batch is computed in, one after the other.
        optimizer: adam, adamw or sgd (momentum 0.9).
        learning_rate: at its highest.
        trunk_rate: multiplies the learning rate of the network's trunk: below 1 for weights that
            know something already.
        weight_decay: of weights; biases and normalisation are left alone.
        decay: steps (multiplied by `factor` at each of `milestones`) or cosine (down to zero).
        milestones: in epochs.
        factor: see `decay`.
        warmup: share of all steps in which the learning rate rises linearly from zero.
        clip: largest norm of a step's gradient; 0 leaves it alone.
        average: decay of the running average of the weights; 0 keeps none. The average is what is
            validated and written.
        validations: how often to validate, evenly spread; the last is at the end.
    """

    samples: int = field(default=0, metadata=limits(minimum=0))
    epochs: float = field(default=1.0, metadata=limits(exclusiveMinimum=0))
    batch: int = field(default=128, metadata=limits(minimum=1))
    accumulate: int = field(default=1, metadata=limits(minimum=1))
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = field(default=1e-3, metadata=limits(exclusiveMinimum=0))
    trunk_rate: float = field(default=1.0, metadata=limits(exclusiveMinimum=0, maximum=1))
    weight_decay: float = field(default=0.0, metadata=limits(minimum=0))
    decay: Literal["steps", "cosine"] = "steps"
    milestones: tuple[float, ...] = ()
    factor: float = field(default=0.1, metadata=limits(exclusiveMinimum=0, maximum=1))
    warmup: float = field(default=0.0, metadata=limits(minimum=0, maximum=1))
    clip: float = field(default=0.0, metadata=limits(minimum=0))
    average: float = field(default=0.0, metadata=limits(minimum=0, maximum=0.99999))
    validations: int = field(default=10, metadata=limits(minimum=1))

    def __post_init__(self) -> None:
        if self.accumulate < 1 or self.batch % self.accumulate:
            raise OptionError(
                f"accumulate is {self.accumulate}, expected a divisor of the batch {self.batch}"
            )
        if list(self.milestones) != sorted(self.milestones):
            raise OptionError(f"milestones are {self.milestones}, expected rising epochs")


@dataclass(frozen=True)
class PoseNetworkOptions:
    """A pose network.

    Attributes:
        trunk: resnet, or efficientnet-lite0 for small devices, which has neither depth nor width.
        frozen: of efficientnet-lite0: how many of the first blocks are not trained.
        depth, width, deconv_channels, deconv_kernel, laterals: see `PoseResNet`.
        input: height and width of a crop in pixels.
        skeleton: name of the skeleton that it predicts.
        sigma: of the targets, in heatmap cells.
        backbone: checkpoint of a classifier to start from: torchvision's layout for a ResNet, that
            of EfficientNet-Lite-PyTorch for efficientnet-lite0.
    """

    trunk: Trunk = "resnet"
    frozen: int = field(default=0, metadata=limits(minimum=0))
    depth: Literal[18, 34, 50, 101, 152] = 50
    width: float = field(default=1.0, metadata=limits(exclusiveMinimum=0))
    deconv_channels: tuple[int, ...] = field(default=(256, 256, 256), metadata=limits(minimum=1))
    deconv_kernel: Literal[2, 3, 4] = 4
    laterals: bool = False
    input: tuple[int, int] = (256, 192)
    skeleton: str = "coco-17"
    sigma: float = field(default=2.0, metadata=limits(exclusiveMinimum=0))
    backbone: str = ""

    def __post_init__(self) -> None:
        _check_trunk(self)
        _check_input(self.input, 32)
        skeleton_named(self.skeleton)


@dataclass(frozen=True)
class PoseRecipe:
    """Training of a pose network."""

    data: tuple[Source, ...] = field(metadata=limits(minItems=1))
    validation: tuple[Source, ...] = ()
    network: PoseNetworkOptions = PoseNetworkOptions()
    augment: CropOptions = field(default_factory=CropOptions)
    schedule: Schedule = Schedule()
    seed: int = field(default=0, metadata=limits(minimum=0))
    task: Literal["pose"] = "pose"


@dataclass(frozen=True)
class DetectorNetworkOptions:
    """A person detector.

    Attributes:
        trunk, frozen: as for a pose network.
        depth, width, deconv_channels, head_channels, laterals: see `CenterDetector`.
        input: height and width of a view in training, pixels.
        validated: height and width of the letterboxed pictures in validation; None: as `input`.
        backbone: checkpoint of a classifier to start from: torchvision's layout for a ResNet, that
            of EfficientNet-Lite-PyTorch for efficientnet-lite0.
    """

    trunk: Trunk = "resnet"
    frozen: int = field(default=0, metadata=limits(minimum=0))
    depth: Literal[18, 34, 50, 101, 152] = 18
    width: float = field(default=1.0, metadata=limits(exclusiveMinimum=0))
    deconv_channels: tuple[int, int, int] = field(
        default=(256, 256, 256), metadata=limits(minimum=1)
    )
    head_channels: int = field(default=64, metadata=limits(minimum=1))
    laterals: bool = False
    input: tuple[int, int] = (512, 512)
    validated: tuple[int, int] | None = None
    backbone: str = ""

    def __post_init__(self) -> None:
        _check_trunk(self)
        _check_input(self.input, 32)
        if self.validated is not None:
            _check_input(self.validated, 32)


@dataclass(frozen=True)
class DetectorRecipe:
    """Training of a person detector."""

    data: tuple[Source, ...] = field(metadata=limits(minItems=1))
    validation: tuple[Source, ...] = ()
    network: DetectorNetworkOptions = DetectorNetworkOptions()
    augment: ViewOptions = field(default_factory=ViewOptions)
    schedule: Schedule = Schedule()
    seed: int = field(default=0, metadata=limits(minimum=0))
    task: Literal["detector"] = "detector"


@dataclass(frozen=True)
class PairSource:
    """Pictures with the flow between them.

    Attributes:
        kind: chairs (drawn in the manner of FlyingChairs), people (clips of rendered people) or
            pairs (a folder of pictures and .flo files).
        folders: below the data folder: of the pairs, or of pictures that serve as backgrounds and
            surfaces; chairs and people do without.
        count: pairs to draw.
        size: height and width of drawn pairs in pixels.
        scale: size of everything in pairs of the kind chairs; 1 is FlyingChairs at 512 x 384.
        motion: multiplies the motions in these alone.
        share: of all samples, relative to the other sources.
        held_out: share of the pairs kept from training, for validation.
        kept: keep the pairs in memory, 8 bytes a pixel, instead of drawing or reading them anew.
    """

    kind: Literal["chairs", "people", "pairs"]
    folders: tuple[str, ...] = ()
    count: int = field(default=1000, metadata=limits(minimum=1))
    size: tuple[int, int] = field(default=(384, 512), metadata=limits(minimum=64))
    scale: float = field(default=1.0, metadata=limits(exclusiveMinimum=0))
    motion: float = field(default=1.0, metadata=limits(minimum=0))
    share: float = field(default=1.0, metadata=limits(exclusiveMinimum=0))
    held_out: float = field(default=0.0, metadata=limits(minimum=0, maximum=0.9))
    kept: bool = True

    def __post_init__(self) -> None:
        for name in ("scale", "motion"):
            if self.kind != "chairs" and getattr(self, name) != 1:
                raise OptionError(
                    f"{name} is {getattr(self, name)} in a source of the kind {self.kind}, which "
                    "has none; leave it out, or take the kind chairs"
                )


@dataclass(frozen=True)
class FlowNetworkOptions:
    """A flow network.

    Attributes:
        width: see `FlowNet2S`.
        input: height and width of the crops in training, pixels.
        reduction: of each level's end-point error, see `MultiScaleLoss`.
    """

    width: float = field(default=1.0, metadata=limits(exclusiveMinimum=0))
    input: tuple[int, int] = (320, 448)
    reduction: Literal["mean", "sum"] = "mean"

    def __post_init__(self) -> None:
        _check_input(self.input, 64)


@dataclass(frozen=True)
class FlowRecipe:
    """Training of a flow network."""

    data: tuple[PairSource, ...] = field(metadata=limits(minItems=1))
    validation: tuple[PairSource, ...] = ()
    network: FlowNetworkOptions = FlowNetworkOptions()
    augment: FlowAugmentOptions = field(default_factory=FlowAugmentOptions)
    schedule: Schedule = Schedule()
    seed: int = field(default=0, metadata=limits(minimum=0))
    task: Literal["flow"] = "flow"


def builtin_recipes() -> list[str]:
    """Names of the recipes that come with flowtrack."""
    folder = resources.files("flowtrack.training") / "recipes"
    names = (item.name for item in folder.iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def recipe_text(name: str) -> str:
    """The text of a recipe: one that comes with flowtrack, by name, or any TOML file, by path.

    Raises:
        OptionError: there is no such recipe.
    """
    if name in builtin_recipes():
        folder = resources.files("flowtrack.training") / "recipes"
        return (folder / f"{name}.toml").read_text(encoding="utf-8")
    path = Path(name)
    if path.suffix == ".toml" and path.is_file():
        return path.read_text(encoding="utf-8")
    raise OptionError(
        f"no recipe {name!r}; expected the path of a .toml file, or one of "
        f"{', '.join(builtin_recipes())}"
    )


def read_recipe(kind: type[T], name: str, changes: Sequence[str] = ()) -> T:
    """A recipe, with single entries changed.

    Args:
        kind: PoseRecipe, DetectorRecipe or FlowRecipe.
        name: of the recipe, see `recipe_text`; `name:variant` takes one of its variants.
        changes: such as `schedule.batch=64`; the value is written as in TOML.

    Raises:
        OptionError: no such recipe or variant, or an entry is unknown or out of range.
    """
    base, _, variant = name.partition(":")
    try:
        content = tomllib.loads(recipe_text(base))
    except ValueError as error:  # no TOML, or no UTF-8
        raise OptionError(f"recipe {base}: {error}") from error
    variants = content.pop("variants", {})
    if not isinstance(variants, dict) or not all(isinstance(v, dict) for v in variants.values()):
        raise OptionError(f"recipe {base}: variants is no table of tables of changed entries")
    if variant:
        if variant not in variants:
            known = ", ".join(variants) or "none"
            raise OptionError(f"recipe {base} has no variant {variant!r}; it has {known}")
        _merge(content, variants[variant])
    for change in changes:
        _apply(content, change)
    return _recipe(kind, content, name)


def _recipe(kind: type[T], content: Mapping[str, Any], name: str) -> T:
    expected = next(item.default for item in fields(kind) if item.name == "task")  # type: ignore[arg-type]
    if content.get("task", expected) != expected:
        raise OptionError(
            f"recipe {name} trains a {content['task']} network, expected one for {expected}"
        )
    try:
        recipe = read_dataclass(kind, dict(content), f"recipe {name}")
        check_limits(recipe, f"recipe {name}")
        for part in ("data", "validation"):
            for number, source in enumerate(getattr(recipe, part)):
                check_limits(source, f"recipe {name}.{part}[{number}]")
    except BundleError as error:
        raise OptionError(str(error)) from error
    except OptionError as error:  # two entries that contradict each other
        raise OptionError(f"recipe {name}: {error}") from error
    return recipe


def _merge(content: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Put a variant's entries over a recipe's; tables are merged, everything else is replaced."""
    for name, value in changes.items():
        if isinstance(value, dict) and isinstance(content.get(name), dict):
            _merge(content[name], value)
        else:
            content[name] = value


def _apply(content: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise OptionError(f"{change!r} is no change of a recipe; expected e.g. schedule.batch=64")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is text
    for name in reversed(key.split(".")):
        value = {name: value}
    _merge(content, value)
