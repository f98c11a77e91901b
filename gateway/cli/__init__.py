"""The `penstock` command: joins the sub-commands and turns their failures into exit statuses.

Knows which sub-commands there are. Knows nothing of what they do: each module adds its own parser
with `configure`, and imports what is heavy only when it runs, so that `penstock --help` answers at
once.

Exit statuses: 0 done, 1 failed, 2 wrong usage, 130 interrupted. With `--json` a failure, too, is
one JSON document on stdout: `{"error": ..., "code": ...}`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

import gateway
from gateway.errors import GatewayError


class _Usage(Exception):
    """The command line cannot be understood; carries what is wrong and what would be right."""


class _Parser(argparse.ArgumentParser):
    """Leaves to `main` how a usage error is told; argparse itself only knows plain text."""

    _has_commands = False

    def add_subparsers(self, **options: Any) -> Any:
        self._has_commands = True
        return super().add_subparsers(**options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:  # told here, where the usage is the sub-command's
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        # Whoever names no command, or one that does not exist, is shown those that do.
        raise _Usage(message, self.format_help() if self._has_commands else self.format_usage())


class Command(Protocol):
    """A module that is a sub-command."""

    def configure(self, subparsers: Any) -> None:
        """Adds its parser, whose `run` default takes the arguments and returns the exit status."""


def main(argv: Sequence[str] | None = None, commands: Sequence[Command] | None = None) -> int:
    """Runs one command line and returns its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    try:
        args = _parser(commands or _commands()).parse_args(words)
        status: int = args.run(args)
        sys.stdout.flush()
    except _Usage as error:
        message, usage = error.args
        if not as_json:
            sys.stderr.write(usage)
        return _fail(message, "usage", as_json, 2)
    except GatewayError as error:
        return _fail(str(error), error.code, as_json, 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, say) has all it wanted. Python would complain once more while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _commands() -> Sequence[Command]:
    from gateway.cli import (
        alerts,
        audit,
        backup,
        capture,
        concept,
        config,
        contract,
        demo,
        doctor,
        drift,
        experiment,
        export,
        fairness,
        infer,
        keys,
        llm,
        models,
        outcomes,
        performance,
        profile,
        register,
        releases,
        retire,
        rollout,
        route,
        serve,
        shadow,
    )

    return (
        *(serve, demo, register, models, route, rollout, experiment, shadow, retire, profile),
        *(contract, drift, alerts, releases, outcomes, performance, fairness, concept),
        *(capture, export, infer, llm),
        *(keys, config, audit, backup, doctor),
    )


def _parser(commands: Sequence[Command]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="penstock",
        description="Serves ONNX models over HTTP, and language models of other servers with keys"
        " and budgets; measures every request, and tells when a model"
        " is no longer right.",
        epilog="penstock COMMAND --help tells more of each.",
    )
    parser.add_argument("--version", action="version", version=f"penstock {gateway.__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in commands:
        command.configure(subparsers)
    return parser


def _fail(message: str, code: str, as_json: bool, status: int) -> int:
    if as_json:
        sys.stdout.write(json.dumps({"error": message, "code": code}) + "\n")
        sys.stdout.flush()
    else:
        sys.stderr.write("".join(f"penstock: {line}\n" for line in message.splitlines()))
    return status
