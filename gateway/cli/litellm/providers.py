"""Providers as LiteLLM calls them, and the one of ours that each deployment needs.

Knows prefixes, addresses, and where keys stand. Knows nothing of models' names for clients, and
never tells a key: of one that stands in the document itself only the variable that it should be in.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from gateway.cli.litellm.words import VARIABLE, Section
from gateway.names import MAX_NAME


class Known(NamedTuple):
    """A provider that LiteLLM has a prefix for, and that speaks what is spoken here."""

    kind: str
    url: str
    """Where it is; empty: wherever the deployment says."""
    variable: str
    """Where LiteLLM looks for its key; empty: it needs none."""


PROVIDERS: Final = {
    "openai": Known("openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    "text-completion-openai": Known("openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    "azure": Known("azure", "", "AZURE_API_KEY"),
    "azure_text": Known("azure", "", "AZURE_API_KEY"),
    "anthropic": Known("anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
    "gemini": Known(
        "openai", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"
    ),
    "mistral": Known("openai", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "codestral": Known("openai", "https://codestral.mistral.ai/v1", "CODESTRAL_API_KEY"),
    "groq": Known("openai", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "deepseek": Known("openai", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "xai": Known("openai", "https://api.x.ai/v1", "XAI_API_KEY"),
    "openrouter": Known("openai", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "together_ai": Known("openai", "https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    "fireworks_ai": Known(
        "openai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY"
    ),
    "perplexity": Known("openai", "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    "nvidia_nim": Known("openai", "https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
    "cerebras": Known("openai", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    "deepinfra": Known("openai", "https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
    "moonshot": Known("openai", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"),
    "hosted_vllm": Known("openai", "", ""),
    "openai_like": Known("openai", "", ""),
    "custom_openai": Known("openai", "", ""),
    "litellm_proxy": Known("openai", "", ""),
    "lm_studio": Known("openai", "http://localhost:1234/v1", ""),
    "llamafile": Known("openai", "http://127.0.0.1:8080/v1", ""),
    "ollama": Known("openai", "http://localhost:11434/v1", ""),
    "ollama_chat": Known("openai", "http://localhost:11434/v1", ""),
}
# Models that LiteLLM knows without a prefix.
_BARE: Final = (
    (re.compile(r"(gpt-|chatgpt-|o[134](-|$)|text-embedding-|ft:|codex-)"), "openai"),
    (re.compile(r"claude-"), "anthropic"),
)
# What people write where a client insists on a key and the server does not.
_NO_KEY: Final = frozenset(
    {"", "none", "null", "empty", "dummy", "fake", "fake-key", "anything", "not-needed", "no-key"}
)
_OTHER_SIGN_IN: Final = (
    "azure_ad_token",
    "tenant_id",
    "client_id",
    "client_secret",
    "azure_username",
    "azure_password",
)
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_API_VERSION: Final = re.compile(r"[A-Za-z0-9.-]{1,40}")
# Longer than an answer may take to begin unless it is told.
_FIRST_BYTE_S: Final = 300.0


class Providers:
    """Those that deployments need, by the names that our document gives them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment`: where addresses may stand. Keys in it are not looked at."""
        self._environment = environment
        self.found: dict[str, dict[str, Any]] = {}

    def place(
        self, name: str, params: Section, timeouts: Mapping[str, float]
    ) -> tuple[str, str] | None:
        """The provider of a deployment and what it calls the model; None: it was left out.

        Args:
            name: what clients call the model.
            params: its `litellm_params`.
            timeouts: what the document says for all.
        """
        prefix, model = self._named(params)
        known = PROVIDERS.get(prefix)
        if known is None:
            what = f"provider '{prefix}'" if prefix else "this model's provider"
            params.leave("model", f"{what} is not spoken with here: no deployment of '{name}'")
            return None
        if not 0 < len(model) <= MAX_NAME:
            params.leave("model", f"'{name}': expected a name of 1 to {MAX_NAME} characters")
            return None
        url = self._url(name, params, prefix, known)
        if not url:
            return None
        fields: dict[str, Any] = {"kind": known.kind, "base_url": url}
        fields |= self._key(params, known, url, prefix)
        version = self._variable(params, "api_version")
        if known.kind == "azure" and _API_VERSION.fullmatch(version):
            fields["api_version"] = version
        if _is_private(url):
            fields["allow_private"] = True
        if own := {**timeouts, **own_timeouts(params)}:
            fields["timeouts"] = own
        return self._as(prefix.replace("_", "-"), fields), model

    def _named(self, params: Section) -> tuple[str, str]:
        model = self._variable(params, "model")
        given = params.text("custom_llm_provider")
        prefix, slash, rest = model.partition("/")
        if given:
            return given, rest if slash and prefix == given else model
        if slash and prefix in PROVIDERS:
            return prefix, rest
        for names, owner in _BARE:
            if names.match(model):
                return owner, model
        return prefix if slash else "", model

    def _url(self, name: str, params: Section, prefix: str, known: Known) -> str:
        """Where a deployment is; empty: it cannot be told."""
        told = [self._variable(params, field) for field in ("api_base", "base_url")]
        url = next((one for one in told if one), "") or known.url
        if not url:
            why = f"the address of '{name}' is not told, or stands in no variable here"
            params.leave("api_base", why)
            return ""
        try:
            parts = urlsplit(url)
            fits = parts.scheme in ("http", "https") and bool(parts.hostname)
            bare = not (parts.username or parts.password or parts.query or parts.fragment)
            _ = parts.port
        except ValueError:
            fits = bare = False
        if not fits or not bare:
            why = f"'{name}': expected http(s)://HOST[:PORT][/PATH] without credentials"
            params.leave("api_base", why)
            return ""
        path = parts.path.rstrip("/")
        if known.kind == "azure":
            path = path.partition("/openai")[0]
        elif prefix in ("ollama", "ollama_chat") and not path:
            path = "/v1"
        return f"{parts.scheme}://{parts.netloc}{path}"

    def _key(self, params: Section, known: Known, url: str, prefix: str) -> dict[str, str]:
        """Where its key is: the variable alone, whatever stands in the document."""
        for name in _OTHER_SIGN_IN:
            if params.take(name) is not None:
                params.leave(name, "only keys sign in at providers here")
        key = params.take("api_key")
        if isinstance(key, str) and key.startswith(VARIABLE):
            variable = key.removeprefix(VARIABLE)
            if _VARIABLE_NAME.fullmatch(variable):
                return {"api_key_env": variable}
        own = known.variable or f"{re.sub(r'[^A-Z0-9]', '_', prefix.upper())}_API_KEY"
        if key is not None and str(key).lower() not in _NO_KEY:
            params.leave("api_key", f"a key stands in the document itself: put it into ${own}")
            return {"api_key_env": own}
        # A provider's own key goes to nobody else, whatever the address says.
        if known.variable and (not known.url or url == known.url) and key is None:
            return {"api_key_env": known.variable}
        return {}

    def _variable(self, params: Section, name: str) -> str:
        """A value that is no secret, from the environment where it stands there."""
        value = params.text(name)
        if not value.startswith(VARIABLE):
            return value
        variable = value.removeprefix(VARIABLE)
        if variable not in self._environment:
            params.leave(name, f"stands in ${variable}, which is not set here")
        return self._environment.get(variable, "")

    def _as(self, wanted: str, fields: dict[str, Any]) -> str:
        """The name under which a provider of these fields stands; the same for the same."""
        name, number = wanted, 1
        while name in self.found and self.found[name] != fields:
            number += 1
            name = f"{wanted}-{number}"
        self.found[name] = fields
        return name


def own_timeouts(section: Section) -> dict[str, float]:
    """What a section says of times, in our words."""
    for name in ("stream_timeout", "ttft_timeout"):
        if section.take(name) is not None:
            why = "timeouts.first_byte_s would bound answers that are not streamed, too"
            section.leave(name, why)
    both = [section.number(name) for name in ("timeout", "request_timeout")]
    found: dict[str, float] = {}
    if total := next((seconds for seconds in both if seconds), None):
        found["total_s"] = total
        if total > _FIRST_BYTE_S:
            found["first_byte_s"] = total  # of an answer that is not streamed it is the whole
    if idle := section.number("stream_idle_timeout"):
        found["idle_s"] = idle
    return found


def _is_private(url: str) -> bool:
    """Whether an address is one that only a network of one's own has, as far as can be seen."""
    host = urlsplit(url).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        own = (".local", ".internal", ".lan", ".svc", ".localhost")
        return "." not in host or host.endswith(own)
