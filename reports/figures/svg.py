"""A matplotlib drawing as inline SVG: searchable text, the page's colours and fonts, the same bytes every time."""

import base64
import html
import io
import re
import warnings
from collections.abc import Callable

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType
from PIL import Image

from klsearch.reports.figures.palette import CSS_VARIABLES, GRID, INK, MUTED

_POINTS_PER_INCH = 72
_WIDTH, _HEIGHT = 400, 262
_ABOVE, _BELOW, _RIGHT, _NUMBERS = 8, 38, 14, 66
NAMES = 118
_PALETTE_COLORS = 32
_ADDRESS = "xlink:href"

STYLE: dict[RcKeyType, str | float | bool] = {
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 11,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": False,
    "font.family": "DejaVu Sans",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "savefig.dpi": 144,
    "svg.fonttype": "none",
    "text.color": INK,
    # Names that users gave are text, whatever dollar signs they hold.
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 10.5,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 10.5,
}


def draw(
    identity: str,
    alternative: str,
    paint: Callable[[Axes], None],
    *,
    height: int = _HEIGHT,
    left: int = _NUMBERS,
    below: int | None = None,
) -> str:
    """Draw with `paint`; gives one `<svg>` for the page.

    Args:
        identity: unique in the page; what the SVG refers to inside itself is named after it.
        alternative: the text that stands for the picture.
        paint: draws into the axes that it is given.
        height: in points; the width is 400.
        left: room for the tick labels of the vertical axis in points; `NAMES` where they are names.
        below: room for the horizontal axis in points, where it is not the usual one.
    """
    bottom = _BELOW if below is None else below
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": identity}):
        figure = Figure(figsize=(_WIDTH / _POINTS_PER_INCH, height / _POINTS_PER_INCH))
        # Margins are fixed, so that panels side by side line up, and because a computed layout draws everything twice.
        width, tall = _WIDTH - left - _RIGHT, height - bottom - _ABOVE
        paint(figure.add_axes((left / _WIDTH, bottom / height, width / _WIDTH, tall / height)))
        return _inline(_save(figure), identity, alternative)


def point(target: str, words: str) -> str:
    """The address of a marker: where on the page it leads, and what it says. `draw` makes a link and a title of it."""
    return f"{target} {words}"


def _link(match: re.Match[str]) -> str:
    target, _, words = html.unescape(match[1] or match[2]).partition(" ")
    return f'<a href="#{html.escape(target)}"><title>{html.escape(words)}</title>'


def image_height(rows: int, columns: int, aspect: float, left: int, *, below: int | None = None) -> int:
    """The height in points at which a grid of images, each `aspect` times as high as wide, is not distorted."""
    width = (_WIDTH - left - _RIGHT) / columns
    return round(rows * aspect * width + _ABOVE + (_BELOW if below is None else below))


def _save(figure: Figure) -> str:
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # The reader's browser draws the text, with fonts that know more glyphs than matplotlib's.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _inline(document: str, identity: str, alternative: str) -> str:
    """The document without what a page has already or cannot have twice: prologue, metadata, styles, fonts, ids."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    linked = f"<a {_ADDRESS}" in svg
    if linked:  # what a picture hides from a screen reader, a group of links must hide by itself
        svg = svg.replace('<g id="matplotlib.axis', '<g aria-hidden="true" id="matplotlib.axis')
    svg = re.sub(r'<g( aria-hidden="true")? id="[^"]*"', r"<g\1", svg)
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{identity}-", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", svg)
    svg = re.sub("|".join(CSS_VARIABLES), lambda match: f"var({CSS_VARIABLES[match[0]]})", svg)
    svg = re.sub(r'(data:image/png;base64,)([^"]*)', lambda match: match[1] + _shrink_png(match[2]), svg)
    svg = re.sub(rf"""<a {_ADDRESS}=(?:"([^"]*)"|'([^']*)') target="_blank">""", _link, svg)
    svg = svg.replace(_ADDRESS, "href")
    svg = re.sub(r"\s*\n\s*", " ", svg).replace("> <", "><").strip()
    view_box = re.search(r'viewBox="[^"]*"', svg)
    if view_box is None:
        raise AssertionError("matplotlib's SVG has a viewBox")
    role = "group" if linked else "img"
    return f'<svg {view_box[0]} role="{role}" aria-label="{html.escape(alternative)}">{svg[svg.index(">") + 1 :]}'


def _shrink_png(png: str) -> str:
    """A base64 PNG that is smaller.

    A cloud of points, whose edges are half transparent, gets a palette: it needs few colours, and is six times smaller
    with them. A picture keeps all of its colours.
    """
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
    pixels = np.asarray(image)
    if np.all((pixels[..., 3] == 0) | (pixels[..., 3] == 255)):
        if np.all(pixels[..., :2] == pixels[..., 1:3]):
            image = image.convert("LA")
    else:
        image = image.quantize(_PALETTE_COLORS, method=Image.Quantize.FASTOCTREE)
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
