"""What follows for a rollout: from its plan, how far it has come, and what is seen of it.

Knows states and guards' verdicts. Knows no clock (`now` is an argument), no I/O, and nothing of how
shares are set: the same arguments always give the same answer.

    pending -> [shadowing ->] stepping -> promoted -> (its watch ends)
       |            |             |           |
       +------------+-------------+-----------+--> rolled_back, or aborted by a person
    paused: from pending, shadowing and stepping, and back

Time counts only while somebody looks: what lies between two looks counts for no more than
`MAX_GAP_S`, and for nothing where the clock went back. So a clock that jumps neither ends a step
nor keeps it from ending, and nothing bakes while control is away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.config.rollout import RolloutPlan
from gateway.errors import Conflict, Forbidden
from gateway.rollouts.judgements import Judgement, Verdict
from gateway.rollouts.stand import Event, Seen, Stand, State
from gateway.rollouts.words import because, gets, said, span, stood

MAX_GAP_S: Final = 5.0
_UNDER_WAY: Final = frozenset({State.PENDING, State.SHADOWING, State.STEPPING})


@dataclass(frozen=True, slots=True)
class Move:
    """Where a rollout stands after a look or a command, and what is to be told of it."""

    stand: Stand
    events: Sequence[Event] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """Who moves a rollout, why, and when.

    Attributes:
        who: empty: the rollout by itself.
        now: seconds since 1970.
    """

    now: float
    who: str = ""
    why: str = ""


# ---- a look -------------------------------------------------------------------------------------


def look(plan: RolloutPlan, stand: Stand, seen: Seen, now: float) -> Move:
    """What follows from what is seen; about once a second.

    Args:
        plan: of the rollout.
        stand: after the last look.
        seen: since then.
        now: seconds since 1970; may be anything.
    """
    if stand.ended or stand.taken_back:
        return Move(stand)
    told = Told(now)
    judged, events = _judge(stand, seen, told)
    timed = _pass_time(judged, seen, now)
    if seen.refusal:
        return _and(events, _take_back(timed, told, f"it cannot serve: {seen.refusal}"))
    if failed := _failed(plan, timed, seen):
        why = f"failed: {'; '.join(said(one) for one in failed)}"
        events = [one for one in events if one.judgements[0] not in failed]  # said once
        return _and(events, _take_back(timed, told, why, seen.judgements))
    if timed.state in _UNDER_WAY and seen.held_up:
        return _and(events, _pause(timed, told, seen.held_up))
    if timed.state is State.PROMOTED:
        return _and(events, _watch(plan, timed, seen, told))
    if timed.state in _UNDER_WAY and timed.spent_s >= plan.max_duration_s:
        return _and(events, _take_back(timed, told, _late(plan, timed), seen.judgements))
    if timed.state is State.PENDING and seen.serves:
        return _and(events, _enter(plan, timed, told, 0, seen.judgements))
    running = timed.state in (State.SHADOWING, State.STEPPING) and seen.serves
    if running and _is_done(plan, timed):
        return _and(events, _finish(plan, timed, told, seen.judgements))
    return Move(timed, events)


def _and(events: Sequence[Event], move: Move) -> Move:
    return Move(move.stand, (*events, *move.events))


def _judge(stand: Stand, seen: Seen, told: Told) -> tuple[Stand, Sequence[Event]]:
    """Counts failures in a row; a verdict that changes is told."""
    if not seen.judgements:
        return stand, ()
    failing = {
        one.guard: stand.failing.get(one.guard, 0) + 1
        for one in seen.judgements
        if one.verdict is Verdict.FAIL
    }
    verdicts = {one.guard: one.verdict for one in seen.judgements}
    after = replace(stand, failing=failing, verdicts=verdicts)
    changed = [
        one
        for one in seen.judgements
        if one.verdict is not stand.verdicts.get(one.guard, Verdict.INCONCLUSIVE)
    ]
    events = [
        _event(after, told, "verdict", f"{one.verdict}: {said(one)}", [one]) for one in changed
    ]
    return after, events


def _pass_time(stand: Stand, seen: Seen, now: float) -> Stand:
    gap = 0.0 if stand.looked_at is None else min(max(now - stand.looked_at, 0.0), MAX_GAP_S)
    after = replace(stand, looked_at=now)
    if seen.held_up or not seen.followed or stand.state is State.PAUSED:
        return after
    if stand.state is State.PROMOTED:
        return replace(after, watched_s=stand.watched_s + gap)
    if stand.state is State.PENDING:
        return replace(after, spent_s=stand.spent_s + gap)
    rows = stand.rows + max(seen.rows, 0)
    if stand.waits:  # for a person, who may sleep
        return replace(after, rows=rows)
    spent_s = stand.spent_s + gap
    baked_s = stand.baked_s + (gap if seen.serves else 0.0)
    return replace(after, spent_s=spent_s, baked_s=baked_s, rows=rows)


def _failed(plan: RolloutPlan, stand: Stand, seen: Seen) -> list[Judgement]:
    """The guards that have failed as often in a row as is too often."""
    return [one for one in seen.judgements if stand.failing.get(one.guard, 0) >= plan.failure_limit]


def _late(plan: RolloutPlan, stand: Stand) -> str:
    late = f"not promoted within {span(plan.max_duration_s)}"
    if stand.state is State.PENDING:
        return f"{late}: the candidate does not serve yet"
    left = [name for name, said in stand.verdicts.items() if said is Verdict.INCONCLUSIVE]
    undecided = f"; undecided: {', '.join(sorted(left))}" if left else ""
    return f"{late}: {stood(plan, stand)}{undecided}"


def _is_done(plan: RolloutPlan, stand: Stand) -> bool:
    step = plan.steps[stand.step]
    passed = len(stand.verdicts) == len(plan.guards) and all(
        said is Verdict.PASS for said in stand.verdicts.values()
    )
    return (
        stand.baked_s >= step.bake_s
        and stand.rows >= step.min_rows
        # What fails, if less often than is too often, is not to be given more.
        and not stand.failing
        and (step.require == "no_fail" or passed)
        and not stand.waits
    )


def _finish(plan: RolloutPlan, stand: Stand, told: Told, judgements: Sequence[Judgement]) -> Move:
    """The step is done: on to the next, or waiting for a person."""
    if not plan.steps[stand.step].approval:
        return _go_on(plan, stand, told, judgements)
    after = replace(stand, waits=True)
    says = f"{stood(plan, stand)}; waiting for somebody's approval"
    return Move(after, [_event(after, told, "waits", says, judgements)])


def _go_on(plan: RolloutPlan, stand: Stand, told: Told, judgements: Sequence[Judgement]) -> Move:
    if stand.step + 1 < len(plan.steps):
        return _enter(plan, stand, told, stand.step + 1, judgements)
    return _promote(plan, stand, told, stood(plan, stand), judgements)


def _enter(
    plan: RolloutPlan, stand: Stand, told: Told, step: int, judgements: Sequence[Judgement]
) -> Move:
    wanted = plan.steps[step]
    state = State.SHADOWING if wanted.is_shadow else State.STEPPING
    after = replace(stand, state=state, step=step, waits=False, baked_s=0.0, rows=0)
    done = "the candidate serves" if stand.state is State.PENDING else stood(plan, stand)
    says = f"step {step + 1} of {len(plan.steps)}: {gets(wanted)} ({done})"
    return Move(after, [_event(after, told, "step", says, judgements)])


def _promote(
    plan: RolloutPlan, stand: Stand, told: Told, why: str, judgements: Sequence[Judgement]
) -> Move:
    after = replace(
        stand,
        state=State.PROMOTED,
        resumes=State.PENDING,
        promoted=True,
        waits=False,
        watched_s=0.0,
    )
    watch = f"; watched for {span(plan.watch_s)}" if plan.watch_s else ""
    says = f"the candidate is promoted: {why}{watch}"
    return Move(after, [_event(after, told, "promoted", says, judgements)])


def _watch(plan: RolloutPlan, stand: Stand, seen: Seen, told: Told) -> Move:
    if stand.watched_s < plan.watch_s or seen.held_up:
        return Move(stand)
    after = replace(stand, ended=True)
    if not plan.watch_s:
        return Move(after)
    says = f"the watch is over after {span(plan.watch_s)}; the baseline may go"
    return Move(after, [_event(after, told, "watched", says, seen.judgements)])


def _take_back(
    stand: Stand,
    told: Told,
    why: str,
    judgements: Sequence[Judgement] = (),
    state: State = State.ROLLED_BACK,
) -> Move:
    """Not `ended`: that is for who has given the baseline back what it had."""
    after = replace(stand, state=state, resumes=State.PENDING, waits=False)
    word = "aborted" if state is State.ABORTED else "rolled back"
    return Move(after, [_event(after, told, state.value, f"{word}: {why}", judgements)])


def _pause(stand: Stand, told: Told, why: str) -> Move:
    after = replace(stand, state=State.PAUSED, resumes=stand.state)
    return Move(after, [_event(after, told, "paused", f"paused: {why}")])


# ---- what people and faults do ------------------------------------------------------------------


def pause(stand: Stand, told: Told) -> Move:
    """Holds a rollout where it is; guards go on to be judged, and to roll it back.

    Raises:
        Conflict: it is not under way.
    """
    if stand.state not in _UNDER_WAY:
        raise Conflict(f"it cannot be paused: it is {stand.state}")
    return _pause(stand, told, told.why or "no reason given")


def resume(stand: Stand, told: Told, held_up: str = "") -> Move:
    """Goes on with a paused rollout.

    Raises:
        Conflict: it is not paused, or what holds it up still does.
    """
    if stand.state is not State.PAUSED:
        raise Conflict(f"it cannot be resumed: it is {stand.state}")
    if held_up:
        raise Conflict(f"it cannot be resumed: {held_up}")
    after = replace(stand, state=stand.resumes, resumes=State.PENDING)
    return Move(after, [_event(after, told, "resumed", because("resumed", told.why))])


def approve(
    plan: RolloutPlan,
    stand: Stand,
    told: Told,
    starter: str,
    judgements: Sequence[Judgement] = (),
) -> Move:
    """Lets a rollout that waits for it go on.

    Args:
        plan: of the rollout.
        stand: of it.
        told: who approves.
        starter: who started it.
        judgements: the figures that there are.

    Raises:
        Conflict: it does not wait for approval.
        Forbidden: who started it does not approve it.
    """
    if not stand.waits or stand.state not in (State.SHADOWING, State.STEPPING):
        raise Conflict(f"there is nothing to approve: it is {stand.state}, and waits for nobody")
    if told.who == starter:
        raise Forbidden(f"it was started by {starter}: somebody else has to approve it")
    approved = _event(stand, told, "approved", because(f"step {stand.step + 1} approved", told.why))
    return _and([approved], _go_on(plan, stand, Told(told.now), judgements))


def promote(
    plan: RolloutPlan,
    stand: Stand,
    told: Told,
    judgements: Sequence[Judgement] = (),
    held_up: str = "",
) -> Move:
    """Promotes a candidate before its steps are done, or ends its watch.

    Raises:
        Conflict: it is over, or the candidate does not serve yet; a step that is left has to be
            approved; or something holds it up.
    """
    if stand.state is State.PROMOTED and not stand.ended:
        after = replace(stand, ended=True)
        return Move(
            after, [_event(after, told, "watched", because("the watch is ended", told.why))]
        )
    if stand.ended or stand.doing not in (State.SHADOWING, State.STEPPING):
        raise Conflict(f"it cannot be promoted: it is {stand.state}")
    if held_up:
        raise Conflict(f"it cannot be promoted: {held_up}")
    for number, step in enumerate(plan.steps[stand.step :], stand.step + 1):
        if step.approval:
            raise Conflict(f"it cannot be promoted: step {number} has to be approved")
    return _promote(plan, stand, told, told.why or "no reason given", judgements)


def abort(stand: Stand, told: Told, judgements: Sequence[Judgement] = ()) -> Move:
    """Takes a candidate back, also during its watch.

    Raises:
        Conflict: it is over.
    """
    if stand.ended or stand.taken_back:
        raise Conflict(f"it cannot be aborted: it is over ({stand.state})")
    return _take_back(stand, told, told.why or "no reason given", judgements, State.ABORTED)


def fail(stand: Stand, told: Told) -> Move:
    """Takes a candidate back at once, whatever its step, for what was seen of it.

    Args:
        stand: of the rollout; nothing follows where it is over.
        told: why.
    """
    if stand.ended or stand.taken_back:
        return Move(stand)
    return _take_back(stand, told, told.why)


def _event(
    stand: Stand, told: Told, kind: str, says: str, judgements: Sequence[Judgement] = ()
) -> Event:
    return Event(told.now, kind, stand.state, stand.step, told.who, says, tuple(judgements))
