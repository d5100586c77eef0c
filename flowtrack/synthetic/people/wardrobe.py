"""What people look like: physique, skin, hair and clothes, drawn from a random generator."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace

import numpy as np

from flowtrack.synthetic.people.rig import Physique

Color = tuple[int, int, int]
"""Blue, green, red, 0 to 255, as on the screen."""

SKINS: tuple[Color, ...] = (
    (172, 196, 234), (150, 180, 226), (136, 166, 214), (112, 144, 200), (90, 124, 184),
    (72, 104, 160), (58, 84, 134), (46, 66, 108), (36, 52, 84),
)  # fmt: skip
HAIRS: tuple[Color, ...] = (
    (20, 20, 24), (26, 30, 38), (30, 40, 58), (36, 56, 86), (44, 74, 118), (62, 108, 160),
    (110, 160, 204), (40, 66, 140), (120, 122, 126), (196, 200, 204),
)  # fmt: skip
NEUTRALS: tuple[Color, ...] = (
    (28, 28, 30), (46, 44, 44), (70, 66, 62), (98, 96, 94), (140, 138, 136), (186, 186, 186),
    (228, 230, 232), (206, 218, 228), (120, 146, 170), (70, 96, 120), (90, 60, 40), (60, 42, 34),
)  # fmt: skip
DENIM: tuple[Color, ...] = ((92, 66, 48), (120, 88, 62), (150, 120, 92), (66, 48, 38), (58, 54, 52))

EYES: tuple[Color, ...] = ((30, 50, 80), (24, 34, 50), (120, 100, 70), (70, 110, 90))

TOPS = ("t-shirt", "long sleeves", "tank top", "shirt", "jacket", "hoodie", "coat")
BOTTOMS = ("trousers", "jeans", "shorts", "leggings", "skirt", "long skirt")
PATTERNS = (
    "plain",
    "stripes",
    "pinstripes",
    "checks",
    "blocks",
    "print",
    "number",
    "spots",
    "blotches",
)
HAIRSTYLES = ("short", "crop", "bob", "long", "ponytail", "bun", "afro", "bald", "cap", "beanie")


@dataclass(frozen=True)
class Look:
    """Everything about one person that does not move.

    Attributes:
        physique: proportions.
        skin, hair, eyes: colours.
        hairstyle: one of `HAIRSTYLES`.
        hat: colour of a cap or beanie.
        beard: 0 (none) to 1 (full).
        glasses: whether there are any.
        top, bottom: one of `TOPS` and `BOTTOMS`.
        pattern: of the top, one of `PATTERNS`.
        colors: of the top, its pattern, the bottom, the shoes, the inner shirt.
        sleeve_m: length of the sleeve along the arm.
        hem_m: height of the top's lower edge.
        leg_m: height of the lower edge of trousers or skirt.
        loose_m: how far the clothes stand off the body.
        seed: of the small things: folds, pattern, freckles.
    """

    physique: Physique
    skin: Color
    hair: Color
    eyes: Color
    hairstyle: str
    hat: Color
    beard: float
    glasses: bool
    top: str
    bottom: str
    pattern: str
    colors: tuple[Color, Color, Color, Color, Color]
    sleeve_m: float
    hem_m: float
    leg_m: float
    loose_m: float
    seed: int


def _one_of(rng: np.random.Generator, choices: tuple[Color, ...]) -> Color:
    jitter = rng.normal(0.0, 5.0, 3)
    color = np.clip(np.array(choices[int(rng.integers(len(choices)))]) + jitter, 8, 247)
    return int(color[0]), int(color[1]), int(color[2])


def cloth_color(rng: np.random.Generator) -> Color:
    """A colour as clothes have it: often neutral, sometimes bright."""
    if rng.random() < 0.5:
        return _one_of(rng, NEUTRALS)
    saturation = float(np.clip(rng.normal(0.46, 0.2), 0.08, 0.9))
    r, g, b = colorsys.hsv_to_rgb(float(rng.random()), saturation, float(rng.uniform(0.22, 0.85)))
    return int(255 * b), int(255 * g), int(255 * r)


def random_physique(rng: np.random.Generator, *, child: bool = False) -> Physique:
    """Proportions of a random person."""

    def about(mean: float, spread: float, low: float, high: float) -> float:
        return float(np.clip(rng.normal(mean, spread), low, high))

    woman = rng.random() < 0.5
    body = Physique(
        stature=about(0.93 if woman else 1.0, 0.04, 0.82, 1.1),
        weight=about(1.02, 0.13, 0.82, 1.5),
        muscle=about(0.93 if woman else 1.05, 0.08, 0.8, 1.3),
        shoulders=about(0.92 if woman else 1.03, 0.04, 0.8, 1.15),
        hips=about(1.05 if woman else 0.97, 0.05, 0.85, 1.25),
        legs=about(1.0, 0.035, 0.9, 1.1),
        arms=about(1.0, 0.03, 0.92, 1.08),
        head=about(1.03 if woman else 1.0, 0.03, 0.93, 1.1),
        bust=float(rng.uniform(0.35, 1.0)) if woman else 0.0,
    )
    if child:
        age = float(rng.uniform(0.0, 1.0))
        body = replace(
            body, stature=0.62 + 0.25 * age, head=1.42 - 0.25 * age, legs=0.9 + 0.07 * age,
            bust=0.0, shoulders=0.95, hips=0.97, muscle=0.92, weight=min(body.weight, 1.15),
        )  # fmt: skip
    return body


def random_look(rng: np.random.Generator, *, child: bool | None = None) -> Look:
    """A random person.

    Args:
        rng: where chance comes from.
        child: whether it is a child; None leaves that to chance.
    """
    if child is None:
        child = bool(rng.random() < 0.08)
    physique = random_physique(rng, child=child)
    woman = physique.bust > 0
    tops = (0.30, 0.17, 0.08, 0.15, 0.12, 0.12, 0.06)
    bottoms = (0.27, 0.30, 0.16, 0.07, 0.14, 0.06) if woman else (0.40, 0.36, 0.22, 0.02, 0.0, 0.0)
    styles = (
        (0.06, 0.05, 0.20, 0.30, 0.16, 0.09, 0.05, 0.0, 0.05, 0.04)
        if woman
        else (0.40, 0.22, 0.02, 0.03, 0.02, 0.01, 0.05, 0.09, 0.10, 0.06)
    )
    top = str(rng.choice(TOPS, p=tops))
    bottom = str(rng.choice(BOTTOMS, p=bottoms))
    sleeve = {"t-shirt": 0.19, "tank top": -0.005}.get(top, 0.55)
    if top in ("shirt", "hoodie", "long sleeves") and rng.random() < 0.3:
        sleeve = float(rng.uniform(0.22, 0.42))
    leg = {"shorts": rng.uniform(0.48, 0.70), "skirt": rng.uniform(0.48, 0.72),
           "long skirt": rng.uniform(0.14, 0.34)}.get(bottom, rng.uniform(0.05, 0.09))  # fmt: skip
    bottom_color = _one_of(rng, DENIM) if bottom == "jeans" else cloth_color(rng)
    shoes = _one_of(rng, NEUTRALS) if rng.random() < 0.7 else cloth_color(rng)
    pattern = str(rng.choice(PATTERNS, p=(0.42, 0.12, 0.05, 0.10, 0.09, 0.08, 0.06, 0.04, 0.04)))
    if rng.random() < 0.35:
        shoes = _one_of(rng, ((225, 228, 230), (30, 30, 32)))
    old = rng.random() < 0.12
    skin = _one_of(rng, SKINS)
    dark = skin[2] < 170
    return Look(
        physique=physique,
        skin=skin,
        hair=_one_of(rng, HAIRS[8:] if old and not child else HAIRS[: 4 if dark else 8]),
        eyes=_one_of(rng, EYES[: 2 if dark else 4]),
        hairstyle=str(rng.choice(HAIRSTYLES, p=styles)),
        hat=cloth_color(rng),
        beard=float(rng.uniform(0.3, 1.0))
        if not woman and not child and rng.random() < 0.4
        else 0.0,
        glasses=bool(rng.random() < 0.15),
        top=top,
        bottom=bottom,
        pattern=pattern,
        colors=(cloth_color(rng), cloth_color(rng), bottom_color, shoes, cloth_color(rng)),
        sleeve_m=sleeve + float(rng.uniform(-0.02, 0.03)),
        hem_m={"coat": 0.62, "jacket": 0.90}.get(top, 0.925) + float(rng.uniform(-0.05, 0.04)),
        leg_m=float(leg),
        loose_m=float(rng.uniform(0.003, 0.014)) + 0.008 * (top in ("hoodie", "coat", "jacket")),
        seed=int(rng.integers(2**31)),
    )
