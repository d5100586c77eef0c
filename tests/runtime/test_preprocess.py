"""Preprocessing against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtrack.errors import InputError
from flowtrack.runtime.manifest import InputSpec, Letterbox
from flowtrack.runtime.preprocess import crop_matrices, crop_people, fit, pack, to_source
from tests.reference import preprocess as reference

OFFICIAL = (256, 192, 1.25)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("anchor", ["top-left", "center"])
@pytest.mark.parametrize(
    ("size", "into"),
    [
        ((540, 960), (416, 416)),
        ((960, 540), (416, 416)),
        ((33, 57), (64, 64)),
        ((57, 33), (63, 65)),
        ((64, 64), (64, 64)),
        ((1, 500), (64, 32)),
        ((500, 1), (64, 32)),
        ((1, 1), (7, 9)),
        ((1, 5000), (8, 8)),
        ((31, 17), (64, 64)),
        ((480, 640), (480, 640)),
        ((7, 1000), (640, 640)),
    ],
)
def test_letterbox_geometry(size, into, anchor):
    image = np.full((*size, 3), 200, np.uint8)
    canvas, placed = fit(image, *into, Letterbox(anchor, 7))
    top, left, height, width = reference.letterbox(size, into, anchor == "center")
    want = np.full((*into, 3), 7, np.uint8)
    want[top : top + height, left : left + width] = 200
    np.testing.assert_array_equal(canvas, want)
    np.testing.assert_allclose(placed, [width / size[1], height / size[0], left, top], rtol=1e-6)
    # A box around the whole picture goes where the picture lies, and comes back.
    scale, offset = placed[:2], placed[2:]
    whole = np.array([[0, 0], size[::-1]], np.float32)
    np.testing.assert_allclose(
        whole * scale + offset, [[left, top], [left + width, top + height]], atol=1e-3
    )


@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 300), st.integers(1, 300))
@settings(deadline=None, max_examples=60)
def test_the_letterboxed_picture_fills_one_axis(height, width, into_h, into_w):
    canvas, (scale_x, scale_y, left, top) = fit(
        np.full((height, width, 3), 9, np.uint8), into_h, into_w, Letterbox("center", 0)
    )
    inside = canvas[..., 0] == 9
    rows, columns = inside.any(axis=1).sum(), inside.any(axis=0).sum()
    assert inside.sum() == rows * columns
    # int() may lose the last row of a side that fits exactly: the official geometry does, too.
    assert into_h - rows <= 1 or into_w - columns <= 1
    assert (round(scale_y * height), round(scale_x * width)) == (rows, columns)
    assert (top, left) == ((into_h - rows) // 2, (into_w - columns) // 2)


def test_stretching_and_what_fits_already():
    image = noise(30, 50)
    stretched, placed = fit(image, 60, 25, None)
    assert stretched.shape == (60, 25, 3)
    assert placed.tolist() == [0.5, 2.0, 0.0, 0.0]
    same, placed = fit(image, 30, 50, None)
    np.testing.assert_array_equal(same, image)
    assert placed.tolist() == [1, 1, 0, 0]
    np.testing.assert_array_equal(fit(image, 30, 50, Letterbox())[0], image)


BOXES = {
    "tall": [100, 50, 160, 300],
    "wide": [100, 50, 400, 120],
    "of the crop's aspect": [0, 0, 150, 200],
    "square": [10, 10, 74, 74],
    "fractions": [10.25, 20.5, 33.75, 99.125],
    "outside": [-500, -400, -300, -100],
    "huge": [-2000, -3000, 9000, 8000],
    "a point": [50, 60, 50, 60],
    "a line": [50, 60, 50, 90],
    "turned inside out": [90, 80, 50, 60],
    "tiny": [5, 5, 5.5, 5.25],
}


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
@pytest.mark.parametrize(
    ("height", "width", "padding"), [OFFICIAL, (384, 288, 1.25), (192, 256, 1.0), (64, 64, 1.5)]
)
def test_crop_matrices_are_those_of_three_points(box, height, width, padding):
    (matrix,) = crop_matrices([box], height, width, padding)
    centre, scale = reference.centre_and_scale(box, height, width, padding)
    want = reference.affine(centre, scale, height, width)
    np.testing.assert_allclose(matrix, want, rtol=2e-6, atol=2e-4)
    np.testing.assert_allclose(
        matrix @ [*centre, 1], [width / 2, height / 2], atol=max(1e-3, abs(want).max() * 1e-6)
    )


def test_a_box_without_padding_spans_the_crop():
    """A box of the crop's aspect: its corners are the crop's."""
    (matrix,) = crop_matrices([[30, 40, 30 + 96, 40 + 128]], 256, 192, 1.0)
    assert (matrix @ [30, 40, 1]).tolist() == [0, 0]
    assert (matrix @ [126, 168, 1]).tolist() == [192, 256]


def test_no_boxes_make_no_crops():
    matrices = crop_matrices(np.zeros((0, 4)), *OFFICIAL)
    assert matrices.shape == (0, 2, 3)
    assert crop_people(noise(9, 9), matrices, 256, 192).shape == (0, 256, 192, 3)
    assert to_source(np.zeros((0, 17, 2)), matrices).shape == (0, 17, 2)


coordinate = st.floats(-300, 2000, width=32)


@given(
    st.lists(st.tuples(coordinate, coordinate, st.floats(1, 900), st.floats(1, 900)), max_size=5),
    st.sampled_from([(256, 192), (192, 256), (64, 64)]),
)
@settings(deadline=None)
def test_to_source_undoes_the_crop(corners, size):
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h in corners], np.float32).reshape(-1, 4)
    matrices = crop_matrices(boxes, *size, 1.25)
    points = np.random.default_rng(0).uniform(0, 1, (len(boxes), 6, 2)) * size[::-1]
    back = to_source(points, matrices)
    ones = np.ones((*back.shape[:2], 1))
    again = np.einsum("nij,nkj->nki", matrices.astype(np.float64), np.concatenate([back, ones], 2))
    # Within a two-thousandth of a source pixel, the precision of float32 at 2900 pixels.
    tolerance = 5e-4 * np.maximum(1.0, matrices[:, :1, :1])
    assert (np.abs(again - points) <= tolerance).all()


def test_to_source_wants_one_matrix_for_each_person():
    with pytest.raises(InputError, match=r"expected \(1, K, 2\)"):
        to_source(np.zeros((2, 3, 2)), crop_matrices([[0, 0, 9, 9]], *OFFICIAL))


@pytest.mark.parametrize("spot", [(20, 30), (41, 55), (0, 0), (79, 99)])
def test_a_bright_pixel_lands_where_the_matrix_says(spot):
    image = np.zeros((100, 80, 3), np.uint8)
    image[spot[1], spot[0]] = 255
    matrices = crop_matrices([[10, 20, 60, 90], [0, 0, 80, 100]], *OFFICIAL)
    for matrix, crop in zip(matrices, crop_people(image, matrices, 256, 192), strict=True):
        want = matrix @ [*spot, 1]
        weight = crop[..., 0].astype(float)
        total = weight.sum()
        if not (8 <= want[0] <= 183 and 8 <= want[1] <= 247):
            continue
        y, x = np.mgrid[:256, :192]
        found = (weight * x).sum() / total, (weight * y).sum() / total
        np.testing.assert_allclose(found, want, atol=0.1)


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_crops_are_bilinear_and_black_outside(box):
    image = noise(40, 60)
    matrices = crop_matrices([box], 32, 24, 1.25)
    (crop,) = crop_people(image, matrices, 32, 24)
    want = reference.warp(image, matrices[0], 32, 24)
    if box is BOXES["outside"]:
        assert not crop.any()
    # OpenCV rounds the position to 1/32 px and the weights with it; where a pixel of the crop
    # spans less than a pixel of the source that is at most a few grey values of noise.
    assert np.abs(crop - want).max() <= 255 / 32 * 2 + 1
    assert np.abs(crop - want).mean() < 3


def test_a_box_that_is_not_finite_does_no_harm():
    boxes = [[np.nan, 0, 5, 5], [0, 0, np.inf, 9], [2, 2, 8, 8]]
    with np.errstate(invalid="ignore"):
        matrices = crop_matrices(boxes, 32, 24, 1.25)
    crops = crop_people(noise(40, 60), matrices, 32, 24)
    assert crops.shape == (3, 32, 24, 3)
    assert crops[2].any()


PLAIN = (1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
IMAGENET = (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
BYTES = (1.0, (103.5, 116.3, 123.7), (57.4, 57.1, 58.4))


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize(
    ("dtype", "normal"),
    [
        ("uint8", PLAIN),
        *((dtype, n) for dtype in ("float32", "float16") for n in (PLAIN, IMAGENET, BYTES)),
    ],
    ids=lambda value: value if isinstance(value, str) else f"scale {value[0]:.3g}",
)
def test_packing_is_the_formula(color, layout, dtype, normal):
    images = np.stack([noise(5, 7, seed) for seed in range(3)])
    images[0].reshape(-1)[:4] = [0, 1, 254, 255]
    batch = pack(images, InputSpec(("x",), dtype, layout, color, *normal))
    want = reference.pack(images, dtype, layout, color, *normal)
    assert batch.dtype == want.dtype
    assert batch.flags.c_contiguous
    if dtype == "uint8":
        np.testing.assert_array_equal(batch, want)
    else:
        step = np.finfo(dtype).eps
        np.testing.assert_allclose(batch, want, rtol=step, atol=step)


def test_a_single_picture_of_odd_strides_is_packed():
    image = noise(6, 8)[::2, ::-1]
    batch = pack(np.ascontiguousarray(image)[None], InputSpec(("x",), "uint8", "nchw"))
    np.testing.assert_array_equal(batch[0].transpose(1, 2, 0)[..., ::-1], image)
