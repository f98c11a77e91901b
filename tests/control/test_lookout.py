"""A change is looked at once, whoever tells of it."""

from __future__ import annotations

import pytest

from gateway.control.desired import Desired
from gateway.control.lookout import Lookout
from gateway.control.memory import Memory
from gateway.errors import StoreFailed


class Store:
    generation = 5


@pytest.fixture
def store():
    return Store()


def test_what_was_looked_at_since_the_last_change_need_not_be_again(store):
    lookout = Lookout(lambda: store.generation, lambda _, __: Desired(()))
    assert lookout.is_behind()
    lookout.gather(Memory())
    assert not lookout.is_behind()
    store.generation += 1
    assert lookout.is_behind()
    lookout.gather(Memory())
    assert not lookout.is_behind()


def test_a_change_that_comes_during_a_look_is_worth_another(store):
    def gather(_, __):
        assert not lookout.is_behind()  # whoever asks now is served by this look
        store.generation += 1
        return Desired(())

    lookout = Lookout(lambda: store.generation, gather)
    lookout.gather(Memory())
    assert lookout.is_behind()


def test_a_look_that_failed_is_none(store):
    def gather(_, __):
        raise StoreFailed("away")

    lookout = Lookout(lambda: store.generation, gather)
    with pytest.raises(StoreFailed):
        lookout.gather(Memory())
    assert lookout.is_behind()


def test_a_look_at_one_model_leaves_what_changed_of_others_to_the_next(store):
    asked = []

    def gather(_, only):
        asked.append(only)
        return Desired(())

    lookout = Lookout(lambda: store.generation, gather)
    lookout.gather(Memory())
    store.generation += 1
    lookout.gather(Memory(), "m")
    assert lookout.is_behind()
    assert asked == [None, "m"]
