"""The profile that each version is watched by, and the block that its values are counted into.

Knows profile files and blocks. Knows nothing of who wrote a profile, or of what is counted.

A version without a profile has a block for its first rows instead, of which one is made
(`freezing`). A profile that cannot be read leaves its version unwatched, never unserved.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.config import Config
from gateway.contracts.values import Contract
from gateway.control.blocks import Blocks
from gateway.errors import ArenaFull, GatewayError, ProfileInvalid
from gateway.models import content
from gateway.monitor import layout
from gateway.profiles import beside, document, first_rows
from gateway.profiles.live import block_words
from gateway.profiles.names import by_input, feature_names
from gateway.profiles.values import Profile
from gateway.taken import Agreed, Kept, Watched
from gateway.tensors import Signature

log = logging.getLogger("penstock.control")


@dataclass(frozen=True, slots=True)
class Reference:
    """A profile as it was read.

    Attributes:
        path: its file.
        digest: of the profile.
        profile: itself.
        words: of one slot of the block that its columns are counted into.
    """

    path: Path
    digest: str
    profile: Profile
    words: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """A contract as it was read, and what becomes of what breaks it.

    Attributes:
        path: its file.
        digest: of the contract.
        contract: itself.
        policy: `observe`, `warn` or `reject`.
    """

    path: Path
    digest: str
    contract: Contract
    policy: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What a version without a profile keeps of its traffic until it has one.

    Attributes:
        key: names its block (`layout.first_rows_key`).
        words: of one slot of that.
        rows, names, categories: as `plan.Kept` has them.
    """

    key: str
    words: int
    rows: int
    names: Mapping[str, Sequence[str]]
    categories: Sequence[str]


class References:
    """What was read, by file; read again only where the file may have changed."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[tuple[int, ...], Reference | None]] = {}

    def read(self, path: Path | None) -> Reference | None:
        """The profile in a file; none where there is no file, or none that can be used. Blocks."""
        if path is None:
            return None
        try:
            stamp = content.stamp(path)
        except OSError:
            return None
        known = self._read.get(path)
        if known is None or known[0] != stamp:
            known = self._read[path] = stamp, _reference(path)
        return known[1]


def _reference(path: Path) -> Reference | None:
    try:
        if not path.is_file():  # to open a pipe may take for ever, and keeps all models waiting
            raise ProfileInvalid(f"{path}: expected a file")
        profile = beside.load(path)
        return Reference(path, document.digest(profile), profile, block_words(profile))
    except (GatewayError, ValueError) as error:
        log.error("%s: its model is not watched: %s", path.name, error)
    except Exception:  # whatever a file holds, no model goes unserved because of it
        log.exception("%s: its model is not watched", path)
    return None


def watched(
    blocks: Blocks,
    name: str,
    version: int,
    reference: Reference | None,
    agreed: Agreed | None = None,
) -> tuple[Watched, ...]:
    """What a version is counted into, with a block for it; nothing where there is no room."""
    if reference is None:
        return ()
    key = layout.sketch_key(name, version, reference.digest)
    try:
        block = blocks.allocate_sketch(key, reference.words)
    except GatewayError as error:
        log.error("model '%s' version %d is not watched: %s", name, version, error)
        return ()
    return (Watched(reference.digest, str(reference.path), block, agreed),)


def kept(blocks: Blocks, name: str, version: int, wish: Wish) -> tuple[Kept, ...]:
    """Where a version keeps its first rows, with a block for them; nothing while there is no room.

    There will be, once others have their profiles: it is asked for again at every look.
    """
    try:
        block = blocks.allocate_rows(wish.key, wish.words)
    except ArenaFull:
        log.info("model '%s' version %d waits for room for its first rows", name, version)
        return ()
    except GatewayError as error:
        log.error("model '%s' version %d is not watched: %s", name, version, error)
        return ()
    return (Kept(block, wish.rows, wish.names, wish.categories),)


def wish_of(
    name: str,
    version: int,
    digest: str,
    resets: int,
    shapes: Signature | None,
    metadata: Mapping[str, str],
    config: Config,
) -> Wish | None:
    """What is kept of a version's first rows; None where that is nothing.

    Args:
        name: of the model.
        version: of it.
        digest: of its content.
        resets: how often a reference made of such rows was forgotten.
        shapes: what it takes and gives; None: that cannot be told, as its trial will.
        metadata: what its file says of itself.
        config: the document in force.
    """
    rows = config.monitoring.reference_rows
    if not rows or shapes is None or not first_rows.has_rows(shapes):
        return None
    names, categories = config.features_of(name)
    inputs = [spec.name for spec in shapes.inputs]
    own = by_input(feature_names(metadata), names, inputs)
    return Wish(
        layout.first_rows_key(name, version, digest, resets),
        first_rows.slot_words(shapes, own, rows),
        rows,
        own,
        categories,
    )
