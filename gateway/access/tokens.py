"""Tokens of an identity provider (JWT): who they name, once their signature and claims hold.

Knows PyJWT, the provider's public keys and the rows of teams as somebody hands them over, and which
claims matter. Knows nothing of where these come from. A token that was verified is remembered by
its SHA-256 until it expires, so that a repeated one costs one hash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

from gateway.access.principal import NO_ROW, TOKENS, Principal, models_of
from gateway.access.roles import ROLES
from gateway.errors import ConfigInvalid

if TYPE_CHECKING:
    from jwt import PyJWK

# A provider signs with one key and announces the next; more than this is no key set.
MAX_JWKS = 64
MAX_JWKS_BYTES = 1 << 20
MIN_RSA_BITS = 2048
MAX_REMEMBERED = 4096
# A request counts against a few limits; who is of more teams is nobody that limits were made for.
MAX_TEAMS = 4
# Two machines' clocks: a token may be this much younger than now. It is never good past its `exp`.
SKEW_S = 10
# Nothing private travels, whatever the document holds.
_PUBLIC = ("kty", "kid", "alg", "use", "n", "e", "crv", "x", "y")
_ASYMMETRIC = frozenset({"RSA", "EC", "OKP"})
_PLAIN = re.compile(r"[\x21-\x7e]{1,64}")


class TokenRules(Protocol):
    """What a token must say, as the configuration has it.

    Attributes:
        issuer, audience: what `iss` and `aud` must name.
        algorithms: signatures that are believed; asymmetric ones only.
        role_claim: where the role stands; a path with dots where no claim has the whole name.
        models_claim: where the models stand that it may call; all where the claim is missing.
        team_claim: where teams stand, among other words; None: nowhere.
        team: of those that name none; None: none.
    """

    @property
    def issuer(self) -> str: ...  # noqa: D102
    @property
    def audience(self) -> str: ...  # noqa: D102
    @property
    def algorithms(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def role_claim(self) -> str: ...  # noqa: D102
    @property
    def models_claim(self) -> str: ...  # noqa: D102
    @property
    def team_claim(self) -> str | None: ...  # noqa: D102
    @property
    def team(self) -> str | None: ...  # noqa: D102


def token_verifier(rules: TokenRules | None, unknown: Callable[[], object]) -> TokenVerifier | None:
    """What verifies tokens, where there are to be any."""
    return None if rules is None else TokenVerifier(rules, unknown)


def has_teams(rules: TokenRules) -> bool:
    """Whether what tokens ask for counts against the limits of teams."""
    return rules.team_claim is not None or rules.team is not None


def read_jwks(document: bytes) -> dict[str, dict[str, str]]:
    """The public signing keys of a JWKS document, by key id.

    Raises:
        ConfigInvalid: it is none, or holds a key that must not verify anything. The message does
            not quote it.
    """
    try:
        given = json.loads(document)["keys"] if len(document) <= MAX_JWKS_BYTES else None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigInvalid("JWKS: expected a JSON object with `keys`") from error
    if not isinstance(given, list) or not 0 < len(given) <= MAX_JWKS:
        raise ConfigInvalid(
            f"JWKS: expected 1 to {MAX_JWKS} keys in at most {MAX_JWKS_BYTES} bytes"
        )
    found: dict[str, dict[str, str]] = {}
    for number, one in enumerate(given):
        if not isinstance(one, dict) or one.get("kty") not in _ASYMMETRIC:
            raise ConfigInvalid(f"JWKS: keys[{number}]: expected a public key: RSA, EC or OKP")
        if one.get("use", "sig") == "sig":
            public = {name: value for name in _PUBLIC if isinstance(value := one.get(name), str)}
            _load(public, number)
            found[public.get("kid", f"#{number}")] = public
    if not found:
        raise ConfigInvalid("JWKS: no key in it signs")
    return found


class TokenVerifier:
    """Used on one event loop."""

    def __init__(self, rules: TokenRules, unknown: Callable[[], object] = lambda: None) -> None:
        """`unknown` hears of every token that names a key which is not here."""
        self._rules = rules
        self._unknown = unknown
        self._keys: dict[str, PyJWK] = {}
        self._remembered: dict[bytes, Principal] = {}
        self._teams: dict[str, int] | None = None
        self._team_names: dict[int, str] = {}

    @property
    def has_teams(self) -> bool:
        """Whether it has to be told of teams."""
        return has_teams(self._rules)

    def replace(self, rows: Mapping[str, Any]) -> None:
        """Takes over a whole key set; what the old one verified is forgotten."""
        self._keys = {kid: _load(row, 0) for kid, row in rows.items()}
        self._forget()

    def change(self, rows: Mapping[str, Any], dropped: Iterable[str]) -> None:
        """Takes over keys that are new or differ, and lets go of others."""
        self._keys |= {kid: _load(row, 0) for kid, row in rows.items()}
        for kid in dropped:
            self._keys.pop(kid, None)
        self._forget()

    def replace_teams(self, rows: Mapping[str, int]) -> None:
        """Takes over all teams that limits are of, and which row of limits is each one's."""
        self._teams = dict(rows)
        self._team_names = {row: name for name, row in rows.items()}
        self._forget()

    def change_teams(self, rows: Mapping[str, int], dropped: Iterable[str]) -> None:
        """Takes over those that are new or differ, and lets go of others."""
        teams = {**(self._teams or {}), **rows}
        for name in dropped:
            teams.pop(name, None)
        self.replace_teams(teams)

    def limit_name(self, number: int) -> str:
        """The team that a row of limits is of; empty: not known."""
        return self._team_names.get(number, "")

    def find(self, token: bytes, now: float) -> Principal | None:
        """The principal that a token names, or None."""
        mark = sha256(token).digest()
        known = self._remembered.get(mark)
        if known is None:
            known = self._verified(token.decode("ascii"))
            if known is not None and known.until > now:
                if len(self._remembered) >= MAX_REMEMBERED:
                    del self._remembered[next(iter(self._remembered))]
                self._remembered[mark] = known
        elif known.until <= now:
            del self._remembered[mark]
        return known if known is not None and known.until > now else None

    def _verified(self, token: str) -> Principal | None:
        import jwt

        rules = self._rules
        try:
            header = jwt.get_unverified_header(token)
            key = self._key(header)
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key,
                algorithms=list(rules.algorithms),
                audience=rules.audience,
                issuer=rules.issuer,
                leeway=SKEW_S,
                options={"require": ["exp", "iss", "aud"], "strict_aud": False},
            )
            return self._principal(claims)
        except Exception:
            # Whatever a stranger's token makes a parser do: it is no good token.
            return None

    def _key(self, header: Mapping[str, Any]) -> PyJWK | None:
        """The one key that may verify a token with this header."""
        if header.get("alg") not in self._rules.algorithms or "crit" in header:
            return None
        kid = header.get("kid")
        if kid is None and len(self._keys) == 1:
            key = next(iter(self._keys.values()))
        else:
            found = self._keys.get(kid) if isinstance(kid, str) else None
            if found is None:
                if kid is not None:
                    self._unknown()
                return None
            key = found
        # The key says what it is for; a token cannot choose another algorithm for it.
        return key if key.algorithm_name == header["alg"] else None

    def _principal(self, claims: Mapping[str, Any]) -> Principal | None:
        roles = _claim(claims, self._rules.role_claim)
        known = {role for role in _words(roles) if role in ROLES}
        if len(known) != 1:
            return None  # none, or not plainly one
        models = _claim(claims, self._rules.models_claim)
        subject = str(claims.get("sub", ""))
        return Principal(
            TOKENS,
            subject if _PLAIN.fullmatch(subject) else "token",
            known.pop(),
            None if models is None else models_of(_words(models)),
            float(claims["exp"]),
            rows=self._rows(claims),
        )

    def _rows(self, claims: Mapping[str, Any]) -> tuple[int, ...]:
        """The rows of the limits of a token's teams.

        Raises:
            ValueError: it names too many teams, or what is no words.
        """
        rules, teams = self._rules, self._teams
        if not has_teams(rules):
            return ()
        if teams is None:
            return (NO_ROW,)
        said = None if rules.team_claim is None else _claim(claims, rules.team_claim)
        # Identity providers name groups of all kinds: those that limits are of count.
        named = dict.fromkeys(w for w in _words([] if said is None else said) if w in teams)
        if len(named) > MAX_TEAMS:
            raise ValueError("too many teams")
        if not named and rules.team is not None:
            return (teams.get(rules.team, NO_ROW),)
        return tuple(teams[name] for name in named)

    def _forget(self) -> None:
        for principal in self._remembered.values():
            principal.until = 0.0
        self._remembered.clear()


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by a path such as `realm_access.roles`."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for step in name.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _words(value: Any) -> list[str]:
    """A list of words, or words with spaces between them.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, str):
        return value.split()
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return value
    raise ValueError("expected words")


def _load(row: Mapping[str, str], number: int) -> PyJWK:
    import jwt

    try:
        key = jwt.PyJWK(dict(row))
    except Exception as error:
        raise ConfigInvalid(f"JWKS: keys[{number}]: not a public key") from error
    if row["kty"] == "RSA" and key.key.key_size < MIN_RSA_BITS:
        raise ConfigInvalid(f"JWKS: keys[{number}]: expected RSA of at least {MIN_RSA_BITS} bits")
    return key
