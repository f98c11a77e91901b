"""`penstock config`: what may be set, what is in force, what would change, and its history.

Knows options and how revisions and differences are printed. Knows nothing of what may be set
(`gateway.config` does) or of how revisions are kept.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.actions import add_action
from gateway.cli.output import moment, printable, progress, say, say_json, table
from gateway.errors import ConfigInvalid

if TYPE_CHECKING:
    from gateway.cli.proposing import Told
    from gateway.control.differences import Difference
    from gateway.control.revisions import Revision
    from gateway.layers import Setting


def configure(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "config",
        help="check, compare, apply and roll back the configuration",
        description="The configuration document: what it may say, what is in force, and what was."
        " A server that runs on this home takes a new revision up at once.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_action(actions, "schema", print_schema, "print the JSON schema, for editors", home=False)

    check = add_action(
        actions, "check", check_file, "tell all faults of a document at once", home=False
    )
    check.add_argument("file", type=Path, metavar="FILE", help="YAML document")

    litellm = add_action(
        actions,
        "import-litellm",
        import_litellm,
        "print what LiteLLM's configuration comes to here, and on stderr what it could not",
        home=False,
    )
    litellm.add_argument("file", type=Path, metavar="FILE", help="LiteLLM's config.yaml")

    diff = add_action(actions, "diff", print_difference, "tell what would change, or what changed")
    diff.add_argument("old", metavar="FILE|N", help="a file, against what is in force; or a number")
    diff.add_argument("new", nargs="?", metavar="FILE|N", help="against this, instead")

    apply = add_action(actions, "apply", apply_file, "put a document in force, as a new revision")
    apply.add_argument("file", type=Path, metavar="FILE", help="YAML document")
    _add_terms(apply)

    history = add_action(actions, "history", list_revisions, "list the revisions, newest first")
    history.add_argument("--limit", type=int, default=20, metavar="N", help="how many (default 20)")
    history.add_argument("--before", type=int, metavar="N", help="only those before revision N")

    show = add_action(
        actions, "show", show_revision, "print a document (default: what is in force)"
    )
    show.add_argument("number", nargs="?", type=int, metavar="N", help="this revision")
    show.add_argument(
        "--effective",
        action="store_true",
        help="every value, and whether document, environment or option set it",
    )

    rollback = add_action(actions, "rollback", roll_back, "put an earlier document in force again")
    rollback.add_argument(
        "number",
        nargs="?",
        type=int,
        metavar="N",
        help="its revision (default: a step back from what is in force, and then another)",
    )
    _add_terms(rollback)


def print_schema(args: argparse.Namespace) -> int:
    """Prints the schema; it is JSON either way."""
    from gateway.config import Config

    say_json(Config.model_json_schema(), indent=None if args.json else 2)
    return 0


def check_file(args: argparse.Namespace) -> int:
    """Prints that `serve` would take the document, and with what warnings.

    Raises:
        ConfigInvalid: it would not, with all faults.
    """
    from gateway import config, layers
    from gateway.cli import preflight

    document = config.load(args.file)
    doubts = preflight.check(layers.effective(document, os.environ, ()))
    if args.json:
        understood = {"config": document.model_dump(mode="json"), "warnings": doubts}
        say_json({"ok": True, "file": str(args.file), **understood})
        return 0
    named = f", {len(document.models)} models named" if document.models else ""
    say(f"{args.file}: no faults{named}")
    for doubt in doubts:
        say(f"warning: {doubt}")
    return 0


def import_litellm(args: argparse.Namespace) -> int:
    """Prints a document that `config apply` takes; status 1 where no model could be carried over.

    Raises:
        ConfigInvalid: the file is not YAML, or says what no document here may say.
    """
    from gateway import config, yaml_text
    from gateway.cli.litellm import converted

    source = args.file.name
    values, faults = yaml_text.read(config.read_text(args.file), source)
    if faults:
        raise ConfigInvalid("\n".join(f"{source}: {fault}" for fault in faults))
    found = converted(values, os.environ)
    text = yaml_text.write(found.document)
    config.parse(text, f"{source}, carried over")
    left_out = [printable(f"{one.path}: {one.why}") for one in found.left_out]
    if args.json:
        told = [asdict(one) for one in found.left_out]
        say_json({"document": found.document, "left_out": told})
    else:
        for line in left_out:
            progress(f"not carried over: {line}")
        say(text.rstrip("\n"))
    return 0 if found.document["llm"]["models"] else 1


def print_difference(args: argparse.Namespace) -> int:
    """Prints a line for everything that differs."""
    from gateway.cli import proposing

    found = proposing.difference(args.home, args.old, args.new)
    if args.json:
        say_json([one.as_json() for one in found])
    else:
        _print_changes(found)
    return 0


def apply_file(args: argparse.Namespace) -> int:
    """Checks, tells what changes, stores, and waits until a running server follows."""
    from gateway.cli import proposing

    told = proposing.apply(args.home, args.file, args.if_revision, args.note, args.dry_run)
    return _tell(args, told)


def roll_back(args: argparse.Namespace) -> int:
    """Stores an earlier document as the newest revision."""
    from gateway.cli import proposing

    told = proposing.roll_back(args.home, args.number, args.if_revision, args.note, args.dry_run)
    return _tell(args, told)


def list_revisions(args: argparse.Namespace) -> int:
    """Prints one line a revision."""
    from gateway.cli import proposing

    found: Sequence[Revision] = ()
    if proposing.is_there(args.home):
        with proposing.opened(args.home) as revisions:
            found = revisions.history(args.before, max(args.limit, 0))
    if args.json:
        say_json([one.as_json(whole=False) for one in found])
        return 0
    rows = [
        (
            one.number,
            moment(one.at),
            one.who,
            one.sha256[:12],
            one.note or "-",
            one.source or "-",
        )
        for one in found
    ]
    say(table(("REVISION", "TIME", "WHO", "SHA-256", "NOTE", "FILE"), rows))
    return 0


def show_revision(args: argparse.Namespace) -> int:
    """Prints a document as it was applied, or what is in force value by value."""
    if args.effective:
        return _show_effective(args)
    from gateway.cli import proposing

    found = proposing.revision(args.home, args.number)
    if args.json:
        say_json(found.as_json())
    elif found.document:
        say(found.document.rstrip("\n"))
    return 0


def _show_effective(args: argparse.Namespace) -> int:
    """Of the running server, which alone knows its environment; else as one would start here."""
    from gateway import layers
    from gateway.cli import proposing, running

    server = running.find(args.home) if args.number is None else None
    if server is not None:
        with running.admin(args.home, server) as control:
            answer = control.effective_config()
        number = answer["revision"]
        settings = [layers.Setting(**one) for one in answer["settings"]]
    else:
        found = proposing.revision(args.home, args.number)
        number, settings = found.number, layers.settings(found.config, os.environ, ())
    if args.json:
        say_json({"revision": number, "settings": [asdict(one) for one in settings]})
    else:
        _print_settings(settings)
    return 0


# ---- what they share ----------------------------------------------------------------------------


def _add_terms(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only tell what would change")
    parser.add_argument("--note", default="", metavar="TEXT", help="why, for the history")
    parser.add_argument(
        "--if-revision", type=int, metavar="N", help="only if this is the newest revision"
    )


def _tell(args: argparse.Namespace, told: Told) -> int:
    from gateway.cli import verdict

    changes = [one.as_json() for one in told.changes]
    if args.dry_run:
        if args.json:
            say_json({"revision": told.after, "dry_run": True, "changes": changes})
        else:
            _print_changes(told.changes)
        return 0
    answer = verdict.of_change(told.answer)
    if args.json:
        whole = {"revision": told.after, "before": told.before, "changes": changes}
        say_json({**whole, "server": answer.as_json()})
        return answer.status
    if told.after == told.before:
        say(f"revision {told.after} says this already")
    else:
        say(f"revision {told.after}, after {told.before}")
    _print_changes(told.changes)
    for line in answer.words():
        say(line)
    return answer.status


def _print_changes(found: Sequence[Difference]) -> None:
    for one in found:
        say(one.words())
    if not found:
        say("nothing changes")


def _print_settings(settings: Sequence[Setting]) -> None:
    from gateway.control.differences import text

    say(table(("SETTING", "VALUE", "FROM"), [(s.path, text(s.value), s.source) for s in settings]))
