"""Profiles as JSON: a readable text, a canonical one, and the digest by which one is known.

Knows the document's schema. Knows nothing of where documents lie. No clock and no path stands in
one, so that the same data give the same digest anywhere. Numbers come back exactly as they were:
a float32 is written in its own shortest digits.

    {"schema": 1, "rows": 569, "bins": 60, "sampled_rows": 569, "seed": 0, "self_referenced": false,
     "frames": [{"name": "x", "tensor": "x", "role": "feature", "datatype": "FP32",
                 "shape": [-1, 30], "summary": null, "columns": [
       {"name": "mean_radius", "kind": "numeric", "type": "float32", "edges": [8.95, ...],
        "counts": [10, ...], "nan": 0, "null": 0, "pos_inf": 0, "neg_inf": 0, "wrong_type": 0,
        "unseen": 0, "min": 6.981, "max": 28.11, "mean": 14.13, "std": 3.52}, ...]}, ...]}

A category column has `categories` in the place of `edges`, one that is hashed `buckets`. Of numbers
with a point that are all whole, `"whole": true` is said, too. One that is counted exactly has
`points` and `point_counts`, which releases of schema 1 do not know: only a profile with such a
column is of schema 2. One whose rows had labels has a `calibration`, and is of schema 3:

     "calibration": {"scores": {"kind": "binary", "output": null, "positive": 1}, "rows": 569,
                     "ece": 0.021, "ece_calibrated": 0.008, "bins": 960, "upto": [31, 512, 960],
                     "probabilities": [0.002, 0.4, 0.998]}
"""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import orjson

from gateway.profiles.fields import Fields
from gateway.profiles.points import MAX_POINTS, in_bins, least
from gateway.profiles.values import (
    CATEGORY,
    COUNTED_AS,
    FEATURE,
    NUMERIC,
    OUTPUT,
    STRING,
    SUMMARIES,
    Calibration,
    Column,
    Frame,
    Moments,
    Profile,
    Specials,
    Summary,
)
from gateway.tensors import Array

SCHEMA = 3
# A thousand times what a model of thirty columns needs.
MAX_BYTES = 64 << 20
# A window is a matrix with a line for each column, all as long as the longest: 64 MB of it. That is
# 8,000 columns, of which one has the thousand categories that are kept of one.
MAX_CELLS = 8 << 20
# Sums of counts that double precision still holds exactly.
MAX_COUNT = 2**53
_SPECIALS = tuple(field.name for field in fields(Specials))
_MOMENTS = tuple(field.name for field in fields(Moments))
_ROLES, _KINDS = (FEATURE, OUTPUT), (NUMERIC, CATEGORY)
_TYPES = ("float32", "float64", "int64", STRING)


def canonical(profile: Profile) -> bytes:
    """The one text of a profile: keys sorted, no white space."""
    return orjson.dumps(_plain(profile), option=orjson.OPT_SORT_KEYS)


def digest(profile: Profile) -> str:
    """SHA-256 of the canonical text, in hex: what a profile is called."""
    return hashlib.sha256(canonical(profile)).hexdigest()


def text(profile: Profile) -> str:
    """For people and for files: a column a line."""
    document = _plain(profile)
    frames = document.pop("frames")
    head = [f' "{key}": {_line(value)},' for key, value in document.items()]
    body = ",\n".join(_frame_text(frame) for frame in frames)
    return "\n".join(["{", *head, ' "frames": [', *([body] if body else []), " ]", "}", ""])


def read(given: bytes | str) -> Profile:
    """A profile out of its JSON.

    Raises:
        ProfileInvalid: it is none, or of a newer schema; the message names the place, what was
            wanted and what was got.
    """
    whole = Fields.whole(given, MAX_BYTES, SCHEMA)
    profile = Profile(
        rows=whole.integer("rows"),
        frames=tuple(_frame(one) for one in whole.objects("frames")),
        bins=whole.integer("bins", 1),
        sampled_rows=whole.integer("sampled_rows"),
        seed=whole.integer("seed"),
        self_referenced=whole.boolean("self_referenced"),
        calibration=_calibration(whole),
    )
    whole.no_more()
    whole.unique("frames", [frame.name for frame in profile.frames])
    bins = [column.bins for _, column in profile.columns()]
    if len(bins) * max(bins, default=0) > MAX_CELLS:
        wanted = f"columns times bins of the widest up to {MAX_CELLS}"
        raise whole.fault("frames", wanted, f"{len(bins)} times {max(bins)}")
    return profile


# ---- writing ------------------------------------------------------------------------------------


def _plain(profile: Profile) -> dict[str, Any]:
    return {
        "schema": _schema(profile),
        "rows": profile.rows,
        "bins": profile.bins,
        "sampled_rows": profile.sampled_rows,
        "seed": profile.seed,
        "self_referenced": profile.self_referenced,
        **({} if profile.calibration is None else {"calibration": asdict(profile.calibration)}),
        "frames": [_plain_frame(frame) for frame in profile.frames],
    }


def _schema(profile: Profile) -> int:
    """The lowest that knows all of it."""
    if profile.calibration is not None:
        return 3
    return 2 if any(len(column.points) for _, column in profile.columns()) else 1


def _plain_frame(frame: Frame) -> dict[str, Any]:
    summary = frame.summary
    return {
        "name": frame.name,
        "tensor": frame.tensor,
        "role": frame.role,
        "datatype": frame.datatype,
        "shape": list(frame.shape),
        "summary": summary and {"kind": summary.kind, "parameters": dict(summary.parameters)},
        "columns": [_plain_column(column) for column in frame.columns],
    }


def _plain_column(column: Column) -> dict[str, Any]:
    bins: dict[str, Any]
    if column.buckets:
        bins = {"buckets": column.buckets}
    elif column.kind == CATEGORY:
        bins = {"categories": list(column.categories)}
    else:
        bins = {"edges": _numbers(column.edges)}
    finer = {}
    if len(column.points):
        finer = {"points": _numbers(column.points), "point_counts": column.point_counts.tolist()}
    moments = asdict(column.moments)
    if column.type == "float32":
        for key in ("min", "max"):
            moments[key] = None if moments[key] is None else short(np.float32(moments[key]))
    return {
        "name": column.name,
        "kind": column.kind,
        "type": column.type,
        **bins,
        "counts": column.counts.tolist(),
        **asdict(column.specials),
        **moments,
        **({"whole": True} if column.whole else {}),
        **finer,
    }


def _numbers(edges: Array) -> list[Any]:
    return [short(edge) for edge in edges] if edges.dtype == np.float32 else edges.tolist()


def short(value: np.float32) -> float:
    """The double with the fewest digits that is this float32 again when it is read."""
    short = float(str(value))
    return short if np.float32(short) == value else float(value)


def _frame_text(frame: dict[str, Any]) -> str:
    columns = frame.pop("columns")
    head = _line(frame).removesuffix("}")
    lines = ",\n".join(f"   {_line(column)}" for column in columns)
    return f'  {head},"columns": [\n{lines}\n  ]}}'


def _line(value: Any) -> str:
    return orjson.dumps(value).decode()


# ---- reading ------------------------------------------------------------------------------------


def _calibration(whole: Fields) -> Calibration | None:
    if not whole.has("calibration"):
        return None
    one = whole.object("calibration")
    found = Calibration(
        scores=one.mapping("scores"),
        rows=one.integer("rows", 1),
        ece=one.number("ece"),
        ece_calibrated=one.number("ece_calibrated"),
        bins=one.integer("bins", 1),
        upto=tuple(one.integers("upto", 1)),
        probabilities=tuple(float(value) for value in one.numbers("probabilities", whole=False)),
    )
    one.no_more()
    ends = (0, *found.upto)
    if found.upto and (ends[-1] != found.bins or any(a >= b for a, b in itertools.pairwise(ends))):
        raise one.fault("upto", f"each above the last, up to {found.bins}", "others")
    values = found.probabilities
    if len(values) != len(found.upto) or any(a > b for a, b in itertools.pairwise(values)):
        raise one.fault("probabilities", "one a step, none below the last", "others")
    if values and not 0.0 <= values[0] <= values[-1] <= 1.0:
        raise one.fault("probabilities", "numbers of 0 to 1", "others")
    return found


def _frame(one: Fields) -> Frame:
    datatype = one.choice("datatype", tuple(COUNTED_AS))
    summary = one.object_or_none("summary")
    frame = Frame(
        name=one.string("name"),
        tensor=one.string("tensor"),
        role=one.choice("role", _ROLES),
        datatype=datatype,
        shape=tuple(one.integers("shape", -1)),
        columns=tuple(_column(column) for column in one.objects("columns")),
        summary=None
        if summary is None
        else Summary(summary.choice("kind", SUMMARIES), summary.mapping("parameters")),
    )
    one.no_more()
    if summary is not None:
        summary.no_more()
    one.unique("columns", [column.name for column in frame.columns])
    types = {column.type for column in frame.columns}
    if len(types) > 1:
        raise one.fault("columns", "one type for all", ", ".join(sorted(types)))
    if summary is None and frame.type != COUNTED_AS[datatype]:
        raise one.fault("columns", f"type {COUNTED_AS[datatype]} of {datatype}", frame.type)
    return frame


def _column(one: Fields) -> Column:
    kind, type_ = one.choice("kind", _KINDS), one.choice("type", _TYPES)
    if kind == NUMERIC and type_ == STRING:
        raise one.fault("kind", "category for strings", kind)
    edges: Array = np.empty(0, np.int64 if type_ == STRING else type_)
    categories: tuple[str | int | bool, ...] = ()
    buckets = 0
    if kind == NUMERIC:
        edges = _ascending(one, "edges", type_)
        bins = len(edges) + 1
    elif type_ == STRING and one.has("buckets"):
        bins = buckets = one.integer("buckets", 1)
    else:
        categories = _categories(one, type_)
        bins = len(categories)
    counts = one.integers("counts", 0)
    if len(counts) != bins:
        raise one.fault("counts", f"{bins} bins", str(len(counts)))
    column = Column(
        name=one.string("name"),
        kind=kind,
        type=type_,
        edges=edges,
        categories=categories,
        buckets=buckets,
        counts=np.array(counts, np.int64),
        specials=Specials(**{name: one.integer(name) for name in _SPECIALS}),
        moments=_moments(one, type_),
        whole=one.has("whole") and one.boolean("whole"),
        **_finer(one, kind, type_, edges, counts),
    )
    one.no_more()
    # Not NumPy's sum, which would wrap around.
    if (total := sum(counts) + column.specials.total) > MAX_COUNT:
        raise one.fault("counts", f"at most {MAX_COUNT} values", str(total))
    return column


def _finer(one: Fields, kind: str, type_: str, edges: Array, counts: list[int]) -> dict[str, Array]:
    if kind != NUMERIC or not one.has("points"):
        return {}
    points, found = _ascending(one, "points", type_), one.integers("point_counts", 0)
    if not 0 < len(points) <= MAX_POINTS or not np.isin(edges, points).all():
        raise one.fault("points", f"1 to {MAX_POINTS} of them, all edges included", "others")
    if points[0] == least(points.dtype):
        raise one.fault("points", "none that is the least number there is", repr(points[0].item()))
    if len(found) != 2 * len(points) + 1:
        raise one.fault("point_counts", f"{2 * len(points) + 1} counts", str(len(found)))
    finer = np.array(found, np.int64)
    if in_bins(finer, points, edges).tolist() != counts:
        raise one.fault("point_counts", "what adds up to counts", "others")
    return {"points": points, "point_counts": finer}


def _ascending(one: Fields, key: str, type_: str) -> Array:
    given = one.numbers(key, whole=type_ == "int64")
    with np.errstate(over="ignore"):
        found: Array = np.array(given, type_)
    if not (np.isfinite(found).all() and (found[:-1] < found[1:]).all()):
        raise one.fault(key, f"finite numbers of {type_}, each above the last", "others")
    return found


def _categories(one: Fields, type_: str) -> tuple[str | int | bool, ...]:
    found: list[Any] = (
        one.strings("categories") if type_ == STRING else one.whole_or_boolean("categories")
    )
    ascending = all(a < b for a, b in itertools.pairwise(found))
    if not ascending:
        raise one.fault("categories", "each above the last", "others")
    return tuple(found)


def _moments(one: Fields, type_: str) -> Moments:
    values: dict[str, Any] = {name: one.number_or_none(name) for name in _MOMENTS}
    if type_ == STRING:
        some = next((name for name in _MOMENTS if values[name] is not None), None)
        if some is not None:
            raise one.fault(some, "null for strings", repr(values[some]))
        return Moments()
    low, high = (_extreme(one, name, type_, values[name]) for name in ("min", "max"))
    if (low is None) != (high is None) or (low is not None and low > high):
        raise one.fault("max", f"at least min, {low}, or null where that is", repr(high))
    mean, std = (None if values[name] is None else float(values[name]) for name in ("mean", "std"))
    if std is not None and std < 0:
        raise one.fault("std", "a number from 0 on", repr(std))
    return Moments(low, high, mean, std)


def _extreme(one: Fields, key: str, type_: str, value: Any) -> Any:
    """In the column's own type; None stays None."""
    if value is None:
        return None
    if type_ == "int64":
        if type(value) is not int or not -(2**63) <= value < 2**63:
            raise one.fault(key, "a whole number of 64 bits", repr(value))
        return value
    with np.errstate(over="ignore"):
        own = np.dtype(type_).type(value).item()
    if not math.isfinite(own):
        raise one.fault(key, f"a finite number of {type_}", repr(value))
    return own
