"""Rules on real counts: who is named, what is told once, and what a restart keeps."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.config import AlertRule, Alerts, AlertSink
from gateway.control.alert_store import AlertStore
from gateway.control.alerting import Alerting
from gateway.control.audit import Audit
from gateway.control.deliveries import MAX_WAITING, Deliveries, pause_s
from gateway.control.drift import Drift
from gateway.control.seasons import WEEK_S
from gateway.control.store import FILE, Store
from gateway.control.troubles import Troubles
from gateway.errors import NotFound
from gateway.monitor import layout
from tests.control.auditing import ANN
from tests.control.standing import WINDOW_S, nobodys, standing
from tests.control.test_sketches import World
from tests.monitor.watching import rows
from tests.receiver import SECRET, receiving

pytestmark = pytest.mark.anyio
LIVE = {("m", 1)}


def alerts(receiver, **more) -> Alerts:
    sink = {"name": "ops", "url": receiver.url, "secret_env": "OPS_SECRET", "max_attempts": 3}
    return Alerts(sinks=[AlertSink(**(sink | more))])


@pytest.fixture
def receiver(monkeypatch):
    monkeypatch.setenv("OPS_SECRET", SECRET)
    with receiving() as made:
        yield made


@pytest.fixture
def world(tmp_path: Path):
    made = World(tmp_path)
    yield made
    made.pool.shutdown()
    made.arena.close()


class Office:
    """Control's alarms on a world's counts."""

    def __init__(self, world: World, store: Store, settings: Alerts) -> None:
        self.world = world
        self.settings = settings
        self.letters = AlertStore(store)
        self.audit = Audit(store)
        self.suppressed = ""
        self.released: list[AlertRule] | None = None
        series = world.sketches.series
        self.drift = Drift(series, past=world.store)
        self.standings = nobodys()
        self.deliveries = Deliveries(
            self.letters, lambda: self.settings.sinks, Troubles(), first_pause_s=0.01
        )
        self.alerting = Alerting(
            self.drift,
            self.standings,
            self.letters,
            self.deliveries,
            lambda: self.settings,
            lambda: world.sketches.now,
            Troubles(),
            world.pool,
            lambda model, version: self.suppressed,
            lambda model, version: self.released,
        )

    async def seconds(self, count: int, a_second: int = 40, shift: float = 0.0, live=LIVE):
        """Traffic whose second number alone is shifted: the answers are those of clean rows."""
        for _ in range(count):
            if a_second:
                inputs, outputs = rows(self.world.rng, a_second)
                inputs[0][:, 1] += shift
                self.world.workers[0].count(inputs, outputs, a_second)
            self.world.second()
            self.drift.look()
            await self.alerting.look(live)

    async def sent(self) -> None:
        """Returns once nothing waits any more."""
        async with asyncio.timeout(20):
            while self.deliveries.waits("ops"):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    def states(self) -> dict[str, str]:
        return {one["rule"]: one["state"] for one in self.alerting.lines()}


@asynccontextmanager
async def office(world, settings):
    with Store.open(world.home) as store:
        made = Office(world, store, settings)
        await made.alerting.start()
        try:
            yield made
        finally:
            await made.deliveries.close()


async def test_a_shifted_feature_is_one_alarm_that_names_it_alone_and_is_resolved(world, receiver):
    async with office(world, alerts(receiver)) as at:
        await at.seconds(240)
        assert (at.states(), receiver.posts) == ({}, [])
        await at.seconds(60, shift=0.5)
        await at.sent()
        [post] = receiver.posts
        told = post.json()
        assert (post.signed, told["status"], told["rule"]) == (True, "firing", "drift")
        assert [column["name"] for column in told["columns"]] == ["income"]
        assert told["columns"][0]["ks"] > 0.05
        assert told["columns"][0]["log10_e"] > 6
        assert at.alerting.firing() == [(("drift", "warning", "m", "1"), 1.0)]
        # Long looks back reach into the shift for long after; they raise nothing anew.
        await at.seconds(240)
        await at.sent()
        firing, over = (one.json() for one in receiver.posts)
        assert (over["status"], over["id"]) == ("resolved", firing["id"])
        assert [column["name"] for column in over["columns"]] == ["income"]
        assert at.states() == {"drift": "resolved"}
        assert at.alerting.firing() == []


async def test_a_restart_goes_on_firing_and_tells_nothing_twice(world, receiver):
    settings = alerts(receiver)
    async with office(world, settings) as at:
        await at.seconds(200)
        await at.seconds(60, shift=1.0)
        await at.sent()
    world.restart()
    async with office(world, settings) as at:
        assert at.states() == {"drift": "firing"}
        await at.seconds(60, shift=1.0)
        assert at.states() == {"drift": "firing"}
        assert len(receiver.posts) == 1
        await at.seconds(120)
        await at.sent()
        assert [post.json()["status"] for post in receiver.posts] == ["firing", "resolved"]


async def test_a_drift_that_begins_at_a_restart_is_told_as_soon_as_any(world, receiver):
    settings = alerts(receiver)
    async with office(world, settings) as at:
        await at.seconds(240)
        world.store.save({}, {}, world.sketches.now, at.drift.learnt())
    world.restart()
    async with office(world, settings) as at:
        await at.seconds(15, shift=1.0)  # nothing can be learnt from scratch in so few
        assert at.states() == {"drift": "firing"}


async def test_a_restart_after_an_alarm_is_over_raises_nothing_anew(world, receiver):
    settings = alerts(receiver)
    async with office(world, settings) as at:
        await at.seconds(200)
        await at.seconds(60, shift=1.0)
        await at.seconds(120)
        await at.sent()
        world.store.save({}, {}, world.sketches.now, at.drift.learnt())
    told = [post.json()["status"] for post in receiver.posts]
    assert told == ["firing", "resolved"]
    world.restart()
    async with office(world, settings) as at:
        await at.seconds(5, a_second=0)  # long looks back still reach into what is over
        await at.seconds(60)
        assert at.states() == {"drift": "resolved"}
        assert len(receiver.posts) == 2


async def test_what_waited_when_the_server_ended_is_sent_by_the_next(world, receiver):
    receiver.answers.extend([503] * 100)
    settings = alerts(receiver, max_attempts=100)
    async with office(world, settings) as at:
        await at.seconds(200)
        await at.seconds(60, shift=1.0)
    assert receiver.taken == []
    receiver.answers.clear()
    async with office(world, settings) as at:
        await at.sent()
        [post] = receiver.taken
        assert (post.json()["status"], post.signed) == ("firing", True)
        assert at.letters.waiting() == []


async def test_an_alarm_of_what_is_gone_is_over(world, receiver):
    async with office(world, alerts(receiver)) as at:
        await at.seconds(200)
        await at.seconds(60, shift=1.0)
        await at.seconds(1, live=set())
        await at.sent()
        assert receiver.posts[-1].json()["reason"] == "the version is not served any more"
        assert at.states() == {"drift": "resolved"}


async def test_what_is_suppressed_is_told_afterwards(world, receiver):
    async with office(world, alerts(receiver)) as at:
        at.suppressed = "a rollout moves"
        await at.seconds(200)
        await at.seconds(60, shift=1.0)
        [line] = at.alerting.lines()
        assert (line["state"], line["suppressed"]) == ("pending", "a rollout moves")
        at.suppressed = ""
        await at.seconds(1, shift=1.0)
        await at.sent()
        assert len(receiver.posts) == 1


async def test_a_rule_may_hold_its_window_against_the_same_hours_of_earlier_weeks(world, receiver):
    rule = {"figure": "psi", "threshold": 0.5, "window_s": 60}
    rules = [
        AlertRule(name="fixed", **rule),
        AlertRule(name="seasonal", reference="same-hours:2w", **rule),
    ]
    settings = alerts(receiver).model_copy(update={"rules": rules, "default_rules": False})
    async with office(world, settings) as at:
        await at.seconds(60, shift=1.5)
        world.clock.now += WEEK_S - 60
        await at.seconds(70, a_second=0)
        world.save()
        await at.seconds(60, shift=1.5)
        assert at.states()["fixed"] == "firing"
        assert "seasonal" not in at.states()
        await at.seconds(80)
        await at.sent()
        assert at.states()["seasonal"] == "firing"
        told = [one.json() for one in receiver.posts]
        assert "psi >= 0.5 against same-hours:2w" in {one["condition"] for one in told}


async def test_rows_that_could_not_be_counted_are_an_alarm(world, receiver):
    [block] = world.arena.blocks(layout.SKETCH)
    slots = world.arena.slots(block)
    async with office(world, alerts(receiver)) as at:
        for _ in range(60):
            slots[0, layout.SKETCH_SKIPPED] += 10
            await at.seconds(1)
        await at.sent()
        [post] = receiver.posts
        told = post.json()
        assert (told["rule"], told["columns"][0]["value"]) == ("skipped_rows", pytest.approx(0.2))


async def test_the_list_names_columns_in_the_order_in_which_they_were_told(world, receiver):
    some = {"figure": "rows", "threshold": 0.0, "window_s": 60.0, "min_rows": 0}
    settings = alerts(receiver).model_copy(
        update={"rules": [AlertRule(name="busy", **some)], "default_rules": False}
    )
    async with office(world, settings) as at:
        await at.seconds(2, shift=3.0)
        await at.sent()
        told = [column["name"] for column in receiver.posts[0].json()["columns"]]
        [line] = at.alerting.lines()
        assert told[0] == "income"  # the first name is another's
        assert [column["name"] for column in line["columns"]][: len(told)] == told


async def test_a_version_goes_by_the_rules_of_its_release(world, receiver):
    async with office(world, alerts(receiver)) as at:
        some = {"figure": "rows", "threshold": 0.0, "comparison": ">=", "window_s": 60.0}
        at.released = [AlertRule(name="busy", severity="critical", min_rows=0, every_s=1, **some)]
        await at.seconds(5)
        assert at.states() == {"busy": "firing"}
        assert at.alerting.firing() == [(("busy", "critical", "m", "1"), 1.0)]
        at.released = None  # the configuration knows no such rule
        await at.seconds(5)
        await at.sent()
        assert at.states() == {"busy": "resolved"}
        assert [post.json()["status"] for post in receiver.posts] == ["firing", "resolved"]


async def test_alertmanager_hears_of_an_alarm_again_and_again(world, receiver):
    async with office(world, alerts(receiver, kind="alertmanager_api")) as at:
        await at.seconds(200)
        for _ in range(20):
            await at.seconds(10, shift=1.0)
            await at.sent()
        [first, *others] = [post.json()[0] for post in receiver.posts]
        assert 2 <= len(others) <= 4  # once a minute
        assert all(one["labels"] == first["labels"] for one in others)
        assert all(one["endsAt"] > first["endsAt"] for one in others)
        assert at.letters.waiting() == []


async def test_a_database_that_cannot_be_written_keeps_no_alarm_from_being_told(world, receiver):
    async with office(world, alerts(receiver)) as at:
        await at.seconds(200)
        hidden = world.home / "hidden.db"
        (world.home / FILE).rename(hidden)
        await at.seconds(60, shift=1.0)
        await at.sent()
        assert [post.json()["status"] for post in receiver.posts] == ["firing"]
        hidden.rename(world.home / FILE)
        await at.seconds(1, shift=1.0)
        assert [alarm.phase for alarm in at.letters.alarms().values()] == ["firing"]


# ---- delivery -----------------------------------------------------------------------------------


NOTICE = {
    "event": "e-1",
    "id": "e",
    "fingerprint": "e",
    "status": "firing",
    "rule": "drift",
    "severity": "warning",
    "model": "m",
    "version": 1,
    "summary": "s",
    "reason": "",
    "at": 1.0,
    "since": 1.0,
    "fired_at": 1.0,
    "resolved_at": None,
    "condition": "c",
    "reference": None,
    "columns": [],
}


async def test_what_a_receiver_does_not_take_is_sent_again_under_the_same_id(world, receiver):
    receiver.answers.extend([503, 500])
    async with office(world, alerts(receiver)) as at:
        at.deliveries.put(at.letters.save({}, [("ops", NOTICE)]))
        await at.sent()
        assert [post.answered for post in receiver.posts] == [503, 500, 204]
        assert {post.headers["webhook-id"] for post in receiver.posts} == {"e-1"}
        assert all(post.signed for post in receiver.posts)
        assert at.deliveries.counts == {("ops", "failed"): 2, ("ops", "delivered"): 1}
        assert (at.letters.waiting(), at.letters.dead()) == ([], [])


def test_each_failure_doubles_the_pause_up_to_five_minutes():
    for attempts, longest in ((1, 1), (2, 2), (3, 4), (8, 128), (9, 256), (10, 300), (60, 300)):
        drawn = [pause_s(attempts) for _ in range(50)]
        assert longest / 2 <= min(drawn) < max(drawn) <= longest


async def test_a_receiver_that_is_away_makes_a_dead_letter_that_can_be_tried_again(world, receiver):
    with receiving() as away:
        gone = away.url
    async with office(world, alerts(receiver, url=gone)) as at:
        at.deliveries.put(at.letters.save({}, [("ops", NOTICE)]))
        await at.sent()
        [dead] = at.letters.dead()
        assert (dead.attempts, dead.sink, at.letters.waiting()) == (3, "ops", [])
        at.settings = alerts(receiver)
        at.deliveries.put([at.letters.revive(ANN, dead.number)])
        await at.sent()
        assert (len(receiver.taken), at.letters.dead()) == (1, [])
        entry = at.audit.last(1)[0]
        assert (entry.who, entry.action, entry.subject) == ("ann", "alert retry", "letter 1")
        with pytest.raises(NotFound):
            at.letters.revive(ANN, dead.number)


async def test_of_too_many_that_wait_the_oldest_die_while_the_first_is_still_tried(world, receiver):
    receiver.answers.extend([503] * 100)
    async with office(world, alerts(receiver, max_attempts=50)) as at:
        letters = [("ops", NOTICE | {"event": f"e-{n}"}) for n in range(MAX_WAITING + 4)]
        first, *others = at.letters.save({}, letters)
        at.deliveries.put([first])
        async with asyncio.timeout(60):
            while not at.deliveries.counts["ops", "failed"]:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            at.deliveries.put(others)
            while at.deliveries.counts["ops", "dead"] < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert {dead.notice["event"] for dead in at.letters.dead()} <= {
            f"e-{n}" for n in range(1, 5)
        }
        assert at.letters.waiting()[0] == first


async def test_an_address_that_no_library_expects_makes_a_dead_letter_and_holds_up_nothing(
    world, receiver
):
    nowhere = "http://127.0.0.1:99999/"
    async with office(world, alerts(receiver, url=nowhere)) as at:
        at.deliveries.put(at.letters.save({}, [("ops", NOTICE)]))
        await at.sent()
        assert [dead.attempts for dead in at.letters.dead()] == [3]
        assert at.deliveries.counts == {("ops", "failed"): 3, ("ops", "dead"): 1}


async def test_what_is_refused_for_good_dies_at_once_and_holds_up_nothing(world, receiver):
    receiver.answers.append(400)
    async with office(world, alerts(receiver)) as at:
        letters = [("ops", NOTICE), ("ops", NOTICE | {"event": "e-2"})]
        at.deliveries.put(at.letters.save({}, letters))
        await at.sent()
        assert [dead.reason for dead in at.letters.dead()] == ["answered 400"]
        assert [post.headers["webhook-id"] for post in receiver.taken] == ["e-2"]


async def test_a_sink_without_its_secret_sends_nothing_unsigned(world, receiver, monkeypatch):
    monkeypatch.delenv("OPS_SECRET")
    async with office(world, alerts(receiver)) as at:
        at.deliveries.put(at.letters.save({}, [("ops", NOTICE)]))
        await at.sent()
        assert receiver.posts == []
        assert "secret" in at.letters.dead()[0].reason


async def test_one_event_is_kept_once_a_sink(world, receiver):
    async with office(world, alerts(receiver)) as at:
        for _ in range(3):
            at.letters.save({}, [("ops", NOTICE)])
        assert len(at.letters.waiting()) == 1


@pytest.mark.parametrize(
    ("kind", "path", "content_type"),
    [
        ("webhook", "/", "application/json"),
        ("cloudevents", "/", "application/cloudevents+json"),
        ("alertmanager", "/", "application/json"),
        ("alertmanager_api", "/api/v2/alerts", "application/json"),
    ],
)
async def test_each_kind_of_sink_is_sent_its_shape(world, receiver, kind, path, content_type):
    async with office(world, alerts(receiver, kind=kind)) as at:
        at.deliveries.put(at.letters.save({}, [("ops", NOTICE)]))
        await at.sent()
        [post] = receiver.taken
        assert (post.path, post.headers["content-type"]) == (path, content_type)


# ---- outcomes -----------------------------------------------------------------------------------

DRIFTED = {("m", 1): standing((800, 0.05), (300, 0.5))}


def of_rule(receiver, rule):
    return [told for post in receiver.posts if (told := post.json())["rule"] == rule]


async def test_a_risen_error_rate_is_an_alarm_until_it_is_over(world, receiver):
    async with office(world, alerts(receiver)) as at:
        at.standings.found = {("m", 1): standing((800, 0.05))}
        at.standings.started = True
        await at.seconds(2)
        at.standings.found = DRIFTED
        await at.seconds(2)
        await at.sent()
        [told] = of_rule(receiver, "concept_drift")
        assert (told["status"], told["severity"], told["model"]) == ("firing", "critical", "m")
        [column] = told["columns"]
        assert column["limit"] < column["low"] < column["found"]
        assert f"of {column['outcomes']} outcomes; the limit is" in told["summary"]
        # Who is wrong more often is so with the same scores: calibration has changed as well.
        assert at.states() == {"concept_drift": "firing", "calibration_drift": "firing"}
        assert {one["name"] for line in at.alerting.lines() for one in line["columns"]} == {
            "concept"
        }
        at.standings.found = {("m", 1): standing((800, 0.05), (300, 0.5), (1500, 0.05))}
        await at.seconds(5)
        await at.sent()
        assert of_rule(receiver, "concept_drift")[-1]["status"] == "resolved"


async def test_a_rule_may_watch_a_figure_of_performance(world, receiver):
    low = AlertRule(
        name="accuracy", of="performance", figure="accuracy", comparison="<", threshold=0.9,
        clear=0.93, window_s=WINDOW_S, every_s=1,
    )  # fmt: skip
    settings = alerts(receiver).model_copy(update={"rules": [low], "default_rules": False})
    async with office(world, settings) as at:
        at.standings.found = {("m", 1): standing((800, 0.05))}
        await at.seconds(1)
        assert WINDOW_S in at.standings._wanted
        at.standings.found = {("m", 1): standing((800, 0.2))}
        await at.seconds(1)
        await at.sent()
        [post] = receiver.posts
        assert "accuracy < 0.9: accuracy 0.7" in post.json()["summary"]


async def test_alarms_of_outcomes_wait_for_the_ledger_after_a_restart(world, receiver):
    settings = alerts(receiver)
    async with office(world, settings) as at:
        at.standings.found = DRIFTED
        at.standings.started = True
        await at.seconds(2)
        await at.sent()
    async with office(world, settings) as at:
        await at.seconds(3)
        assert at.states()["concept_drift"] == "firing"
        at.standings.started = True  # and this version has none
        await at.seconds(1)
        await at.sent()
    told = of_rule(receiver, "concept_drift")
    assert [one["status"] for one in told] == ["firing", "resolved"]


async def test_a_version_without_a_profile_is_watched_by_its_outcomes(world, receiver):
    async with office(world, alerts(receiver)) as at:
        at.standings.found = {("n", 3): DRIFTED["m", 1]}
        at.standings.started = True
        await at.seconds(2, live={("n", 3)})
        await at.sent()
        assert [one["model"] for one in of_rule(receiver, "concept_drift")] == ["n"]
