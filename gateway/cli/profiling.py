"""What `penstock profile` and `penstock register --reference` share: rows to a profile.

Knows their options. Knows nothing of where a profile is kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.arguments import names, positive
from gateway.cli.serve import prepare_environment
from gateway.errors import InvalidParameter

if TYPE_CHECKING:
    from gateway.control.entries import Version
    from gateway.models.package import Package
    from gateway.plan import Held
    from gateway.profiling import Options, Profiled
    from gateway.rows.batch import Source
    from gateway.tensors import Signature


def add_reading(parser: Any) -> None:
    """Adds the options that say how rows are read and counted."""
    parser.add_argument("--format", help="of the data: csv, parquet, ... (default: by its name)")
    parser.add_argument(
        "--labels", nargs="+", default=[], metavar="COLUMN", help="true answers, no inputs"
    )
    parser.add_argument(
        "--label",
        default="",
        metavar="COLUMN",
        help="the true class, no input: scores are held against it, for estimates",
    )
    parser.add_argument("--columns", type=names, default=(), metavar="A,B", help="only these")
    parser.add_argument("--drop", type=names, default=(), metavar="A,B", help="all but these")
    parser.add_argument(
        "--categories", type=names, default=(), metavar="A,B", help="whole numbers that are names"
    )
    parser.add_argument(
        "--exact-ks",
        type=names,
        default=(),
        metavar="A,B",
        help="columns with an exact KS distance",
    )
    parser.add_argument("--bins", type=_bins, default=60, metavar="N", help="of a column (60)")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N rows")


def make(args: argparse.Namespace, held: Held, data: str) -> Profiled:
    """The profile of a model on a file's rows, with a bar while it takes."""
    prepare_environment(args.home if args.home.is_dir() else None)
    from gateway.cli.progress import Bar
    from gateway.profiling import profile_of

    source, options = _asked(args, held.name, data)
    with Bar("reading") as reading, Bar("counting") as counting:
        return profile_of(held, source, options, reading, counting)


def make_of_answers(
    args: argparse.Namespace, name: str, signature: Signature, data: str
) -> Profiled:
    """The same of a model that need not be run, since the rows hold what it said."""
    prepare_environment(args.home if args.home.is_dir() else None)
    from gateway.cli.progress import Bar
    from gateway.profiling import profile_of_answers

    if args.label:
        raise InvalidParameter("--label: a language model has no scores to hold against labels")
    source, options = _asked(args, name, data)
    with Bar("reading") as reading, Bar("counting") as counting:
        return profile_of_answers(signature, source, options, reading, counting)


def _asked(args: argparse.Namespace, name: str, data: str) -> tuple[Source, Options]:
    """Which rows are read, and how they are counted."""
    from gateway.cli import proposing
    from gateway.profiling import Options
    from gateway.rows.batch import Source
    from gateway.rows.source import format_of

    drop = (*args.drop, *args.labels)
    form = format_of(data, args.format)
    source = Source(data, form, args.columns, drop, label=args.label)
    config = proposing.revision(args.home).config
    names_there, categories_there = config.features_of(name)
    options = Options(
        args.bins,
        limit=args.limit,
        categories=args.categories,
        exact=args.exact_ks,
        configured=names_there,
        configured_categories=tuple(categories_there),
        scores=config.scores_of(name),
    )
    return source, options


def of_version(version: Version) -> Held:
    """A registered version, to be loaded."""
    return _held(
        version.model,
        version.version,
        version.folder,
        version.file,
        version.hints,
        version.declared,
    )


def of_package(package: Package) -> Held:
    """A model that lies somewhere, to be loaded."""
    hints = package.hints
    return _held(package.name, 1, package.folder, package.onnx.file, hints.hints, hints.declared)


def _bins(text: str) -> int:
    number = positive(text)
    if not 2 <= number <= 1000:
        raise argparse.ArgumentTypeError(f"expected 2 to 1000, got '{text}'")
    return number


def _held(
    name: str,
    version: int,
    folder: Path,
    file: str,
    hints: Mapping[str, Any],
    declared: Mapping[str, Any],
) -> Held:
    from gateway.config import Config
    from gateway.models import content, onnx_file
    from gateway.plan import Held

    settings = Config().settings(name, hints).model_dump(mode="json")
    digest = content.digest(folder, onnx_file.inspect(folder, file).files)
    return Held(name, version, str(folder), file, digest, settings, declared, block=0)
