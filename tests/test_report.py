"""The page of a report: what is on it, that nothing is read as HTML, that it loads nothing."""

import base64
import math
import re
import stat
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtrack.errors import InputError, OutputError
from flowtrack.report import Curve, Report
from flowtrack.report.plot import ticks

VOID = {"meta", "img"}


class Page(HTMLParser):
    """Elements of a page as (tag, attributes, text), in order; fails where tags do not match."""

    def __init__(self, text):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        element = [tag, dict(attributes), ""]
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_data(self, data):
        if self._open:
            self._open[-1][2] += data

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def texts(self, *tags):
        return [text for tag, _, text in self.elements if tag in tags]

    def attributes(self, tag, name):
        return [given[name] for kind, given, _ in self.elements if kind == tag and name in given]

    def curves(self):
        return [
            [tuple(map(float, point.split(","))) for point in points.split()]
            for points in self.attributes("polyline", "points")
        ]

    def labels(self, anchor):
        """Texts of a plot: tick labels of x stand in the middle, those of y at the end."""
        return [
            text for tag, given, text in self.elements
            if tag == "text" and given.get("text-anchor") == anchor and "class" not in given
        ]  # fmt: skip


def plotted(*curves, x="x", y="y", caption=""):
    report = Report("page")
    report.plot(curves, x=x, y=y, caption=caption)
    return Page(report.html())


def everything(text="plain"):
    report = Report(text, text)
    report.heading(text)
    report.paragraph(text)
    report.table([[text, text], [text, text]], text)
    report.plot([Curve(text, [(0, 1)], marked=True), Curve(text, [])], x=text, y=text, caption=text)
    report.picture(np.zeros((3, 4, 3), np.uint8), text)
    return report


def test_parts_stand_in_the_order_in_which_they_were_added():
    report = Report("Title", "Lead.")
    report.heading("First")
    report.paragraph("Words.")
    report.heading("Second")
    tags = ("h1", "h2", "p")
    assert Page(report.html()).texts(*tags) == ["Title", "Lead.", "First", "Words.", "Second"]


@pytest.mark.parametrize(
    "text", ["<b>&\"'</b>", "</script><script>alert(1)</script>", "%s {x} é 人"]
)
def test_text_is_shown_as_it_is(text):
    page = Page(everything(text).html())
    assert page.texts("title")[0] == text
    for tag, count in (("h1", 1), ("h2", 1), ("p", 2), ("th", 3), ("td", 1), ("caption", 1),
                       ("figcaption", 2), ("li", 2)):  # fmt: skip
        assert page.texts(tag) == [text] * count, tag
    assert page.attributes("img", "alt") == [text]
    assert page.texts("text").count(text) == 2
    assert not page.texts("b", "script")


def test_the_page_loads_nothing():
    text = everything().html()
    assert not re.search(r"https?:|<script|<link|@import|url\(", text)
    loaded = [v for name in ("src", "href") for v in Page(text).attributes("img", name)]
    assert all(value.startswith("data:image/jpeg;base64,") for value in loaded)
    assert "default-src 'none'" in Page(text).attributes("meta", "content")[0]


def test_light_dark_and_paper():
    style = Page(everything().html()).texts("style")[0]
    assert "prefers-color-scheme:dark" in style
    assert "@media print" in style
    assert style.count("{") == style.count("}")
    used = set(re.findall(r"var\(--(\w+)\)", everything().html()))
    light, dark = (set(re.findall(r"--(\w+):", part)) for part in style.split("@media", 2)[:2])
    assert used <= light
    assert light == dark


def test_a_table():
    report = Report("page")
    report.table([["method", "EPE"], ["DIS", "1.5"], ["none", "3.0"]], "in px")
    page = Page(report.html())
    assert page.texts("th", "td") == ["method", "EPE", "DIS", "1.5", "none", "3.0"]
    assert page.attributes("th", "scope") == ["col", "col", "row", "row"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [([], "no heading"), ([[]], "no heading"), ([["a", "b"], ["c"]], "row 1 .* 1 cells, exp.* 2"),
     ([["a"], ["b"], ["c", "d"]], "row 2 .* 2 cells, expected 1")],
)  # fmt: skip
def test_a_table_that_is_none_is_refused(rows, message):
    with pytest.raises(InputError, match=message):
        Report("page").table(rows)


def test_points_lie_where_their_values_are():
    """On axes from 0 to 10 and 0 to 4, whose corners are those of the second curve."""
    page = plotted(Curve("a", [(2, 1), (5, 2), (9, 3)]), Curve("b", [(0, 0), (10, 4)]))
    inner, ((left, bottom), (right, top)) = page.curves()
    assert left < right
    assert top < bottom
    for (px, py), (x, y) in zip(inner, [(2, 1), (5, 2), (9, 3)], strict=True):
        assert px == pytest.approx(left + (right - left) * x / 10, abs=0.06)
        assert py == pytest.approx(bottom + (top - bottom) * y / 4, abs=0.06)
    assert page.labels("middle") == ["0", "2", "4", "6", "8", "10"]
    assert page.labels("end") == ["0", "1", "2", "3", "4"]


def test_a_legend_only_where_there_is_a_choice():
    one, two = Curve("a", [(0, 0), (1, 1)]), Curve("b", [(0, 1), (1, 0)])
    assert plotted(one).texts("li") == []
    page = plotted(one, two)
    assert page.texts("li") == ["a", "b"]
    shown = page.attributes("polyline", "style")
    assert page.attributes("path", "style") == shown
    assert len(set(shown)) == 2


def test_twelve_curves_all_look_different():
    page = plotted(*(Curve(str(i), [(0, i), (1, i)]) for i in range(12)))
    assert len(set(page.attributes("polyline", "style"))) == 12


def test_points_are_marked_on_demand_and_where_a_line_would_not_show():
    points = [(0, 0.25), (1, -1)]
    assert plotted(Curve("a", points)).attributes("circle", "cx") == []
    page = plotted(Curve("a", points, marked=True))
    assert page.texts("title")[1:] == ["a: 0, 0.25", "a: 1, −1"]
    assert len(plotted(Curve("a", points[:1])).attributes("circle", "cx")) == 1


@pytest.mark.parametrize("hole", [math.nan, math.inf, -math.inf])
def test_a_curve_is_interrupted_where_it_is_not_finite(hole):
    page = plotted(Curve("a", [(0, hole), (1, 1), (2, 3), (3, hole), (hole, 1), (4, 2), (5, 0)]))
    assert [len(curve) for curve in page.curves()] == [2, 2]
    assert page.labels("end") == ["0", "0.5", "1.0", "1.5", "2.0", "2.5", "3.0"]


@pytest.mark.parametrize("curves", [[], [Curve("a", [])], [Curve("a", [(0, math.nan)])]])
def test_without_data_the_plot_says_so(curves):
    page = plotted(*curves)
    assert "no data" in page.texts("text")
    assert page.curves() == []


def test_long_curves_are_thinned_and_keep_ends_and_extremes():
    points = [(i, float(i % 7)) for i in range(50_000)]
    points[31_234] = (31_234, -40.0)
    points[31_236] = (31_236, 90.0)
    (curve,) = plotted(Curve("a", points)).curves()
    assert len(curve) < 1500
    (whole,) = plotted(Curve("a", [points[0], points[31_234], points[31_236], points[-1]])).curves()
    assert set(whole) <= set(curve)


@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=30))
def test_every_curve_stays_within_its_axes(points):
    page = plotted(Curve("a", points))
    (box,) = page.attributes("svg", "viewbox")
    width, height = map(float, box.split()[2:])
    finite = [p for p in points if max(map(abs, p)) < 1e300 and not any(map(math.isnan, p))]
    assert sum(map(len, page.curves())) == len(finite)
    for curve in page.curves():
        assert all(0 <= x <= width and 0 <= y <= height for x, y in curve)


@pytest.mark.parametrize(
    ("low", "high", "most", "labels"),
    [
        (0, 1, 6, ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0, 100, 5, ["0", "20", "40", "60", "80", "100"]),
        (-3, 3, 7, ["−3", "−2", "−1", "0", "1", "2", "3"]),
        (-0.05, 0.05, 5, ["−0.04", "−0.02", "0", "0.02", "0.04"]),
        (0, 30_000, 3, ["0", "10,000", "20,000", "30,000"]),
        (0, 150_000, 3, ["0", "50k", "100k", "150k"]),
        (0, 400_000_000, 2, ["0", "200M", "400M"]),
        (0, 1_000_000, 5, ["0", "0.2M", "0.4M", "0.6M", "0.8M", "1.0M"]),
        (1_000_000, 1_000_100, 2, ["1,000,000", "1,000,050", "1,000,100"]),
        (0, 2e-7, 2, ["0", "1e−07", "2e−07"]),
        (0, 4e12, 2, ["0", "2e+12", "4e+12"]),
        (0.013, 0.019, 6, ["0.013", "0.014", "0.015", "0.016", "0.017", "0.018", "0.019"]),
    ],
)  # fmt: skip
def test_ticks_are_round(low, high, most, labels):
    assert [label for _, label in ticks(low, high, most)] == labels


@given(
    st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 10)
)  # fmt: skip
def test_ticks_cover_the_range_evenly(low, length, most):
    values = [value for value, _ in ticks(low, low + length, most)]
    assert 1 <= len(values) <= most + 1
    steps = np.diff(values)
    assert low - length * 1e-6 <= values[0]
    assert values[-1] <= low + length * (1 + 1e-6)
    if len(steps):
        np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
        first = 10 ** (math.log10(steps[0]) % 1)
        assert min(abs(first - digit) for digit in (1, 2, 5, 10)) < 1e-3


def picture_of(report):
    source = Page(report.html()).attributes("img", "src")[0]
    data = base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize(
    ("size", "shown"),
    [((30, 40), (30, 40)), ((1920, 1080), (960, 540)), ((4000, 1), (960, 1)), ((1, 1), (1, 1))],
)
def test_pictures_are_inside_and_large_ones_reduced(size, shown):
    report = Report("page")
    report.picture(np.full((*size, 3), (20, 120, 220), np.uint8), "all the same")
    page, picture = Page(report.html()), picture_of(report)
    assert picture.shape == (*shown, 3)
    assert page.attributes("img", "width") == [str(shown[1])]
    assert page.attributes("img", "height") == [str(shown[0])]
    np.testing.assert_allclose(picture.reshape(-1, 3).mean(0), (20, 120, 220), atol=4)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32),
              np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 4), np.uint8)],
)  # fmt: skip
def test_what_is_no_picture_is_refused(image):
    with pytest.raises(InputError, match="image"):
        Report("page").picture(image, "none")


def test_neighbouring_figures_share_a_row():
    report = Report("page")
    report.plot([], x="x", y="y")
    report.heading("two")
    report.plot([], x="x", y="y")
    report.picture(np.zeros((2, 2, 3), np.uint8), "second")
    rows = [kind for kind in Page(report.html()).attributes("div", "class") if "figures" in kind]
    assert rows == ["figures one", "figures"]


def test_the_file_is_the_page_and_its_folder_is_made(tmp_path):
    report = everything("Gauß \ud800")  # half a character, as in odd file names
    path = tmp_path / "new" / "report.html"
    report.write(path)
    report.write(path)  # replaces it
    assert path.read_text(encoding="utf-8") == report.html()
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    assert "Gauß ?" in report.html()


@pytest.mark.parametrize("place", ["folder", "file/report.html", "n" * 300])
def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path, place):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match=r"cannot be written.*name another file"):
        Report("page").write(tmp_path / place)
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "file"}
    assert stat.S_ISDIR((tmp_path / "folder").stat().st_mode)
