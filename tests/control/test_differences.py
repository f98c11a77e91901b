"""What would change, said exactly."""

from __future__ import annotations

import pytest

from gateway import config
from gateway.control.differences import differences


def words(old, new):
    return [one.words() for one in differences(config.parse(old), config.parse(new))]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        pytest.param(
            "models: {fraud: {max_batch_size: 128}}",
            "models: {fraud: {max_batch_size: 256}}",
            "models.fraud.max_batch_size: 128 -> 256",
            id="field",
        ),
        pytest.param(
            "{defaults: {max_batch_size: 64}, models: {fraud: {}}}",
            "{defaults: {max_batch_size: 64}, models: {fraud: {max_batch_size: 256}}}",
            "models.fraud.max_batch_size: 64 (inherited) -> 256",
            id="set",
        ),
        pytest.param(
            "models: {fraud: {max_batch_size: 128}}",
            "models: {fraud: {}}",
            "models.fraud.max_batch_size: 128 -> 128 (inherited)",
            id="no-longer-set",
        ),
        pytest.param(
            "",
            "models: {fraud: {path: f.onnx, timeout_ms: 5}}",
            "models.fraud: added (timeout_ms 5.0, path f.onnx)",
            id="added",
        ),
        pytest.param("models: {a.b: {}}", "", "models.a.b: removed", id="removed"),
        pytest.param("", "defaults: {timeout_ms: 5}", "defaults.timeout_ms: none -> 5.0", id="d"),
        pytest.param(
            "", "server: {port: 9}", "server.port: 8000 -> 9, at the next start", id="restart"
        ),
        pytest.param(
            "",
            "repository: {allow_load: true}",
            "repository.allow_load: False -> True, at the next start",
            id="switched-on",
        ),
        pytest.param(
            "repository: {allow_load: true}",
            "",
            "repository.allow_load: True -> False",
            id="switched-off",
        ),
        pytest.param(
            "models: {m: {padding: {buckets: [1]}}}",
            "models: {m: {padding: {buckets: [1, 2]}}}",
            "models.m.padding.buckets: [1] -> [1, 2]",
            id="nested",
        ),
    ],
)
def test_a_change_is_one_line(old, new, told):
    assert words(old, new) == [told]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("", "", id="empty"),
        pytest.param("", "# a remark\nserver: {port: 8000}", id="the-default-said"),
        pytest.param("models: {a: {}, b: {}}", "models: {b: {}, a: {}}", id="order"),
    ],
)
def test_what_means_the_same_is_no_change(old, new):
    assert words(old, new) == []


def test_models_are_named_whatever_is_in_their_names():
    old, new = config.parse("models: {a.b: {}}"), config.parse("models: {a.b: {version: 2}, c: {}}")
    assert [one.model for one in differences(old, new)] == ["a.b", "c"]
