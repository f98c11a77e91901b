"""A credential is taken from headers where it stands plainly, and nowhere else."""

from __future__ import annotations

import pytest

from gateway.access.headers import MAX_CREDENTIAL_BYTES, credential
from gateway.errors import Unauthenticated

KEY = b"psk_" + b"k" * 32


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([(b"authorization", b"Bearer " + KEY)], id="bearer"),
        pytest.param([(b"authorization", b"bEaReR " + KEY)], id="schemes-have-no-case"),
        pytest.param([(b"authorization", b"  Bearer " + KEY + b"\t ")], id="space-around-a-value"),
        pytest.param([(b"x-api-key", KEY)], id="as-anthropics-clients-send-it"),
        pytest.param([(b"api-key", KEY)], id="as-azures-clients-send-it"),
        pytest.param([(b"api-key", KEY), (b"authorization", b"Bearer " + KEY)], id="azures-twice"),
        pytest.param(
            [(b"x-api-key", KEY), (b"host", b"h"), (b"authorization", b"Bearer " + KEY)],
            id="both-and-the-same",
        ),
    ],
)
def test_a_plain_credential_is_found(headers):
    assert credential(headers) == KEY


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="none"),
        pytest.param([(b"authorization", b"")], id="empty"),
        pytest.param([(b"authorization", b"Bearer")], id="scheme-alone"),
        pytest.param([(b"authorization", b"Bearer ")], id="no-key"),
        pytest.param([(b"authorization", KEY)], id="no-scheme"),
        pytest.param([(b"authorization", b"Basic " + KEY)], id="basic"),
        pytest.param([(b"authorization", b"Digest " + KEY)], id="digest"),
        pytest.param([(b"authorization", b"Bearer  " + KEY)], id="two-spaces"),
        pytest.param([(b"authorization", b"Bearer\t" + KEY)], id="tab"),
        pytest.param([(b"authorization", b"Bearer\x0b" + KEY)], id="vertical-tab"),
        pytest.param([(b"authorization", b"Bearer\xa0" + KEY)], id="no-break-space"),
        pytest.param([(b"authorization", b"Bearer " + KEY + b" x")], id="two-words"),
        pytest.param([(b"authorization", b"Bearer " + KEY + b"," + KEY)], id="list"),
        pytest.param([(b"authorization", b"Bearer " + KEY + b"\xe9")], id="latin-1"),
        pytest.param([(b"authorization", b"Bearer " + KEY + b"\x00")], id="nul"),
        pytest.param([(b"authorization", "Bearer \uff50\uff53\uff4b".encode())], id="full-width"),
        pytest.param([(b"x-api-key", b"Bearer " + KEY)], id="scheme-in-api-key"),
        pytest.param([(b"authorization", b"Bearer " + KEY)] * 2, id="twice-the-same"),
        pytest.param([(b"x-api-key", KEY)] * 2, id="api-key-twice"),
        pytest.param([(b"api-key", KEY)] * 2, id="azures-twice"),
        pytest.param([(b"x-api-key", KEY), (b"api-key", KEY)], id="both-vendors"),
        pytest.param([(b"api-key", b"Bearer " + KEY)], id="scheme-in-azures"),
        pytest.param(
            [(b"authorization", b"Bearer " + KEY), (b"api-key", KEY + b"x")], id="azures-differs"
        ),
        pytest.param(
            [(b"authorization", b"Bearer " + KEY), (b"x-api-key", KEY + b"x")], id="two-that-differ"
        ),
        pytest.param(
            [(b"authorization", b"Basic eA=="), (b"x-api-key", KEY)], id="one-good-one-bad"
        ),
        pytest.param([(b"authorization", b"Bearer " + b"k" * MAX_CREDENTIAL_BYTES)], id="long"),
        pytest.param([(b"proxy-authorization", b"Bearer " + KEY)], id="another-header"),
    ],
)
def test_whatever_is_not_plainly_one_is_refused_without_being_quoted(headers):
    with pytest.raises(Unauthenticated) as refused:
        credential(headers)
    assert KEY.decode() not in str(refused.value)
    assert refused.value.status == 401
