"""Documents that were in force are kept, numbered, and can be in force again."""

from __future__ import annotations

import multiprocessing

import pytest

from gateway.config import Config, Given
from gateway.control.audit import Audit
from gateway.control.in_force import InForce
from gateway.control.proposals import Proposals, Terms, changes
from gateway.control.revisions import NONE, Revisions
from gateway.control.store import Store
from gateway.errors import ConfigInvalid, NotFound, PreconditionFailed
from gateway.inherited import Launch
from gateway.layers import lay
from tests.control.auditing import ANN

ONE = "models: {m: {max_batch_size: 1}}\n"
TWO = "models: {m: {max_batch_size: 2}}\n"


@pytest.fixture
def store(home):
    with Store.open(home) as opened:
        yield opened


@pytest.fixture
def revisions(store):
    return Revisions(store, now=lambda: 12.5)


def test_a_home_begins_with_the_empty_document(revisions):
    assert (revisions.newest(), revisions.history()) == (NONE, [])
    assert NONE.config == Config()
    assert revisions.add("", ANN) == NONE


def test_a_document_becomes_a_revision_with_all_that_is_known_of_it(revisions):
    added = revisions.add(ONE, ANN, source="/etc/p.yaml", note="first")
    assert revisions.newest() == revisions.get(1) == added
    assert (added.number, added.at, added.who, added.note, added.source, added.document) == (
        1,
        12.5,
        "ann",
        "first",
        "/etc/p.yaml",
        ONE,
    )


def test_the_same_document_again_is_no_revision(revisions, store):
    first = revisions.add(ONE, ANN)
    generation = store.generation()
    assert revisions.add(ONE, ANN) == first
    assert store.generation() == generation


def test_a_document_with_faults_is_none_and_all_faults_are_told(revisions):
    with pytest.raises(ConfigInvalid) as error:
        revisions.add("sever: 1\nmodels: {m: {max_batch_size: -1}}", ANN)
    assert len(str(error.value).splitlines()) == 2
    assert revisions.newest() == NONE


def test_a_change_is_made_only_to_the_revision_that_it_names(revisions):
    revisions.add(ONE, ANN, if_revision=0)
    with pytest.raises(PreconditionFailed, match="expected 0 to be the newest, got 1"):
        revisions.add(TWO, ANN, if_revision=0)
    with pytest.raises(PreconditionFailed):
        changes(revisions.newest(), TWO, "document", lambda d: lay(d, {}, ()), 3)
    assert revisions.add(TWO, ANN, if_revision=1).number == 2


def roll_back(revisions, number=None):
    return Proposals(revisions, lambda d: lay(d, {}, ())).rollback(number, Terms(ANN)).after


def test_a_rollback_is_a_new_revision_with_the_old_document(revisions):
    for document in (ONE, TWO):
        revisions.add(document, ANN)
    back = roll_back(revisions)
    assert (back.number, back.document, back.note, back.restores) == (3, ONE, "as revision 1", 1)
    assert roll_back(revisions, 2).document == TWO
    assert [(one.number, one.restores) for one in revisions.history()] == [
        (4, 2),
        (3, 1),
        (2, None),
        (1, None),
    ]
    for number in (0, 9):
        with pytest.raises(NotFound, match=f"no revision {number}"):
            roll_back(revisions, number)


def test_rollback_after_rollback_walks_back_and_never_to_what_was_left(revisions):
    three, four = TWO.replace("2", "3"), TWO.replace("2", "4")
    for document in (ONE, TWO, three):
        revisions.add(document, ANN)
    assert [roll_back(revisions).document for _ in range(2)] == [TWO, ONE]
    with pytest.raises(NotFound, match="no revision before 1 says anything else"):
        roll_back(revisions)
    revisions.add(four, ANN)
    # To what was in force before it, which was revision 1; from there nowhere: 2 and 3 were left.
    assert (roll_back(revisions).document, revisions.newest().restores) == (ONE, 1)
    with pytest.raises(NotFound):
        roll_back(revisions)
    assert roll_back(revisions, 3).document == three
    assert roll_back(revisions).document == TWO


def test_a_rollback_steps_over_what_says_the_same(revisions):
    revisions.add(ONE, ANN)
    revisions.add(TWO, ANN)
    revisions.add(TWO, ANN, source="/etc/p.yaml")
    back = roll_back(revisions)
    assert (back.document, back.restores) == (ONE, 1)


def test_the_audit_names_what_changed_and_not_how(revisions, store):
    revisions.add(ONE, ANN)
    revisions.add(TWO, ANN, "config reload")
    entry = Audit(store).last(1)[0].as_json()
    assert (entry["action"], entry["subject"]) == ("config reload", "revision 2")
    assert entry["before"]["revision"] == 1
    assert entry["after"]["changed"] == ["models.m.max_batch_size"]
    assert entry["after"]["sha256"] == revisions.newest().sha256


def add_many(home, documents):
    with Store.open(home) as store:
        for document in documents:
            Revisions(store).add(document, ANN)


def test_processes_that_apply_at_once_get_numbers_of_their_own(home):
    context = multiprocessing.get_context("fork")
    documents = [[f"models: {{m{child}-{n}: {{}}}}" for n in range(10)] for child in range(3)]
    children = [context.Process(target=add_many, args=(home, mine)) for mine in documents]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 3
    with Store.open(home) as store:
        revisions = Revisions(store)
        numbers = [one.number for one in revisions.history()]
        applied = {revisions.get(number).document for number in numbers}
    assert numbers == list(range(30, 0, -1))
    assert applied == {one for mine in documents for one in mine}


def numbers(revisions, **which):
    return [one.number for one in revisions.history(**which)]


def test_the_history_is_told_in_pages_and_without_documents(revisions):
    for document in (ONE, TWO) * 3:
        revisions.add(document, ANN)
    assert numbers(revisions, limit=4) == [6, 5, 4, 3]
    assert numbers(revisions, limit=4, before=3) == [2, 1]
    assert numbers(revisions, before=1) == []
    assert {one.document for one in revisions.history()} == {""}


def test_the_newest_are_kept_and_of_each_file_what_it_said_last(store):
    revisions = Revisions(store, kept=3)
    revisions.add(ONE, ANN, source="/etc/old.yaml")
    revisions.add(TWO, ANN, source="/etc/p.yaml")
    for document in (ONE, TWO) * 3:
        revisions.add(document, ANN)
    assert numbers(revisions) == [8, 7, 6, 2, 1]
    revisions.add(ONE, ANN, source="/etc/p.yaml")
    assert numbers(revisions) == [9, 8, 7, 1]
    last = revisions.last_from("/etc/p.yaml", 1)
    assert last is not None
    assert last.number == 9
    with pytest.raises(NotFound, match=r"no revision 5 .* the newest 500 are kept"):
        roll_back(revisions, 5)
    assert roll_back(revisions).number == 10


def test_a_document_that_this_server_could_not_follow_is_not_rolled_back_to(revisions, home):
    in_force = InForce(revisions, Launch(Config(), home), {"PENSTOCK_MODELS__A_B__VERSION": "2"})
    revisions.add("models: {a-b: {}, a.b: {}}", ANN)
    revisions.add(ONE, ANN)
    with pytest.raises(ConfigInvalid, match="PENSTOCK_MODELS__A_B__VERSION"):
        in_force.proposals.rollback(None, Terms(ANN))
    assert revisions.newest().number == 2
    assert in_force.proposals.rollback(2, Terms(ANN)).after.document == ONE


# ---- what a server makes of it ----


def batch(config: Config) -> int:
    return config.models["m"].max_batch_size


def test_the_newest_revision_is_in_force_under_variables_and_flags(revisions, home):
    flags = (Given(("server", "port"), 7, "--port"),)
    started = Launch(Config(), home, flags=flags)
    environ = {"PENSTOCK_MODELS__M__TIMEOUT_MS": "5"}
    in_force = InForce(revisions, started, environ)
    revisions.add(ONE, ANN)
    found = in_force.refresh()
    assert (batch(found), found.models["m"].timeout_ms) == (1, 5.0)
    assert in_force.config is found
    revisions.add(TWO, ANN)
    assert batch(in_force.refresh()) == 2


def test_what_only_a_start_changes_stays_and_is_told(revisions, home, caplog):
    in_force = InForce(revisions, Launch(Config(), home), {})
    revisions.add("server: {port: 9}\nlimits: {max_headers: 5}\n", ANN)
    assert in_force.refresh().server.port == 8000
    assert "server.port: what it says now takes effect at the next start" in caplog.text
    assert "limits.max_headers" in caplog.text


def test_who_is_known_by_a_certificate_changes_at_once_and_the_rest_of_access_does_not(
    revisions, home, caplog
):
    in_force = InForce(revisions, Launch(Config(), home), {})
    revisions.add(
        "server: {tls: {certificate: c, key: k, client_ca: a}}\n"
        "access: {data: keys, certificates: [{name: till, subject: 'cn:till', role: client}]}\n",
        ANN,
    )
    access = in_force.refresh().access
    assert (access.data, [one.name for one in access.certificates]) == ("open", ["till"])
    assert "access.data: what it says now takes effect at the next start" in caplog.text
    assert "access.certificates" not in caplog.text


def test_a_revision_that_does_not_fit_is_told_once_and_the_last_one_stays(revisions, home, caplog):
    in_force = InForce(revisions, Launch(Config(), home), {"PENSTOCK_MODELS__A_B__VERSION": "2"})
    revisions.add(ONE, ANN)
    in_force.refresh()
    revisions.add("models: {a-b: {}, a.b: {}}", ANN)
    for _ in range(3):
        assert batch(in_force.refresh()) == 1
    assert caplog.text.count("PENSTOCK_MODELS__A_B__VERSION") == 1


def test_a_file_that_was_changed_becomes_a_revision_and_an_untouched_one_undoes_nothing(
    revisions, home, tmp_path
):
    file = tmp_path / "p.yaml"
    file.write_text(ONE)
    first = revisions.add(ONE, ANN, source=str(file))
    started = Launch(first.config, home, revision=1, config_path=file, config_sha256=first.sha256)
    in_force = InForce(revisions, started, {})
    revisions.add(TWO, ANN)
    in_force.reread(ANN)
    assert revisions.newest().document == TWO
    three = TWO.replace("2", "3")
    file.write_text(three)
    in_force.reread(ANN)
    assert (revisions.newest().number, revisions.newest().document) == (3, three)
    revisions.add(TWO, ANN)
    # A successor of a killed control, which was started with what the server was started with.
    InForce(revisions, started, {}).reread(ANN)
    assert revisions.newest().document == TWO
    file.write_text(ONE)
    in_force.reread(ANN)
    assert revisions.newest().document == ONE


def test_a_file_that_says_what_was_applied_meanwhile_undoes_nothing_later(
    revisions, home, tmp_path
):
    file = tmp_path / "p.yaml"
    file.write_text(ONE)
    first = revisions.add(ONE, ANN, source=str(file))
    started = Launch(first.config, home, revision=1, config_path=file, config_sha256=first.sha256)
    in_force = InForce(revisions, started, {})
    revisions.add(TWO, ANN)
    file.write_text(TWO)
    in_force.reread(ANN)
    three = TWO.replace("2", "3")
    revisions.add(three, ANN)
    in_force.reread(ANN)
    assert revisions.newest().document == three
