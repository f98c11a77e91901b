"""`penstock infer`: asks a model about the rows of a file and prints the answers.

Knows options and the three forms of printing. Knows nothing of files or of the protocol.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from gateway.cli.arguments import names, positive
from gateway.cli.certificate_options import add_certificates, paired
from gateway.cli.output import say, table
from gateway.cli.serve import add_home
from gateway.errors import GatewayError, WrongOutputs

if TYPE_CHECKING:
    from gateway.client import Answer, Client, Model
    from gateway.tensors import Array, TensorSpec

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_BATCH = 128  # what a model takes at once unless it was told otherwise
TIMEOUT_S = 60.0
KEY = "PENSTOCK_KEY"
# A server that is being replaced, or is busy for a moment, should not end a long file.
RETRIES = 3


def configure(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "infer",
        help="ask a model about the rows of a file",
        description="Sends the rows of a file to a model and prints its answers: a table on a"
        " terminal, CSV elsewhere. Columns become the one input in their order, or several inputs"
        " by their names. PENSTOCK_KEY, where it is set, is sent as the key. The certificate of"
        " this home's own server is known. Exit status 1: some rows were not answered; those"
        " before them are printed.",
    )
    parser.add_argument("model", metavar="MODEL", help="its name")
    parser.add_argument(
        "--data",
        required=True,
        metavar="FILE",
        help="rows.csv, .ndjson, .parquet, .json, .npy or .npz; -: standard input",
    )
    parser.add_argument("--format", help="of the data: csv, ndjson, ... (default: by its name)")
    parser.add_argument("--version", metavar="N", help="of the model (default: its own choice)")
    parser.add_argument("--url", help="the server (default: the one of this home, else :8000)")
    parser.add_argument("--columns", type=names, default=(), metavar="A,B", help="only these")
    parser.add_argument("--drop", type=names, default=(), metavar="A,B", help="all but these")
    parser.add_argument(
        "--output", action="append", default=[], metavar="NAME", help="only this output; repeatable"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N rows")
    parser.add_argument(
        "--batch", type=positive, default=DEFAULT_BATCH, metavar="N", help="rows in a request"
    )
    add_certificates(parser)
    add_home(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a row")
    form.add_argument("--csv", action="store_true", help="CSV on a terminal, too")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Asks about every row, batch by batch, and prints as the answers come."""
    from gateway.cli.progress import Bar
    from gateway.rows.batch import Source
    from gateway.rows.source import batches, format_of

    source = Source(args.data, format_of(args.data, args.format), args.columns, args.drop)
    with _client(args) as client, Bar("asking") as bar:
        model = client.model(args.model, args.version)
        printer = _printer(args, model)
        first = 1
        for batch in batches(source, model.inputs, args.batch, args.limit, bar):
            try:
                answer = client.infer(
                    args.model, batch.inputs, version=args.version, outputs=args.output
                )
            except GatewayError as error:
                last = first + batch.rows - 1
                asked = f"row {first}" if first == last else f"rows {first} to {last}"
                error.args = (f"{asked}: {error}",)
                raise
            printer.rows(answer, batch.rows)
            first += batch.rows
        printer.end()
    return 0


def _client(args: argparse.Namespace) -> Client:
    """Of the server that --url names, else of this home's."""
    from gateway.cli import running
    from gateway.client import Client

    url, verify, cert = DEFAULT_URL, args.cacert or True, paired(args.client_cert, args.client_key)
    if args.url:
        url = args.url
    elif server := running.find(args.home):
        url, verify = running.data_url(server), running.verify(server, "tls")
        cert = running.shown(server, "tls", cert)
    key = os.environ.get(KEY)
    return Client(url, key, timeout_s=TIMEOUT_S, retries=RETRIES, verify=verify, cert=cert)


# ---- printing -----------------------------------------------------------------------------------


class _Printer(Protocol):
    def rows(self, answer: Answer, count: int) -> None: ...

    def end(self) -> None: ...


def _printer(args: argparse.Namespace, model: Model) -> _Printer:
    if args.json:
        return _Ndjson()
    if args.csv or not sys.stdout.isatty():
        return _Csv(model)
    return _Table(model)


class _Ndjson:
    """One object a row, its outputs in their natural shape."""

    def rows(self, answer: Answer, count: int) -> None:
        import orjson

        for row in range(count):
            line = {name: _natural(array, row, count) for name, array in answer.items()}
            say(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY).decode())

    def end(self) -> None:
        """Nothing is kept."""


def _natural(array: Array, row: int, count: int) -> Any:
    # What a model gives once for all rows is told with each.
    part = array[row] if array.ndim and array.shape[0] == count else array
    if array.dtype != object:
        return part
    return part.decode(errors="replace") if isinstance(part, bytes) else _texts(part.tolist())


def _texts(value: Any) -> Any:
    if isinstance(value, list):
        return [_texts(one) for one in value]
    return value.decode(errors="replace")


class _Csv:
    """A header, and a line a row."""

    def __init__(self, model: Model) -> None:
        self._specs = {spec.name: spec for spec in model.outputs}
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._begun = False

    def rows(self, answer: Answer, count: int) -> None:
        columns = labelled(answer, self._specs, count)
        if not self._begun:
            self._writer.writerow(columns)
            self._begun = True
        self._writer.writerows(zip(*map(_cells, columns.values()), strict=True))

    def end(self) -> None:
        """Nothing is kept."""


class _Table:
    """Columns as wide as their widest cell, which only the last row decides."""

    def __init__(self, model: Model) -> None:
        self._specs = {spec.name: spec for spec in model.outputs}
        self._header: Sequence[str] = ()
        self._lines: list[Sequence[object]] = []

    def rows(self, answer: Answer, count: int) -> None:
        columns: Mapping[str, Array] = labelled(answer, self._specs, count)
        self._header = list(columns)
        self._lines += zip(*map(_cells, columns.values()), strict=True)

    def end(self) -> None:
        if self._lines:
            say(table(self._header, self._lines))


def labelled(
    answer: Mapping[str, Array], specs: Mapping[str, TensorSpec], rows: int
) -> dict[str, Array]:
    """An answer as columns: an output of several values a row becomes as many, `name[label]`.

    Raises:
        WrongOutputs: an output does not have a value for each row.
    """
    columns: dict[str, Array] = {}
    for name, array in answer.items():
        if array.ndim == 0 or array.shape[0] != rows:
            raise WrongOutputs(
                f"output '{name}' of shape {list(array.shape)} has no row for each of {rows}: "
                "print it with --json"
            )
        flat = array.reshape(rows, -1)
        spec = specs.get(name)
        labels = spec.labels if spec and len(spec.labels) == flat.shape[1] else range(flat.shape[1])
        if array.ndim == 1 or flat.shape[1] == 1:
            columns[name] = flat[:, 0]
        else:
            columns |= {f"{name}[{label}]": flat[:, n] for n, label in enumerate(labels)}
    return columns


def _cells(column: Array) -> Iterable[str]:
    """Floats as the shortest text of their own precision."""
    if column.dtype == object:
        return [value.decode(errors="replace") for value in column]
    return [str(value) for value in column]
