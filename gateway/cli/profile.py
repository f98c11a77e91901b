"""`penstock profile`: what a model's inputs and outputs look like when all is well.

Knows options and how a profile is shown. Knows nothing of how one is made or kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.models import registry_of, store_of
from gateway.cli.output import say, say_json, table
from gateway.cli.profiling import add_reading, make, make_of_answers, of_package, of_version
from gateway.cli.serve import add_home
from gateway.errors import (
    GatewayError,
    InvalidParameter,
    ModelNotFound,
    ProfileNotFound,
    VersionNotFound,
)

if TYPE_CHECKING:
    from gateway.cli.verdict import Verdict
    from gateway.config.llm import Llm, LlmModel
    from gateway.control.registry import Registry
    from gateway.control.self_references import SelfReferences
    from gateway.profiles.values import Calibration, Column, Frame, Profile
    from gateway.profiling import Profiled

# Lines of a table; more are for a program to read.
MAX_SHOWN = 200


def configure(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "profile",
        help="make or show a model's reference profile",
        usage="penstock profile MODEL [VERSION|ALIAS] --data FILE [options]\n"
        "       penstock profile show MODEL [VERSION|ALIAS] [--json]\n"
        "       penstock profile reset MODEL [VERSION|ALIAS] [--json]",
        description="Runs a model over the rows of a file, notes how its inputs and outputs are"
        " distributed, and attaches that to the version: live traffic is held against it. MODEL is"
        " a registered name, or a version's folder in a repository, where the profile is then"
        " written. Of a language model the rows are features of its answers, and nothing is run."
        " `show` prints the profile that there is; it also takes a file. `reset` forgets"
        " what a version without a profile took from its own first rows, and takes the next ones."
        " Meanwhile the rows lie in a temporary file (TMPDIR).",
    )
    parser.add_argument("words", nargs="+", metavar="MODEL", help="and a version or alias of it")
    parser.add_argument("--data", metavar="FILE", help="rows; -: standard input")
    add_reading(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it there and nowhere else")
    add_home(parser)
    parser.add_argument("--json", action="store_true", help="print the profile, or what was done")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Makes a profile, shows one, or forgets one that a model made of its own rows."""
    if args.words[0] == "reset" and args.data is None:
        return _reset(args, *_model_and_version(args.words[1:]))
    if args.words[0] == "show" and args.data is None:
        return _show(args, *_model_and_version(args.words[1:]))
    name, which = _model_and_version(args.words)
    if args.data is None:
        raise InvalidParameter(f"profile: wanted --data FILE, or: penstock profile show {name}")
    if Path(name).is_dir():
        return _beside(args, Path(name))
    if (model := _llm(args.home).models.get(name)) is not None:
        return _of_answers(args, name, model, which)
    return _registered(args, name, which)


def _model_and_version(words: Sequence[str]) -> tuple[str, str | None]:
    if not 1 <= len(words) <= 2:
        raise InvalidParameter(f"profile: wanted MODEL [VERSION|ALIAS], got {' '.join(words)!r}")
    return words[0], words[1] if len(words) == 2 else None


# ---- making -------------------------------------------------------------------------------------


def _registered(args: argparse.Namespace, name: str, which: str | None) -> int:
    from gateway.cli import verdict
    from gateway.profiles import beside

    with registry_of(args.home) as registry:
        version = registry.resolve(name, which)
        made = make(args, of_version(version), args.data)
        if args.out is not None:
            beside.save(made.profile, args.out)
            return _say_made(args, made, f"written to {args.out}", None)
        registry.attach_profile(version.model, version.version, made.profile)
    answer = verdict.announce(args.home, version.model, version.version)
    where = f"attached to model '{version.model}' version {version.version}"
    return _say_made(args, made, where, answer)


def _llm(home: Path) -> Llm:
    """What the newest document of a home says of language models."""
    from gateway.cli import proposing  # with the whole configuration: not for a mere --help

    return proposing.revision(home).config.llm


def _beside(args: argparse.Namespace, folder: Path) -> int:
    from gateway.models import package
    from gateway.profiles import beside

    made = make(args, of_package(package.unpack(folder)), args.data)
    target = args.out or folder / beside.FILE
    beside.save(made.profile, target)
    return _say_made(args, made, f"written to {target}", None)


def _of_answers(args: argparse.Namespace, name: str, model: LlmModel, which: str | None) -> int:
    """Of a language model: rows of features, as `penstock export --outputs` writes them."""
    from gateway.cli import verdict
    from gateway.llm.features import SIGNATURE
    from gateway.llm.settings import answering
    from gateway.profiles import beside

    number = model.default or max(model.versions) if which is None else _number(which)
    if number not in model.versions:
        raise VersionNotFound(f"model '{name}' has no version {which}")
    made = make_of_answers(args, name, SIGNATURE, args.data)
    if args.out is not None:
        beside.save(made.profile, args.out)
        return _say_made(args, made, f"written to {args.out}", None)
    content = answering(model.versions[number], _llm(args.home).providers)
    with references_of(args.home) as (_, own):
        own.attach(name, number, content, made.profile)
    answer = verdict.announce(args.home, name, number)
    return _say_made(args, made, f"attached to model '{name}' version {number}", answer)


def _number(which: str) -> int:
    return int(which) if which.isascii() and which.isdecimal() else 0


def _say_made(args: argparse.Namespace, made: Profiled, where: str, answer: Verdict | None) -> int:
    from gateway.profiles.document import digest

    profile = made.profile
    columns = sum(1 for _ in profile.columns())
    if args.json:
        say_json(
            {
                "digest": digest(profile),
                "rows": profile.rows,
                "columns": columns,
                "left_out": list(made.left_out),
                "where": where,
                "server": answer and answer.as_json(),
            }
        )
        return answer.status if answer else 0
    say(f"profile {digest(profile)[:12]} of {profile.rows} rows, {columns} columns: {where}")
    if profile.calibration is not None:
        say(_calibrated(profile.calibration))
    for name in made.left_out:
        say(f"output '{name}' is not in it: it has no row for each row")
    for line in answer.words() if answer else ():
        say(line)
    return answer.status if answer else 0


# ---- showing ------------------------------------------------------------------------------------


def _show(args: argparse.Namespace, name: str, which: str | None) -> int:
    from gateway.profiles.document import text

    profile = found_profile(args.home, name, which)
    if args.json:
        say(text(profile).rstrip())
    else:
        print_profile(profile)
    return 0


def found_profile(home: Path, name: str, which: str | None) -> Profile:
    """The profile in a file or folder, or of a version: attached, or made of its own rows.

    Raises:
        ModelNotFound, VersionNotFound, ProfileNotFound, ProfileInvalid: there is none.
    """
    from gateway.profiles import beside

    place = Path(name)
    if place.is_file():
        return beside.load(place)
    if place.is_dir():
        found = beside.find(place)
        if found is None:
            raise ProfileNotFound(f"{place}: no {beside.FILE}")
        return found
    with references_of(home) as (registry, own):
        made = own.find(*_own_version(registry, own, name, which))
        try:
            return registry.profile(name, which)
        except GatewayError:
            if made is None:
                raise
        return beside.load(made.file)


# ---- a model's own rows -------------------------------------------------------------------------


def _reset(args: argparse.Namespace, name: str, which: str | None) -> int:
    from gateway.cli import verdict

    with references_of(args.home) as (registry, own):
        model, version = _own_version(registry, own, name, which)
        forgotten = own.reset(model, version)
    answer = verdict.announce(args.home, model, version)
    if args.json:
        value = {"model": model, "version": version, "forgotten": forgotten.as_json()}
        say_json({**value, "server": answer.as_json()})
        return answer.status
    say(
        f"model '{model}' version {version}: profile {forgotten.digest[:12]} of"
        f" {forgotten.rows} rows is forgotten; the next rows take its place"
    )
    for line in answer.words():
        say(line)
    return answer.status


@contextmanager
def references_of(home: Path) -> Iterator[tuple[Registry, SelfReferences]]:
    """The registry of a home, and the references that were made of first rows."""
    from gateway.control.registry import Registry
    from gateway.control.self_references import SelfReferences

    with store_of(home) as store:
        yield Registry(store, home), SelfReferences(store, home)


def _own_version(
    registry: Registry, own: SelfReferences, name: str, which: str | None
) -> tuple[str, int]:
    """Which version is meant: of a registered model, or of one that a file or folder brings."""
    try:
        return name, registry.resolve(name, which).version
    except (ModelNotFound, VersionNotFound):
        known = [version for model, version in own.all() if model == name]
        meant = [one for one in known if which is None or str(one) == which]
        if not meant:
            raise
        return name, max(meant)


def print_profile(profile: Profile) -> None:
    """A table a frame, a line a column."""
    from gateway.profiles.document import digest

    sampled = profile.sampled_rows
    of_all = "" if sampled == profile.rows else f", edges from a sample of {sampled}"
    own = ", self-referenced" if profile.self_referenced else ""
    say(f"profile {digest(profile)[:12]} of {profile.rows} rows{of_all}{own}")
    if profile.calibration is not None:
        say(_calibrated(profile.calibration))
    for frame in profile.frames:
        say()
        say(_title(frame))
        shown = frame.columns[:MAX_SHOWN]
        header = ("COLUMN", "BINS", "MISSING", "MIN", "MEAN", "MAX", "STD", "DISTRIBUTION")
        say(table(header, [_line(column) for column in shown]))
        if len(shown) < len(frame.columns):
            say(f"... and {len(frame.columns) - len(shown)} more; --json prints all")


def _calibrated(found: Calibration) -> str:
    errors = f"{found.ece:.3g} as they are, {found.ece_calibrated:.3g} by a table"
    kept = f"a table of {len(found.upto)} steps is kept" if found.upto else "they stay as they are"
    return f"scores of {found.rows} labelled rows: calibration error {errors}; {kept}"


def _title(frame: Frame) -> str:
    what = f"{frame.role} '{frame.tensor}' {frame.datatype} {list(frame.shape)}"
    summary = f", {frame.summary.kind}" if frame.summary else ""
    coarse = len(frame.columns) - frame.detailed
    return f"{what}{summary}" + (f", the last {coarse} columns at coarse detail" if coarse else "")


def _line(column: Column) -> tuple[object, ...]:
    from gateway.cli.pictures import of_column

    found = column.moments
    missing = f"{column.missing / column.rows:.1%}" if column.missing else "-"
    figures = [_short(value) for value in (found.min, found.mean, found.max, found.std)]
    return (column.name, column.bins, missing, *figures, of_column(column) + _note(column))


def _note(column: Column) -> str:
    if column.constant:
        return " constant"
    if column.buckets:
        return " hashed"
    if len(column.points):
        return f" KS at {len(column.points)} points"
    if column.categories:
        pairs = zip(column.counts.tolist(), column.categories, strict=True)
        largest = sorted(pairs, key=lambda pair: -pair[0])
        names = ", ".join(str(name)[:20] for _, name in largest[:3])
        return f" {names}" + (", ..." if len(largest) > 3 else "")
    return ""


def _short(value: float | int | None) -> str:
    return "-" if value is None else f"{value:.4g}"
