"""The files that a configuration names, and what it needs installed: what keeps it from serving.

Knows where a document names a file. Knows nothing of models, whose absence is a matter of each one
alone, or of who asks. Nothing is made or changed.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from gateway.config import AlertSink, Config, Jwt, Tls
from gateway.errors import ConfigInvalid
from gateway.tls import Certificates


def check(settings: Config) -> list[str]:
    """Makes sure that a server could be started with a configuration.

    Returns:
        What is wrong and keeps nobody from serving, a line each: a certificate that has ended, say.

    Raises:
        ConfigInvalid: all that would keep it, a line each, by its path in the document.
    """
    faults: list[str] = []
    warnings: list[str] = []
    for check_one in _checks(settings):
        try:
            warnings += filter(None, [check_one()])
        except ConfigInvalid as error:
            faults.append(str(error))
    if faults:
        raise ConfigInvalid("\n".join(faults))
    if settings.llm.providers:
        from gateway.cli.providers import doubts

        warnings += [f"{said}: {advice}" for said, advice in doubts(settings.llm)]
    return warnings


def _checks(settings: Config) -> Iterator[Callable[[], str | None]]:
    from gateway.control import tracing

    for place, section in (("server.tls", settings.server), ("control.tls", settings.control)):
        if (tls := section.tls) is not None:
            yield partial(_check_certificates, tls, place)
    if (jwt := settings.access.jwt) is not None:
        yield partial(_check_tokens, jwt)
    if (path := settings.log.access_file) is not None:
        yield partial(_check_access_file, path)
    yield partial(tracing.check, settings.tracing)
    for sink in settings.alerts.sinks:
        yield partial(_check_sink, sink)
    for name in settings.captured:
        yield partial(_check_capture, name)


def _check_certificates(settings: Tls, place: str) -> str:
    return Certificates(settings, place).fault


def _check_tokens(jwt: Jwt) -> None:
    """Finds out now what would otherwise refuse every token later."""
    if importlib.util.find_spec("jwt") is None:
        raise ConfigInvalid("access.jwt: needs PyJWT: pip install 'penstock[auth]'")
    if jwt.jwks_file is not None:
        from gateway.control.jwks import read_file

        read_file(jwt.jwks_file)


def _check_access_file(path: Path) -> None:
    """A file that no worker could write to is better told before there are any."""
    try:
        if path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK))
        elif not os.access(path.absolute().parent, os.W_OK | os.X_OK):
            raise ConfigInvalid(f"log.access_file {path}: its folder cannot be written")
    except OSError as error:
        raise ConfigInvalid(f"log.access_file {path}: {error.strerror}") from error


def _check_sink(sink: AlertSink) -> str:
    """What opens a sink's door is read again for each alarm: it may come later."""
    from gateway.control.deliveries import secrets_of

    try:
        secrets_of(sink)
    except ConfigInvalid as error:
        return str(error)
    return ""


def _check_capture(model: str) -> str:
    """A server without it serves on, and captures nothing."""
    if importlib.util.find_spec("pyarrow") is None:
        return f"models.{model}.capture: nothing is captured: pip install 'penstock[parquet]'"
    return ""
