"""Captured rows with what came of them, in one file that a training script reads.

Knows files of captured rows and the ledger as they lie on the disk, so it needs no server and
minds none. Knows nothing of configurations. Blocking.

    request_id, row, at, version, why, prediction, score, outcome, outcome_at, then each feature
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from gateway.capture import files
from gateway.capture.files import File
from gateway.capture.schema import FEATURE, Schema
from gateway.capture.table import SCHEMA
from gateway.errors import InvalidParameter, NotFound
from gateway.outcomes.address import parse_id
from gateway.outcomes.view import LedgerView

if TYPE_CHECKING:
    import pyarrow

FORMS: Final = (".parquet", ".csv", ".ndjson")
FEATURES: Final = b"penstock.features"
"""Of an exported file's metadata: the names of the features, as JSON."""
_FIRST: Final = ("request_id", "row", "at")
_THEN: Final = ("why", "prediction", "score")
_HALF: Final = ".half"
Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Exported:
    """What was written, and what there was not.

    Attributes:
        rows: in the file.
        labelled: of them, rows whose outcome is known.
        captured: rows that were looked at.
        uncaptured: outcomes of the same time whose row was not captured.
        features: names of columns.
        versions: whose rows there are.
    """

    rows: int = 0
    labelled: int = 0
    captured: int = 0
    uncaptured: int = 0
    features: list[str] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)


def export(
    folder: Path,
    ledger: LedgerView,
    model: str,
    version: int | None,
    first_ms: int,
    labelled: bool,
    out: Path,
    outputs: bool = False,
    progress: Progress = lambda done, whole: None,
) -> Exported:
    """Writes the rows of a model.

    Args:
        folder: of captured rows.
        ledger: what came of them.
        model: whose rows.
        version: of it; None: all.
        first_ms: rows answered since; 0: all.
        labelled: only rows whose outcome is known.
        out: the file; its name says its form.
        outputs: all outputs of the model, too.
        progress: told of bytes done, and of how many there are.

    Raises:
        InvalidParameter: the form is unknown, or versions do not fit in one table.
        NotFound: nothing was captured.
    """
    if out.suffix.lower() not in FORMS:
        raise InvalidParameter(f"{out}: expected a name that ends in {' or '.join(FORMS)}")
    some = [
        one
        for one in files.files_in(folder, model)
        if one.version == (version or one.version) and one.last_ms >= first_ms
    ]
    if not some:
        when = " in that time" if first_ms else ": set models.NAME.capture"
        raise NotFound(f"model '{model}': no rows were captured{when}")
    whole = _schema(some, outputs)
    found = Exported(features=orjson.loads(whole.metadata[FEATURES]))
    found.versions = sorted({one.version for one in some})
    done, size = 0, sum(one.nbytes for one in some)
    with _writer(out, whole) as write:
        for one in some:
            # One that is removed meanwhile was too old.
            with contextlib.suppress(FileNotFoundError):
                write(_rows(one, ledger, whole, first_ms, labelled, found))
            done += one.nbytes
            progress(done, size)
    return found


def _rows(
    file: File,
    ledger: LedgerView,
    whole: pyarrow.Schema,
    first_ms: int,
    labelled: bool,
    found: Exported,
) -> pyarrow.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    table = files.read(file.path)
    if file.first_ms < first_ms:
        table = table.filter(pc.greater_equal(table["at"].cast(pa.int64()), first_ms))
    outcomes, at_ms = _outcomes(ledger, table)
    there = ~np.isnan(outcomes)
    found.captured += len(there)
    found.labelled += int(there.sum())
    columns = {name: table[name] for name in whole.names if name in table.column_names}
    columns["version"] = pa.array(np.full(len(there), file.version), pa.int32())
    columns["outcome"] = pa.array(outcomes, pa.float64(), mask=~there)
    columns["outcome_at"] = pa.array(at_ms, pa.int64(), mask=~there).cast(_moment())
    rows = pa.table(
        [
            columns[name].cast(kind) if name in columns else pa.nulls(len(there), kind)
            for name, kind in zip(whole.names, whole.types, strict=True)
        ],
        schema=whole,
    )
    if labelled:
        rows = rows.filter(pa.array(there))
    found.rows += rows.num_rows
    return rows


def _outcomes(ledger: LedgerView, table: pyarrow.Table) -> tuple[Any, Any]:
    addresses = [parse_id(text) for text in table["request_id"].to_pylist()]
    rows = table["row"].to_numpy().astype(np.int64)
    outcomes, at_ms = np.full(len(rows), np.nan), np.zeros(len(rows), np.int64)
    streams: dict[str, list[int]] = {}
    for place, one in enumerate(addresses):
        if one is not None:
            streams.setdefault(one.stream, []).append(place)
    for stream, places in streams.items():
        sequences = np.array([one.sequence for one in addresses if one and one.stream == stream])
        known = ledger.outcomes(stream, sequences, rows[places])
        outcomes[places], at_ms[places] = known
    return outcomes, at_ms


# ---- columns -------------------------------------------------------------------------------------


def _schema(some: Sequence[File], outputs: bool) -> pyarrow.Schema:
    """The columns of all files together; where one has them not, they are empty."""
    import pyarrow as pa

    columns: dict[str, Any] = {}
    features: dict[str, None] = {}
    extra: dict[str, None] = {}
    for own in _schemas(some):
        schema = Schema.read(orjson.loads(own.metadata[SCHEMA]))
        names = [name for part in schema.parts if part.role == FEATURE for name in part.columns]
        others = [name for part in schema.parts if part.role != FEATURE for name in part.columns]
        features |= dict.fromkeys(names)
        extra |= dict.fromkeys(others)
        for one in own:
            if columns.setdefault(one.name, one.type) != one.type:
                raise InvalidParameter(
                    f"column '{one.name}': {columns[one.name]} in one version and {one.type} in"
                    " another: export one version at a time"
                )
    ours = [(name, columns[name]) for name in _FIRST]
    ours += [("version", pa.int32())]
    ours += [(name, columns[name]) for name in _THEN]
    ours += [("outcome", pa.float64()), ("outcome_at", _moment())]
    theirs = [(name, columns[name]) for name in (*features, *(extra if outputs else ()))]
    return pa.schema([*ours, *theirs]).with_metadata({FEATURES: orjson.dumps(list(features))})


def _schemas(some: Sequence[File]) -> Iterator[pyarrow.Schema]:
    """Each once."""
    from pyarrow import ArrowException, parquet

    known: set[bytes] = set()
    for one in some:
        try:
            found = parquet.read_schema(one.path)
        except FileNotFoundError:
            continue
        except (OSError, ArrowException) as error:
            raise InvalidParameter(f"{one.path}: not Parquet, or damaged: {error}") from error
        text = (found.metadata or {}).get(SCHEMA)
        if text is not None and text not in known:
            known.add(text)
            yield found


def _moment() -> Any:
    import pyarrow as pa

    return pa.timestamp("ms", "UTC")


# ---- the file ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _writer(out: Path, whole: pyarrow.Schema) -> Iterator[Callable[[pyarrow.Table], None]]:
    """Writes tables into one file, which takes its place once it is whole."""
    from pyarrow import ArrowException, csv, parquet

    half = out.with_name(out.name + _HALF)
    try:
        if out.suffix.lower() == ".parquet":
            with parquet.ParquetWriter(half, whole, compression="zstd") as writer:
                yield writer.write_table
        elif out.suffix.lower() == ".ndjson":
            with half.open("wb") as lines:
                yield lambda table: lines.writelines(_lines(table))
        else:
            with csv.CSVWriter(half, _flat_schema(whole)) as writer:
                yield lambda table: writer.write_table(_flat(table))
        half.rename(out)
    except (OSError, ArrowException) as error:
        raise InvalidParameter(f"{out}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        with contextlib.suppress(OSError):
            half.unlink()


def _lines(table: pyarrow.Table) -> Iterator[bytes]:
    """A JSON object a row; what is no number is null there."""
    for row in table.to_pylist():
        yield orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def _flat_schema(whole: pyarrow.Schema) -> pyarrow.Schema:
    import pyarrow as pa

    return pa.schema(
        [(one.name, pa.string() if pa.types.is_list(one.type) else one.type) for one in whole]
    )


def _flat(table: pyarrow.Table) -> pyarrow.Table:
    """Lists as JSON: CSV has none."""
    import pyarrow as pa

    columns = [
        pa.array(
            [None if one is None else orjson.dumps(one).decode() for one in column.to_pylist()],
            pa.string(),
        )
        if pa.types.is_list(column.type)
        else column
        for column in table.columns
    ]
    return pa.table(columns, schema=_flat_schema(table.schema))
