"""Releases: what changes of an offer is taken, what a rollback put there stays, all is kept."""

from __future__ import annotations

import tempfile
from dataclasses import replace

import numpy as np
import pytest

from gateway.config import AlertRule, Alerts
from gateway.contracts import document
from gateway.contracts.inference import infer
from gateway.contracts.values import Choice, Contract, Range, Tensor
from gateway.control.audit import Audit, by_itself
from gateway.control.release import Offer, thresholds_of
from gateway.control.releases import CONTRACT_FILE, KEPT, Releases
from gateway.control.store import Store
from gateway.errors import ContractInvalid, NotFound, StoreFailed
from gateway.profiles import beside
from gateway.profiles import document as profiles
from tests.control.auditing import ANN
from tests.monitor.watching import profile_of, rows

OLD, NEW = (profile_of(*rows(np.random.default_rng(seed), 200)) for seed in (1, 2))
STRICT = AlertRule(name="strict", figure="psi", threshold=0.01, window_s=60)


def offer(profile=OLD, *rules: AlertRule) -> Offer:
    return Offer(profile, profiles.digest(profile), thresholds_of(Alerts(rules=[*rules]), "m"))


DEFAULTS = ["drift", "skipped_rows", "concept_drift", "calibration_drift"]


def edited(contract: Contract) -> Contract:
    """The same with another range for the first column."""
    first = contract.tensors[0]
    columns = (Range("age", 0.0, 1.0, False, False, False), *first.columns[1:])
    return Contract((replace(first, columns=columns), *contract.tensors[1:]))


@pytest.fixture
def store(home):
    with Store.open(home) as made:
        yield made


@pytest.fixture
def releases(store, home):
    return Releases(store, home, by_itself(), lambda: 1000.5)


def entries(store):
    return [(one.who, one.action, one.subject) for one in Audit(store).entries()]


def test_the_first_offer_becomes_the_first_release(releases, store):
    found = releases.settle("m", 1, offer())
    assert (found.number, found.at, found.rows, found.edited) == (1, 1000.5, 200, False)
    assert releases.contract(found) == infer(OLD)
    assert profiles.digest(beside.load(releases.profile_file(found))) == profiles.digest(OLD)
    assert [rule["name"] for rule in found.as_json()["thresholds"]] == DEFAULTS
    assert releases.history("m", 1) == [found]
    assert [entry[1:] for entry in entries(store)] == [("monitoring release", "m/1")]


def test_an_offer_that_stays_the_same_makes_no_other(releases, store):
    generation = [(releases.settle("m", 1, offer()).number, store.generation()) for _ in range(3)]
    assert generation == [(1, generation[0][1])] * 3


def test_another_profile_brings_its_contract_and_leaves_the_thresholds(releases):
    first = releases.settle("m", 1, offer(OLD, STRICT))
    second = releases.settle("m", 1, offer(NEW, STRICT))
    assert (second.number, second.profile) == (2, profiles.digest(NEW))
    assert releases.contract(second) == infer(NEW)
    assert second.thresholds == first.thresholds


def test_other_rules_make_a_release_and_leave_profile_and_contract(releases):
    first = releases.settle("m", 1, offer())
    second = releases.settle("m", 1, offer(OLD, STRICT))
    assert (second.number, second.profile, second.contract) == (2, first.profile, first.contract)
    assert STRICT in releases.rules_of("m", 1)


def test_rules_of_other_models_make_no_release(releases):
    releases.settle("m", 1, offer())
    assert releases.settle("m", 1, offer(OLD, replace_models(STRICT, "other"))).number == 1


def replace_models(rule: AlertRule, *models: str) -> AlertRule:
    return rule.model_copy(update={"models": [*models]})


def test_a_rollback_brings_all_three_back_and_stays_while_the_offer_does(releases, store):
    first = releases.settle("m", 1, offer())
    releases.settle("m", 1, offer(NEW, STRICT))
    back = releases.rollback("m", 1, actor=ANN)
    assert (back.number, back.watched_by, back.note) == (3, first.watched_by, "as release 1")
    assert releases.settle("m", 1, offer(NEW, STRICT)) == back
    assert STRICT not in releases.rules_of("m", 1)
    assert entries(store)[-1] == ("ann", "monitoring rollback", "m/1")


def test_what_is_offered_after_a_rollback_changes_only_what_it_is_about(releases):
    first = releases.settle("m", 1, offer())
    releases.settle("m", 1, offer(NEW, STRICT))
    releases.rollback("m", 1)
    fourth = releases.settle("m", 1, offer(NEW))
    assert fourth.number == 3  # the rules of then are those in force already
    third = profile_of(*rows(np.random.default_rng(3), 200))
    fifth = releases.settle("m", 1, offer(third))
    assert (fifth.number, fifth.profile) == (4, profiles.digest(third))
    assert fifth.thresholds == first.thresholds


def test_a_contract_that_somebody_set_stays_whatever_profile_comes(releases, store):
    first = releases.settle("m", 1, offer())
    wanted = edited(infer(OLD))
    second = releases.set_contract("m", 1, wanted, ANN, "by law")
    assert (second.number, second.edited, second.note) == (2, True, "by law")
    third = releases.settle("m", 1, offer(NEW))
    assert (third.number, third.contract) == (3, document.digest(wanted))
    fourth = releases.set_contract("m", 1, None, ANN)
    assert (fourth.edited, releases.contract(fourth)) == (False, infer(NEW))
    assert releases.rollback("m", 1, 1).watched_by == first.watched_by
    assert [entry[1] for entry in entries(store)] == [
        "monitoring release",
        "contract set",
        "monitoring release",
        "contract reset",
        "monitoring rollback",
    ]


def test_a_contract_that_somebody_set_goes_with_the_model_that_it_is_of(releases):
    releases.settle("m", 1, offer())
    assert releases.set_contract("m", 1, edited(infer(OLD))).edited
    [first, *others] = OLD.frames
    narrow = replace(OLD, frames=(replace(first, columns=first.columns[:1]), *others))
    found = releases.settle("m", 1, offer(narrow))
    assert (found.edited, releases.contract(found)) == (False, infer(narrow))


def test_the_inferred_contract_set_by_hand_is_no_change(releases):
    releases.settle("m", 1, offer())
    assert releases.set_contract("m", 1, infer(OLD)).number == 1


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        pytest.param(Tensor("z", "FP32", (Range("a"),)), "input 'z': the model's inputs are"),
        pytest.param(Tensor("x", "FP32", (Range("a"),)), "expected 2 columns, got 1"),
        pytest.param(Tensor("job", "INT64", (Choice("j"),)), "expected datatype BYTES, got INT64"),
    ],
)
def test_a_contract_of_another_model_is_refused_and_changes_nothing(releases, tensor, message):
    releases.settle("m", 1, offer())
    with pytest.raises(ContractInvalid, match=message):
        releases.set_contract("m", 1, Contract((tensor,)))
    assert releases.newest("m", 1).number == 1


def test_a_contract_whose_columns_changed_places_is_refused(releases):
    releases.settle("m", 1, offer())
    [first, *others] = infer(OLD).tensors
    turned = replace(first, columns=first.columns[::-1])
    names = [column.name for column in first.columns]
    message = f"input 'x', column 0: expected '{names[0]}', got '{names[-1]}'"
    with pytest.raises(ContractInvalid, match=message):
        releases.set_contract("m", 1, Contract((turned, *others)))
    assert releases.newest("m", 1).number == 1


def test_what_is_not_there_is_said(releases):
    for change in (releases.get, releases.rollback):
        with pytest.raises(NotFound, match="'m' version 1 is not watched yet"):
            change("m", 1)
    releases.settle("m", 1, offer())
    with pytest.raises(NotFound, match="no monitoring release 0: the newest is 1"):
        releases.rollback("m", 1)


def test_the_newest_are_kept_and_no_file_that_only_older_ones_name(releases, home):
    releases.settle("m", 1, offer())
    first, *others = infer(OLD).tensors
    for most in range(KEPT + 2):
        columns = (Range("age", 0.0, float(most)), *first.columns[1:])
        releases.set_contract("m", 1, Contract((replace(first, columns=columns), *others)))
    found = releases.history("m", 1)
    assert [one.number for one in found] == list(range(KEPT + 3, 3, -1))
    assert releases.contract(found[-1]).tensors[0].columns[0].max == 2.0
    assert len(list((home / "models").rglob(CONTRACT_FILE))) == KEPT


def test_a_folder_for_temporary_files_that_is_gone_is_a_store_that_failed(
    releases, tmp_path, monkeypatch
):
    """Any other error would keep all models of the server from being looked at."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(StoreFailed, match="gone"):
        releases.settle("m", 1, offer())


def test_a_disk_that_refuses_leaves_no_release(releases, home):
    (home / "models").write_text("in the way of the folder")
    with pytest.raises(StoreFailed):
        releases.settle("m", 1, offer())
    assert releases.newest("m", 1) is None


def test_thresholds_that_another_release_of_the_program_wrote_are_those_of_the_document(
    releases, store
):
    releases.settle("m", 1, offer())
    with store.write() as db:
        db.execute('UPDATE monitoring_releases SET thresholds = \'[{"name": "x", "new": 1}]\'')
    releases.settle("m", 1, offer())
    assert releases.rules_of("m", 1) is None


def test_files_lie_under_the_home_by_what_they_hold(releases, home):
    found = releases.settle("m", 1, offer())
    assert releases.contract_file(found) == home / "models" / found.contract_folder / CONTRACT_FILE
    assert document.read(releases.contract_file(found).read_bytes()) == infer(OLD)
