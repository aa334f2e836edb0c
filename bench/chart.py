"""A bar chart as SVG: keys a second of each tool, as multiples of one of them, a group of bars a data set.

The colours are readable on light and on dark pages; text takes the colour that the reader's page asks for.
"""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

#: Pixels.
WIDTH, LEFT, RIGHT, TOP, BAR, GAP, BOTTOM = 720, 80, 150, 46, 18, 16, 30

#: Of bars, by their place; each has a contrast of 3 to 1 to white and to #0d1117.
COLOURS = ("#2f81f7", "#8b8f96", "#bf7a1f", "#2d9a52", "#a15fd0")

STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .small { font-size: 11px }
.title { font-weight: 600 } line { stroke: #8b8f96 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } }"""


def chart(title: str, note: str, data: list[dict[str, Any]], base: str) -> str:
    """The chart of the items of a run's part that `base` copied too; `note` stands below it."""
    groups = [(item, _multiples(item, base)) for item in data]
    groups = [(item, multiples) for item, multiples in groups if multiples]
    most = max((value for _, multiples in groups for value, _ in multiples.values()), default=1.0)
    names = list(dict.fromkeys(name for _, multiples in groups for name in multiples))
    scale = (WIDTH - LEFT - RIGHT) / most
    lines, y = [], float(TOP)
    for item, multiples in groups:
        middle = y + BAR * len(multiples) / 2 + 4
        lines.append(_text(LEFT - 10, middle, f"{item['name']}", 'text-anchor="end"'))
        for name, (value, keys) in multiples.items():
            width = value * scale
            colour = COLOURS[names.index(name) % len(COLOURS)]
            lines.append(f'<rect x="{LEFT}" y="{y:.0f}" width="{width:.1f}" height="{BAR - 3}" fill="{colour}"/>')
            lines.append(_text(LEFT + width + 6, y + 12, f"{value:.2f}x · {keys:,.0f} keys/s", 'class="small"'))
            y += BAR
        y += GAP
    one = LEFT + scale
    lines.append(f'<line x1="{one:.1f}" x2="{one:.1f}" y1="{TOP - 6}" y2="{y - GAP + 4:.0f}" stroke-dasharray="3 3"/>')
    return _page(title, note, y + BOTTOM, [*_legend(names), *lines])


def _multiples(item: dict[str, Any], base: str) -> dict[str, tuple[float, float]]:
    """By tool: how many times as many keys a second as `base`, by the ratios of the item; and how many."""
    speeds = {name: figures["keys_per_second"] for name, figures in item["tools"].items()}
    times = {pair.partition("/")[2]: ratio["median"] for pair, ratio in item["ratios"].items() if ratio}
    if base not in times:
        return {}
    return {name: (times[base] / times.get(name, 1), speed["median"]) for name, speed in speeds.items() if speed}


def _legend(names: list[str]) -> list[str]:
    lines, x = [], float(LEFT)
    for place, name in enumerate(names):
        lines.append(f'<rect x="{x:.0f}" y="26" width="10" height="10" fill="{COLOURS[place % len(COLOURS)]}"/>')
        lines.append(_text(x + 14, 35, name, 'class="small"'))
        x += 30 + 7 * len(name)
    return lines


def _page(title: str, note: str, height: float, lines: list[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img"'
            f' width="{WIDTH}" height="{height:.0f}">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            _text(10, 18, title, 'class="title"'),
            *lines,
            _text(10, height - 10, note, 'class="small"'),
            "</svg>\n",
        ]
    )


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" {more}>{escape(text)}</text>'
