"""`penstock models`: what is registered, what serves, and changes to both.

Knows options, tables and JSON. Knows nothing of how the registry keeps things.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.actions import add_action
from gateway.cli.output import moment, say, say_json, table
from gateway.errors import InvalidParameter, ModelNotFound

if TYPE_CHECKING:
    from gateway.cli.verdict import Serving, Verdict
    from gateway.control.entries import Model, Version
    from gateway.control.registry import Registry
    from gateway.control.self_references import SelfReference
    from gateway.control.store import Store

    Own = dict[tuple[str, int], SelfReference]


def configure(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "models",
        help="list, show, name and remove models",
        description="Looks at the registered models and changes them. A server that runs on this"
        " home takes a change up at once.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_action(actions, "list", list_models, "list every version, and whether it serves")

    show = add_action(actions, "show", show_model, "show all that is known of a model")
    show.add_argument("name", metavar="NAME")
    show.add_argument("version", nargs="?", metavar="VERSION|ALIAS", help="one version alone")

    alias = add_action(actions, "alias", set_alias, "point an alias at a version, or remove it")
    alias.add_argument("name", metavar="NAME")
    alias.add_argument(
        "alias", metavar="ALIAS", help="`champion` answers where no version is named"
    )
    alias.add_argument("version", nargs="?", metavar="VERSION|ALIAS", help="where it is to point")
    alias.add_argument("--remove", action="store_true", help="take the alias away")

    remove = add_action(
        actions, "remove", remove_model, "remove a version, or a model with all versions"
    )
    remove.add_argument("name", metavar="NAME")
    remove.add_argument("version", nargs="?", metavar="VERSION|ALIAS", help="this version alone")
    remove.add_argument("--force", action="store_true", help="even if it is the champion")

    verify = add_action(
        actions, "verify", verify_model, "read files again and compare their SHA-256"
    )
    verify.add_argument("name", nargs="?", metavar="NAME", help="one model alone")


def list_models(args: argparse.Namespace) -> int:
    """Prints one line a version: the registered ones, and what else the running server knows."""
    from gateway.cli import verdict
    from gateway.cli.progress import size

    models = _registered(args.home)
    serving = verdict.serving(args.home)
    own = _own(args.home)
    if args.json:
        say_json([*map(_with_states(serving, own), models), *_unregistered(models, serving)])
        return 0
    rows = [
        (
            version.model,
            version.version,
            ", ".join(version.aliases) or "-",
            _state(serving, version),
            size(version.bytes),
            _words_of(_reference(serving, own, version)),
            moment(version.registered_at),
            version.registered_by,
        )
        for model in models
        for version in model.versions
    ]
    rows += [
        (
            line["model"],
            line["version"],
            "-",
            line["state"],
            "-",
            _words_of(line["reference"]),
            "-",
            "not registered",
        )
        for line in _unregistered(models, serving)
    ]
    if rows:
        header = ("MODEL", "VERSION", "ALIASES", "STATE", "SIZE", "PROFILE", "REGISTERED", "BY")
        say(table(header, rows))
    else:
        say(f"no models registered under {args.home}")
    return 0


def show_model(args: argparse.Namespace) -> int:
    """Prints everything about a model, or about one version of it."""
    from gateway.cli import verdict

    serving, own = verdict.serving(args.home), _own(args.home)
    models = _registered(args.home, args.name)
    if not models:
        return _show_unregistered(args, serving)
    [model] = models
    chosen = [model.pick(args.version)] if args.version else list(model.versions)
    if args.json and args.version:
        say_json(_line(serving, own, chosen[0]))
    elif args.json:
        say_json(_with_states(serving, own)(model))
    else:
        for place, version in enumerate(chosen):
            if place:
                say()
            _print_version(version, version is model.default, serving, own)
    return 0


def set_alias(args: argparse.Namespace) -> int:
    """Points an alias somewhere else, or takes it away."""
    from gateway.cli import verdict

    if args.remove == (args.version is not None):
        raise InvalidParameter("models alias: wanted either a VERSION or --remove")
    with registry_of(args.home) as registry:
        if args.remove:
            registry.remove_alias(args.name, args.alias)
            number, words = None, f"model '{args.name}': alias {args.alias} removed"
        else:
            number = registry.resolve(args.name, args.version).version
            registry.set_alias(args.name, args.alias, number)
            words = f"model '{args.name}': {args.alias} is version {number}"
    answer = verdict.announce(args.home, args.name, number)
    return _finish(
        args, words, {"model": args.name, "alias": args.alias, "version": number}, answer
    )


def remove_model(args: argparse.Namespace) -> int:
    """Removes a version or a model."""
    from gateway.cli import verdict

    with registry_of(args.home) as registry:
        if args.version is None:
            registry.remove_model(args.name, force=args.force)
            number, words = None, f"model '{args.name}' removed"
        else:
            number = registry.resolve(args.name, args.version).version
            registry.remove_version(args.name, number, force=args.force)
            words = f"model '{args.name}': version {number} removed"
    answer = verdict.announce(args.home, args.name)
    return _finish(args, words, {"model": args.name, "removed": number or "all"}, answer)


def verify_model(args: argparse.Namespace) -> int:
    """Reads every file again; exit status 1 where one is not as it was registered."""
    from gateway.cli.progress import Bar

    with registry_of(args.home) as registry, Bar("reading") as bar:
        models = [registry.show(args.name)] if args.name else registry.list()
        results = [
            (version, registry.verify(version.model, version.version, bar))
            for model in models
            for version in model.versions
        ]
    if args.json:
        say_json([{"model": v.model, "version": v.version, "faults": list(f)} for v, f in results])
    else:
        for version, faults in results:
            found = "; ".join(faults) or "as registered"
            say(f"model '{version.model}' version {version.version}: {found}")
    return 1 if any(faults for _, faults in results) else 0


# ---- what they share ----------------------------------------------------------------------------


@contextmanager
def store_of(home: Path) -> Iterator[Store]:
    """The database of a home; asking for one that is not there does not make one."""
    from gateway.control.store import FILE, Store

    if not (home / FILE).exists():
        raise ModelNotFound(f"nothing is registered under {home}")
    with Store.open(home) as store:
        yield store


@contextmanager
def registry_of(home: Path) -> Iterator[Registry]:
    """The registry of a home."""
    from gateway.control.registry import Registry

    with store_of(home) as store:
        yield Registry(store, home)


def _registered(home: Path, name: str | None = None) -> Sequence[Model]:
    """What is registered under a home: everything, or one model; empty where there is none."""
    try:
        with registry_of(home) as registry:
            return registry.list() if name is None else [registry.show(name)]
    except ModelNotFound:
        return ()


def _finish(args: argparse.Namespace, words: str, value: dict[str, Any], answer: Verdict) -> int:
    if args.json:
        say_json({**value, "server": answer.as_json()})
    else:
        say(words)
        for line in answer.words():
            say(line)
    return answer.status


def _state(serving: Serving | None, version: Version) -> str:
    if serving is None:
        return "-"
    return serving.state(version.model, version.version) or "not served"


def _with_states(serving: Serving | None, own: Own) -> Any:
    def one(model: Model) -> dict[str, Any]:
        value = model.as_json()
        value["versions"] = [_line(serving, own, version) for version in model.versions]
        return value

    return one


def _line(serving: Serving | None, own: Own, version: Version) -> dict[str, Any]:
    reference = _reference(serving, own, version)
    return {**version.as_json(), "state": _state(serving, version), "reference": reference}


def _own(home: Path) -> Own:
    """The references that were made of first rows under a home."""
    from gateway.control.self_references import SelfReferences

    try:
        with store_of(home) as store:
            return SelfReferences(store, home).all()
    except ModelNotFound:
        return {}


def _reference(serving: Serving | None, own: Own, version: Version) -> dict[str, Any] | None:
    """What a version is held against by its server, or would be; None: nothing."""
    told = serving.references.get((version.model, version.version)) if serving else None
    if told is not None:
        return told
    if version.profile is not None:
        kept = version.profile
        return {"digest": kept.digest, "rows": kept.rows, "self_referenced": False}
    found = own.get((version.model, version.version))
    return found.as_json() if found is not None and found.digest else None


def _words_of(reference: dict[str, Any] | None) -> str:
    if reference is None:
        return "-"
    if reference["digest"] is None:
        return f"{reference['rows']} of {reference['wanted_rows']} rows"
    return str(reference["digest"])[:12] + (
        " self-referenced" if reference["self_referenced"] else ""
    )


def _unregistered(models: Sequence[Model], serving: Serving | None) -> list[dict[str, Any]]:
    """What the running server knows from files and repositories."""
    known = {(version.model, version.version) for model in models for version in model.versions}
    states = serving.states if serving else {}
    return [
        {
            "model": name,
            "version": version if version is not None else "-",
            "registered": False,
            "state": serving.state(name, version) if serving else "-",
            "reference": serving.references.get((name, version)) if serving else None,
        }
        for name, version in states
        if (name, version) not in known
    ]


def _show_unregistered(args: argparse.Namespace, serving: Serving | None) -> int:
    lines = [line for line in _unregistered((), serving) if line["model"] == args.name]
    if not lines:
        raise ModelNotFound(f"model '{args.name}' is not registered under {args.home}")
    if args.json:
        say_json({"model": args.name, "versions": lines})
    else:
        for line in lines:
            say(f"model '{args.name}' version {line['version']} (not registered)")
            say(f"  {'state':10}  {line['state']}")
            say(f"  {'profile':10}  {_words_of(line['reference'])}")
    return 0


def _print_version(version: Version, default: bool, serving: Serving | None, own: Own) -> None:
    from gateway.cli.progress import size

    facts = version.facts
    names = [*version.aliases, *(["answers by default"] if default else [])]
    called = f" ({', '.join(names)})" if names else ""
    say(f"model '{version.model}' version {version.version}{called}")
    lines: list[tuple[str, object]] = [
        ("state", _state(serving, version)),
        ("registered", f"{moment(version.registered_at)} by {version.registered_by}"),
        ("producer", f"{facts['producer']} {facts['producer_version']}".strip() or "-"),
        ("opsets", ", ".join(f"{domain} {number}" for domain, number in facts["opsets"].items())),
    ]
    if (kept := version.profile) is not None:
        made = f"of {kept.rows} rows, {moment(kept.attached_at)} by {kept.attached_by}"
        lines.append(("profile", f"{kept.digest[:12]} {made}"))
    elif (reference := _reference(serving, own, version)) is not None:
        lines.append(("profile", _words_of(reference)))
    for side, specs in (("input", version.inputs), ("output", version.outputs)):
        for spec in specs:
            labels = f" of {', '.join(spec.labels[:10])}" if spec.labels else ""
            lines.append((side, f"{spec.name}  {spec.datatype} {list(spec.shape)}{labels}"))
    lines += [("file", f"{file.path}  {size(file.bytes)}  {file.sha256}") for file in version.files]
    lines += [("metadata", f"{key}={value}") for key, value in version.metadata.items()]
    lines += [("setting", f"{key}: {value}") for key, value in version.hints.items()]
    lines += [("ignored", f"config.pbtxt: {name}") for name in facts["ignored"]]
    lines += [("foreign", f"operator {name}") for name in facts["custom_ops"]]
    for name, value in lines:
        say(f"  {name:10}  {value}")
