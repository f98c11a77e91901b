"""One chart as SVG text: lines over two axes, and thresholds across them.

Knows pixels and labels. Knows nothing of what the numbers mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 60, 24, 38, 46
INK, FAINT = "#444", "#ddd"


@dataclass(frozen=True)
class Line:
    """Points that are joined; lines of the same label stand in the legend once."""

    label: str
    points: Sequence[tuple[float, float]]
    colour: str
    width: float = 1.8


@dataclass(frozen=True)
class Threshold:
    """A dashed line right across, at an x or at a y."""

    label: str
    x: float | None = None
    y: float | None = None
    colour: str = "#c00"


@dataclass(frozen=True)
class Axis:
    """What a direction means, where it begins and ends, and what is written along it."""

    label: str
    low: float
    high: float
    ticks: Sequence[float]

    def share(self, value: float) -> float:
        """How far along a value is, from 0 to 1."""
        return (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)


def chart(
    title: str, x: Axis, y: Axis, lines: Sequence[Line], thresholds: Sequence[Threshold]
) -> str:
    """The picture; what lies beyond an axis is drawn at its end."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        _text(LEFT, 20, title, weight="bold"),
        *_axes(x, y),
        *(_line(x, y, line) for line in lines),
        *(part for one in thresholds for part in _threshold(x, y, one)),
        *_legend(lines),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _across(axis: Axis, value: float) -> float:
    return LEFT + axis.share(value) * (WIDTH - LEFT - RIGHT)


def _down(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - axis.share(value) * (HEIGHT - TOP - BOTTOM)


def _axes(x: Axis, y: Axis) -> list[str]:
    bottom = HEIGHT - BOTTOM
    parts = []
    for value in y.ticks:
        at = _down(y, value)
        parts.append(_stroke(LEFT, at, WIDTH - RIGHT, at, FAINT))
        parts.append(_text(LEFT - 6, at + 4, f"{value:g}", anchor="end"))
    parts += [
        _text(_across(x, value), bottom + 16, f"{value:g}", anchor="middle") for value in x.ticks
    ]
    parts.append(_stroke(LEFT, bottom, WIDTH - RIGHT, bottom, INK))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x.label, anchor="middle"))
    parts.append(_text(LEFT, TOP - 2, y.label, size=11))
    return parts


def _line(x: Axis, y: Axis, line: Line) -> str:
    points = " ".join(f"{_across(x, a):.1f},{_down(y, b):.1f}" for a, b in line.points)
    return (
        f'<polyline points="{points}" fill="none" stroke="{line.colour}"'
        f' stroke-width="{line.width:g}" stroke-opacity="0.8"/>'
    )


def _threshold(x: Axis, y: Axis, one: Threshold) -> list[str]:
    dashed = ' stroke-dasharray="5 4"'
    if one.x is not None:
        at = _across(x, one.x)
        return [
            _stroke(at, TOP, at, HEIGHT - BOTTOM, one.colour, dashed),
            _text(at + 4, TOP + 12, one.label, colour=one.colour),
        ]
    at = _down(y, one.y or 0.0)
    return [
        _stroke(LEFT, at, WIDTH - RIGHT, at, one.colour, dashed),
        _text(LEFT + 6, at - 5, one.label, colour=one.colour),
    ]


def _legend(lines: Sequence[Line]) -> list[str]:
    colours = {line.label: line.colour for line in lines}
    parts = [
        f'<rect x="{WIDTH - 258}" y="{TOP + 14}" width="230" height="{16 * len(colours) + 6}"'
        ' fill="#fff" fill-opacity="0.85"/>'
    ]
    for place, (label, colour) in enumerate(colours.items()):
        at = TOP + 30 + 16 * place
        parts.append(_stroke(WIDTH - 250, at - 4, WIDTH - 230, at - 4, colour, "", 3))
        parts.append(_text(WIDTH - 224, at, label))
    return parts


def _stroke(
    x1: float, y1: float, x2: float, y2: float, colour: str, more: str = "", width: float = 1
) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"'
        f' stroke-width="{width:g}"{more}/>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    weight: str = "normal",
    size: int = 12,
    colour: str = INK,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}"'
        f' font-size="{size}" fill="{colour}">{escape(text)}</text>'
    )
