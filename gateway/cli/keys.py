"""`penstock keys`: makes, lists, replaces and takes back the keys of a home.

Knows options, tables and JSON. Knows nothing of how keys are kept. A raw key goes to standard
output once, when it is made.
"""

from __future__ import annotations

import argparse
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.access.durations import read_duration, read_moment
from gateway.access.keys import read_key
from gateway.access.roles import ROLES
from gateway.cli.actions import add_action
from gateway.cli.known import settings, tell_new, tell_unknown, tell_unlimited
from gateway.cli.output import moment, progress, say, say_json, table
from gateway.cli.spend import list_spend
from gateway.errors import InvalidParameter

if TYPE_CHECKING:
    from gateway.control.audit import Actor
    from gateway.control.key_values import Belongs, Key
    from gateway.control.keys import Keys

# A key with white space around it; whoever names another file finds out early.
MAX_FILE_BYTES = 1024
NONE = "none"
_DIGITS = "0123456789."
_RATES = {
    "rpm": "requests_per_minute",
    "tpm": "tokens_per_minute",
    "parallel": "max_parallel",
}


def configure(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "keys",
        help="create, list, rotate and revoke API keys",
        description="Manages the keys that the data port and the control port ask for. A server"
        " that runs on this home takes a change up within a second.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    create = add_action(actions, "create", create_key, "make a key; it is shown once")
    create.add_argument(
        "--from-file",
        type=Path,
        metavar="FILE",
        help="take the key from a file, such as a mounted secret, and show none",
    )
    create.add_argument(
        "--if-missing",
        action="store_true",
        help="with --from-file: succeed where this key, or an active one of this name, is there",
    )
    create.add_argument("--name", required=True, help="what logs and metrics call it")
    create.add_argument("--role", required=True, choices=list(ROLES), help="what it may do")
    create.add_argument(
        "--models", default="*", metavar="A,B", help="the models it may call (default: '*', all)"
    )
    create.add_argument(
        "--expires",
        metavar="30d|DATE",
        help="when it ends (default: never); a date is of UTC, unless it says otherwise",
    )

    _add_limits(create)

    change = add_action(actions, "set", set_key, "change what a key may call and spend")
    change.add_argument("key", metavar="ID|NAME")
    change.add_argument("--models", metavar="A,B", help="the models it may call ('*': all)")
    _add_limits(change)

    add_action(actions, "list", list_keys, "list every key, and when it was last used")
    add_action(actions, "spend", list_spend, "list what callers, teams and tags have spent")

    rotate = add_action(actions, "rotate", rotate_key, "make a new key in the place of an old one")
    rotate.add_argument("key", metavar="ID|NAME")
    rotate.add_argument(
        "--overlap", metavar="1h", help="how long the old one is still good (default: not at all)"
    )

    revoke = add_action(actions, "revoke", revoke_key, "take a key back at once")
    revoke.add_argument("key", metavar="ID|NAME")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """Adds what a key's requests to language models count against."""
    none = "'none': no limit"
    parser.add_argument("--team", metavar="NAME", help="whose limits it shares ('none': nobody's)")
    parser.add_argument(
        "--tag",
        action="append",
        dest="tags",
        metavar="NAME",
        help="whose limits it shares, too; may be given again ('none': nobody's)",
    )
    parser.add_argument(
        "--budget",
        action="append",
        dest="budgets",
        metavar="10usd/day",
        help="usd or tokens, per day or month of UTC, or total; may be given again. Others stay as"
        " they are ('none': none of them does)",
    )
    parser.add_argument("--rpm", metavar="N", help=f"requests per minute ({none})")
    parser.add_argument("--tpm", metavar="N", help=f"tokens per minute ({none})")
    parser.add_argument("--parallel", metavar="N", help=f"requests at once ({none})")


def _belongs(args: argparse.Namespace, before: Belongs) -> Belongs:
    """What a key's requests count against, with all options given in the place of what was."""
    from gateway.access.allowance import read_allowance
    from gateway.control.key_limits import check_team
    from gateway.control.key_values import Belongs

    limits = before.allowance.as_json()
    if args.budgets is not None:
        limits["budgets"] = _budgets(args.budgets, limits["budgets"])
    for option, name in _RATES.items():
        given = getattr(args, option)
        if given is not None:
            limits[name] = None if given == NONE else _whole(given, f"--{option}")
    if args.team not in (None, NONE):
        check_team(args.team, settings(args.home))
    team = before.team if args.team is None else args.team
    tags = before.tags if args.tags is None else tuple(args.tags)
    return Belongs(
        None if team == NONE else team,
        () if tags == (NONE,) else tags,
        read_allowance(limits, "limits"),
    )


def _tell_unlimited(args: argparse.Namespace) -> None:
    team = None if args.team == NONE else args.team
    tell_unlimited(args.home, team, [tag for tag in args.tags or () if tag != NONE])


def _budgets(given: list[str], before: list[str]) -> list[str]:
    """Those given, and of those before all that are of another unit or window.

    A budget that somebody did not think of goes on holding: only `none` takes one away.
    """
    named = [text for text in given if text != NONE]
    if NONE in given:
        return named
    of = {text.lstrip(_DIGITS) for text in named}
    return [*named, *(text for text in before if text.lstrip(_DIGITS) not in of)]


def _whole(text: str, option: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise InvalidParameter(f"{option}: expected a whole number or '{NONE}', got {text[:40]!r}")
    return int(text)


def set_key(args: argparse.Namespace) -> int:
    """Changes a key's models and limits."""
    models = None if args.models is None else [name.strip() for name in args.models.split(",")]
    with _keys(args, make=False) as (keys, actor):
        number = _number(keys, args.key)
        key = keys.set(actor, number, models, lambda before: _belongs(args, before))
    if args.json:
        say_json(key.as_json(time.time()))
    else:
        say(f"key {key.id} ('{key.name}') is changed")
    tell_unknown(args.home, models or ["*"])
    _tell_unlimited(args)
    return 0


def create_key(args: argparse.Namespace) -> int:
    """Makes a key and prints it."""
    expires = None if args.expires is None else read_moment(args.expires, time.time(), "--expires")
    models = [name.strip() for name in args.models.split(",")]
    if args.from_file is not None:
        return _adopt(args, models, expires)
    if args.if_missing:
        raise InvalidParameter("--if-missing: expected --from-file with it")
    from gateway.control.key_values import NOTHING

    tell_new(args.home)
    with _keys(args) as (keys, actor):
        limited = _belongs(args, NOTHING)
        made = keys.create(actor, args.name, args.role, models, expires, limited)
    status = _show_once(args, *made)  # first: whatever goes wrong later, it is shown no more
    tell_unknown(args.home, models)
    _tell_unlimited(args)
    return status


def _adopt(args: argparse.Namespace, models: list[str], expires: float | None) -> int:
    """Makes a key of one that lies in a file, and says which it is."""
    from gateway.control.key_values import NOTHING

    raw = _read_key(args.from_file)
    with _keys(args) as (keys, actor):
        limited = _belongs(args, NOTHING)
        key, made = keys.adopt(
            actor, args.name, args.role, raw, models, expires, args.if_missing, limited
        )
    if args.json:
        say_json({**key.as_json(time.time()), "made": made})
    else:
        how = "made from" if made else f"there already, {key.state(time.time())}, not made from"
        say(f"key {key.id} ('{key.name}', role {key.role}) is {how} {args.from_file}")
    tell_unknown(args.home, models)
    _tell_unlimited(args)
    return 0


def _read_key(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise InvalidParameter(f"--from-file: {path}: {error.strerror}") from error
    if mode & stat.S_IROTH:
        progress(f"{path}: everybody on this machine may read it")
    try:
        return read_key(text)
    except InvalidParameter as error:
        raise InvalidParameter(f"--from-file: {path}: {error}") from error


def rotate_key(args: argparse.Namespace) -> int:
    """Makes a successor and prints it."""
    overlap_s = 0.0 if args.overlap is None else read_duration(args.overlap, "--overlap")
    with _keys(args) as (keys, actor):
        return _show_once(args, *keys.rotate(actor, _number(keys, args.key), overlap_s))


def revoke_key(args: argparse.Namespace) -> int:
    """Takes a key back."""
    with _keys(args, make=False) as (keys, actor):
        key = keys.revoke(actor, _number(keys, args.key))
    if args.json:
        say_json(key.as_json(time.time()))
    else:
        say(f"key {key.id} ('{key.name}') is revoked")
    return 0


def list_keys(args: argparse.Namespace) -> int:
    """Prints one line a key."""
    from gateway.control.keys import retiring
    from gateway.control.store import FILE

    now = time.time()
    known: tuple[Key, ...] = ()
    if (args.home / FILE).exists():  # looking makes no home
        with _keys(args, make=False) as (keys, _):
            known = keys.all()
    if args.json:
        say_json([key.as_json(now) for key in known])
        return 0
    going = retiring(known, now)
    limited = any(_counts_against(key) for key in known)
    rows = [
        (
            key.id,
            key.name,
            key.role,
            ", ".join(key.models),
            *((_counts_against(key) or "-",) if limited else ()),
            "retiring" if key.id in going else key.state(now),
            _when(key.expires_at),
            _when(key.last_used_at),
            key.created_by,
        )
        for key in known
    ]
    against = ("COUNTS AGAINST",) if limited else ()
    header = ("ID", "NAME", "ROLE", "MODELS", *against, "STATE", "EXPIRES", "LAST USED", "BY")
    say(table(header, rows) if rows else f"no keys under {args.home}")
    return 0


def _counts_against(key: Key) -> str:
    """A key's team, tags and own limits, as they are given; empty: nothing."""
    limits = key.belongs.allowance.as_json()
    rates = ((f"--{option} {limits[name]}", limits[name]) for option, name in _RATES.items())
    return ", ".join(
        (
            *((f"team {key.belongs.team}",) if key.belongs.team else ()),
            *(f"tag {tag}" for tag in key.belongs.tags),
            *limits["budgets"],
            *(said for said, most in rates if most is not None),
        )
    )


def _show_once(args: argparse.Namespace, key: Key, raw: str) -> int:
    if args.json:
        say_json({**key.as_json(time.time()), "key": raw})
    else:
        say(f"key {key.id} ('{key.name}', role {key.role}); it is not shown again:")
        say(raw)
    return 0


def _when(at: float | None) -> str:
    return "-" if at is None else moment(at)


def _number(keys: Keys, word: str) -> int:
    """The id that a word is, or that the active key of this name has."""
    if word.isascii() and word.isdigit():
        return min(int(word), 2**63 - 1)
    return keys.named(word).id


@contextmanager
def _keys(args: argparse.Namespace, make: bool = True) -> Iterator[tuple[Keys, Actor]]:
    """The keys of a home, and who changes them; to `make` some takes the server's secret."""
    from gateway.access.secret import server_secret
    from gateway.control.audit import at_terminal
    from gateway.control.keys import Keys
    from gateway.control.store import Store

    with Store.open(args.home) as store:
        yield Keys(store, server_secret(args.home) if make else b""), at_terminal()
