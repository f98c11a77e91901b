"""`penstock register`: puts a model's files into the registry.

Knows options and how to say what came of it. Knows nothing of how the registry keeps things.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.output import say, say_json
from gateway.cli.profiling import add_reading
from gateway.cli.serve import add_home

if TYPE_CHECKING:
    from gateway.profiles.values import Profile


def configure(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "register",
        help="put a model into the registry",
        description="Copies an ONNX file, with its external data, into the registry as the next"
        " version of a model. The same content again is the version that has it already. A server"
        " that runs on this home takes it up at once. Exit status 1: refused, and why.",
    )
    parser.add_argument(
        "path",
        type=Path,
        metavar="FILE|FOLDER",
        help="an ONNX file, or a folder with one and maybe a config.pbtxt and a tokenizer.json",
    )
    parser.add_argument("--name", help="the model (default: the file's or folder's own name)")
    parser.add_argument("--version", type=int, metavar="N", help="its number (default: the next)")
    parser.add_argument(
        "--alias",
        action="append",
        default=[],
        metavar="A",
        help="point an alias at it: champion, ...",
    )
    parser.add_argument(
        "--meta",
        action="append",
        default=[],
        type=_pair,
        metavar="K=V",
        help="note something about it",
    )
    parser.add_argument(
        "--tokenizer",
        type=Path,
        metavar="FILE",
        help="the tokenizer.json of a model of texts (default: the one in its folder)",
    )
    parser.add_argument(
        "--reference",
        metavar="FILE",
        help="rows to make its reference profile of, as `penstock profile` does",
    )
    add_reading(parser.add_argument_group("how the rows of --reference are read"))
    add_home(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Profiles, registers, tells the running server, and says what came of it.

    Profiled first: where the rows do not fit the model, nothing is registered.
    """
    from gateway.cli import verdict
    from gateway.cli.progress import Bar, size
    from gateway.control.registry import Registry
    from gateway.control.store import Store

    profile = _profile(args)
    with Store.open(args.home) as store, Bar("copying") as bar:
        registry = Registry(store, args.home)
        registered = registry.register(
            args.path,
            name=args.name,
            version=args.version,
            aliases=args.alias,
            metadata=dict(args.meta),
            progress=bar,
            tokenizer=args.tokenizer,
        )
        found = registered.version
        if profile is not None:
            found = registry.attach_profile(found.model, found.version, profile)
    answer = verdict.announce(args.home, found.model, found.version)
    if args.json:
        say_json({"new": registered.new, **found.as_json(), "server": answer.as_json()})
        return answer.status
    done = "registered" if registered.new else "known already:"
    say(f"{done} model '{found.model}' version {found.version} ({size(found.bytes)})")
    for side, specs in (("input", found.inputs), ("output", found.outputs)):
        for spec in specs:
            say(f"  {side:6}  {spec.name}  {spec.datatype} {list(spec.shape)}")
    if found.aliases:
        say(f"  alias   {', '.join(found.aliases)}")
    if found.profile and profile is not None:
        say(f"  profile {found.profile.digest[:12]} of {found.profile.rows} rows")
    for line in answer.words():
        say(line)
    return answer.status


def _profile(args: argparse.Namespace) -> Profile | None:
    """Of the rows that were given; else what stands beside the model in its folder."""
    from gateway.cli.profiling import make, of_package
    from gateway.models import package
    from gateway.profiles import beside

    if args.reference is not None:
        return make(args, of_package(package.unpack(args.path, args.name)), args.reference).profile
    return beside.find(args.path) if args.path.is_dir() else None


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise argparse.ArgumentTypeError(f"wanted KEY=VALUE, got {text!r}")
    return key, value
