"""Reads what a deployment is about to count into: the bins of its profile, and its contract.

Knows profiles, contracts, and whether they are of a model. Knows nothing of blocks, of plans beyond
what is taken, or of who counts. On a thread: files are read.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from gateway.contracts import document as contract_document
from gateway.contracts.cover import covers
from gateway.contracts.fit import check_fit as check_contract
from gateway.contracts.live import Terms
from gateway.errors import ContractInvalid, ProfileInvalid
from gateway.profiles import beside
from gateway.profiles.fit import check_fit
from gateway.profiles.live import Counted, counted
from gateway.profiles.values import Profile
from gateway.taken import Agreed, Taken, Watched
from gateway.tensors import Signature

log = logging.getLogger("penstock.worker")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was read for one of the places that values go to.

    Attributes:
        frames: of the profile; none of first rows. None: it cannot be used.
        terms: of the contract, where there is one that can be used.
        covered: it takes whatever is not unusual to the profile.
    """

    frames: tuple[Counted, ...] | None = ()
    terms: Terms | None = None
    covered: bool = False


Ready = tuple[tuple[Taken, Prepared], ...]
"""What is taken, each with what was read for it."""


def prepare(wanted: tuple[Taken, ...], signature: Signature) -> Ready:
    """On a thread.

    Another version's profile that cannot be used is left out, and the log says why.

    Raises:
        ProfileInvalid: one of them cannot be read, or is of another model.
    """
    return tuple((one, _prepared_one(one, signature)) for one in wanted)


def _prepared_one(taken: Taken, signature: Signature) -> Prepared:
    try:
        return _prepared(taken, signature)
    except ProfileInvalid as error:
        if not isinstance(taken, Watched) or not taken.common:
            raise
        log.error("its values are not counted by another version's profile: %s", error)
        return Prepared(frames=None)


def _prepared(watched: Taken, signature: Signature) -> Prepared:
    if not isinstance(watched, Watched):
        return Prepared()
    profile = beside.load(Path(watched.path))
    check_fit(profile, signature)
    try:
        frames = counted(profile, signature)
    except ValueError as error:
        raise ProfileInvalid(f"profile {watched.digest[:12]}: {error}") from error
    return _agreed(Prepared(frames), watched.contract, profile, signature)


def _agreed(
    prepared: Prepared, agreed: Agreed | None, profile: Profile, signature: Signature
) -> Prepared:
    """With the contract; without one that cannot be used, values are counted all the same."""
    if agreed is None:
        return prepared
    try:
        contract = contract_document.load(Path(agreed.path))
        check_contract(contract, signature)
        terms = Terms(contract, signature)
    except (ContractInvalid, ValueError) as error:
        log.error("contract %s holds for nobody: %s", agreed.digest[:12], error)
        return prepared
    return Prepared(prepared.frames, terms, covers(contract, profile))
