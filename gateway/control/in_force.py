"""Which configuration this server follows: the newest revision, under its environment and flags.

Knows what a reload may change and what only a start does. Knows nothing of plans.

The newest revision is always what is in force. The file of `--config` becomes one where it says
something else than when it was last read: a file that nobody has touched does not undo what was
applied since.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence

from gateway import config as configuration
from gateway import layers
from gateway.config import FIXED_SECTIONS, Config
from gateway.control.audit import Actor
from gateway.control.differences import differences
from gateway.control.proposals import Proposals
from gateway.control.revisions import Revision, Revisions, sha256
from gateway.errors import ConfigInvalid
from gateway.inherited import Launch
from gateway.layers import Layered, Setting

log = logging.getLogger("penstock.control")


class InForce:
    """Every method reads the database: control calls them on threads."""

    def __init__(
        self, revisions: Revisions, launch: Launch, environ: Mapping[str, str] = os.environ
    ) -> None:
        self.revisions = revisions
        self.proposals = Proposals(revisions, self.lay)
        self._launch = launch
        self._environ = environ
        self._seen = launch.revision
        self._config = launch.config
        self._refreshing = threading.Lock()

    @property
    def config(self) -> Config:
        """What the server follows."""
        return self._config

    def refresh(self) -> Config:
        """Takes the newest revision up. One that does not fit here is logged, once, and left."""
        with self._refreshing:
            if self.revisions.newest_number() != self._seen:
                newest = self.revisions.newest()
                try:
                    fresh = self.lay(newest.config).effective
                except ConfigInvalid as error:
                    log.error("%s", error)
                else:
                    self._take(fresh)
                self._seen = newest.number
            return self._config

    def reread(self, actor: Actor) -> None:
        """Makes a revision of the file that the server was started with, where it was changed.

        Raises:
            ConfigInvalid: the file has faults.
        """
        path = self._launch.config_path
        if path is None:
            return
        document = configuration.read_text(path)
        read = self.revisions.last_from(str(path), self._launch.revision)
        if sha256(document) != (read.sha256 if read else self._launch.config_sha256):
            self.lay(configuration.parse(document, str(path)))
            self.revisions.add(document, actor, "config reload", str(path))

    def settings(self) -> tuple[Revision, Sequence[Setting]]:
        """The newest revision, and every value with its source."""
        newest = self.revisions.newest()
        return newest, layers.settings(newest.config, self._environ, self._launch.flags)

    def lay(self, document: Config) -> Layered:
        """A document under this server's variables and options.

        Raises:
            ConfigInvalid: it does not go with one of them.
        """
        return layers.lay(document, self._environ, self._launch.flags)

    def _take(self, fresh: Config) -> None:
        started = self._launch.config
        for one in differences(started, fresh):
            if one.restart:
                log.warning("%s: what it says now takes effect at the next start", one.path)
        fixed = {name: getattr(started, name) for name in FIXED_SECTIONS}
        # Who is known by a certificate is obeyed at once: taking one back must not wait.
        known = {"certificates": fresh.access.certificates}
        fixed["access"] = started.access.model_copy(update=known)
        self._config = fresh.model_copy(update=fixed)
