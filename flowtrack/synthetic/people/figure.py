"""A dressed body: one mesh with its texture, and where its vertices are in a given stance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from flowtrack.synthetic.people import atlas
from flowtrack.synthetic.people.anatomy import BODY, HEAD, Template, template
from flowtrack.synthetic.people.hair import Extra, headwear, skirt
from flowtrack.synthetic.people.painting import paint
from flowtrack.synthetic.people.rig import BONES, REST, Posed
from flowtrack.synthetic.people.wardrobe import Look

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Figure:
    """One dressed person.

    Attributes:
        look: what it was made from.
        scales: (bones, 3, 3) proportions.
        vertices, normals: (V, 3) of the rest pose, clothes included.
        faces: (F, 3).
        shares: (V, bones) how much each bone moves a vertex.
        texels: (F, 6) column and row of each corner in the texture.
        texture: (h, w, 4) uint8 blue, green, red, gloss.
        occlusion: (V,) how open each vertex is to the sky, 0 to 1.
    """

    look: Look
    scales: Floats
    vertices: Float32
    normals: Float32
    faces: Ints
    shares: Float32
    texels: Float32
    texture: npt.NDArray[np.uint8]
    occlusion: Float32

    @property
    def girth(self) -> float:
        """Thickness of the body relative to the average adult's."""
        return self.look.physique.stature * max(1.0, self.look.physique.weight)

    def moved(self, pose: Posed) -> tuple[Float32, Float32]:
        """World positions and unit normals (V, 3) of the vertices in a pose."""
        skin = pose.skin.astype(np.float32)
        shift = (pose.origin - np.einsum("nij,nj->ni", pose.skin, REST)).astype(np.float32)
        table = np.concatenate([skin.reshape(-1, 9), shift], axis=1)
        blend = self.shares @ table
        linear = blend[:, :9].reshape(-1, 3, 3)
        place = np.matmul(linear, self.vertices[:, :, None])[:, :, 0] + blend[:, 9:]
        normal = np.matmul(linear, self.normals[:, :, None])[:, :, 0]
        normal /= np.sqrt((normal**2).sum(axis=1, keepdims=True)) + 1e-9
        return place, normal


def dress(look: Look, detail: float = 1.0) -> Figure:
    """Make the figure of a look.

    Args:
        look: of the person.
        detail: screen pixels a centimetre of body would take; decides mesh and texture resolution.
    """
    coarseness = 1.25 if detail > 1.5 else 1.7
    level = (
        -1
        if detail > 3.5
        else 0
        if detail > 1.8
        else 1
        if detail > 0.8
        else 2
        if detail > 0.4
        else 3
    )
    charts = atlas.atlas_at(level)
    body = template(coarseness)
    vertices = body.vertices + look.physique.bust * body.bust
    vertices = vertices + cloth_offset(look, body)[:, None] * body.normals
    parts = [Extra(vertices, body.normals, body.faces, body.bones, body.weights)]
    uv = [_template_texels(coarseness, level)]
    worn = headwear(look.hairstyle, coarseness)
    if worn is not None:
        parts.append(worn)
        uv.append(_chart_texels(worn, *charts.hair))
    if "skirt" in look.bottom:
        flare = 0.03 + 6 * look.loose_m * (1 - 0.6 * (look.leg_m < 0.4))
        cloth = skirt(look.leg_m, flare, coarseness)
        parts.append(cloth)
        uv.append(_chart_texels(cloth, *charts.body))
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    all_vertices = np.concatenate([part.vertices for part in parts])
    return Figure(
        look=look,
        scales=look.physique.scales(),
        vertices=all_vertices.astype(np.float32),
        normals=np.concatenate([part.normals for part in parts]).astype(np.float32),
        faces=np.concatenate([p.faces + start for p, start in zip(parts, starts, strict=True)]),
        shares=np.concatenate([_dense(part) for part in parts]),
        texels=np.concatenate(uv).astype(np.float32),
        texture=paint(look, level),
        occlusion=_openness(all_vertices).astype(np.float32),
    )


def _dense(part: Extra) -> Float32:
    shares = np.zeros((len(part.vertices), len(BONES)), np.float32)
    np.add.at(shares, (np.arange(len(shares))[:, None], part.bones), part.weights)
    return shares


def cloth_offset(look: Look, body: Template) -> Floats:
    """(V,) how far clothes stand off the skin of each vertex, metres."""
    x, y = body.vertices[:, 0], body.vertices[:, 1]
    along, arm = atlas.arm_coordinates(x, y)
    torso = ~arm & (body.piece == BODY)
    out = np.zeros(len(x))
    loose = look.loose_m
    if look.bottom in ("trousers", "jeans", "shorts"):
        wide = 0.006 + 1.2 * loose * np.clip((0.95 - y) / 0.5, 0.2, 1.0)
        out = np.where(torso & (y > look.leg_m) & (y < 1.02), wide, out)
    shoe = torso & (y < 0.085)
    out = np.where(shoe, 0.006, out)
    inner = 0.0 if look.top == "tank top" else 0.008
    body_top = torso & (y > look.hem_m) & (y < 1.47)
    flow = 0.006 + loose * np.clip((1.40 - y) / 0.35, 0.3, 1.0)
    out = np.where(body_top, np.maximum(flow, inner), out)
    sleeve = arm & (along < look.sleeve_m) & (body.piece == BODY)
    wide = 0.004 + 0.9 * loose * np.clip(0.5 + along / 0.25, 0.4, 1.2)
    return np.where(sleeve, wide, out)


def _openness(vertices: Floats) -> Floats:
    """A guess at ambient light: little between the legs, under the arms and below the chin."""
    x, y, z = np.abs(vertices[:, 0]), vertices[:, 1], vertices[:, 2]
    crotch = np.exp(-((x / 0.05) ** 2) - np.maximum(0, (0.88 - y) / 0.35) ** 2) * (y < 0.93)
    armpit = np.exp(-(((x - 0.17) / 0.05) ** 2) - ((y - 1.30) / 0.07) ** 2)
    chin = np.exp(-((x / 0.07) ** 2) - ((y - 1.52) / 0.035) ** 2) * (z > 0)
    shut: Floats = np.clip(0.45 * crotch + 0.4 * armpit + 0.4 * chin, 0, 0.6)
    return 1 - shut


@lru_cache(maxsize=8)
def _template_texels(coarseness: float, level: int) -> Float32:
    body = template(coarseness)
    charts = atlas.atlas_at(level)
    whole = Extra(body.vertices, body.normals, body.faces, body.bones, body.weights)
    on_head = (body.piece[body.faces] == HEAD).all(axis=1)[:, None]
    return np.where(on_head, _chart_texels(whole, *charts.head), _chart_texels(whole, *charts.body))


def _chart_texels(mesh: Extra, front: atlas.Chart, back: atlas.Chart) -> Float32:
    behind = mesh.normals[mesh.faces, 2].mean(axis=1) < 0
    corners = mesh.vertices[mesh.faces]
    texels = np.where(behind[:, None, None], back.texels(corners), front.texels(corners))
    return texels.reshape(-1, 6).astype(np.float32)
