"""The clients of the data port.

Knows what can be asked there, and keeps what it has learnt of models. Knows nothing of bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.client import calls, encoding
from gateway.client.encoding import Answer
from gateway.client.lines import AsyncLine, Line
from gateway.client.models import Model
from gateway.errors import InvalidRequest
from gateway.tensors import TensorSpec

Version = int | str | None
Known = dict[tuple[str, Version], Model]


class Client(Line):
    """Inference over HTTP; its arguments are those of `Line`."""

    _known: Known

    def __init__(self, url: str = "http://127.0.0.1:8000", key: str | None = None, **options: Any):
        super().__init__(url, key, **options)
        self._known = {}

    def infer(
        self,
        model: str,
        inputs: Any,
        *,
        version: Version = None,
        outputs: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
        id: str | None = None,
        json: bool = False,
        timeout_s: float | None = None,
    ) -> Answer:
        """Runs a model.

        Args:
            model: its name.
            inputs: name to array or list, or one of these for a model with one input. Arrays go in
                their own datatype; lists take the model's, which is asked once and kept.
            version: None: the one that answers by default.
            outputs: only these; none named: all.
            parameters: of the request: `{"priority": 1}`.
            id: of the caller's, echoed in the answer.
            json: send and receive JSON rather than bytes. FP16 and BF16 have no JSON form.
            timeout_s: other than the client's own. The server hears of it: what nobody waits for
                any more is not run.

        Raises:
            GatewayError: see `gateway.client`.
        """
        specs: Sequence[TensorSpec] = ()
        if encoding.needs_specs(inputs):
            specs = self._model(model, version, timeout_s).inputs
        tensors = encoding.tensors(inputs, model, specs)
        call = calls.infer(model, version, tensors, outputs, parameters, id, json)
        try:
            return self._do(call, timeout_s)
        except InvalidRequest:
            self._known.pop((model, version), None)  # another version may serve by now
            raise

    def _model(self, name: str, version: Version, timeout_s: float | None) -> Model:
        known = self._known.get((name, version))
        if known is None:
            known = self._known[name, version] = self._do(calls.model(name, version), timeout_s)
        return known

    def server(self) -> dict[str, Any]:
        """Name, version and extensions of the server."""
        return self._do(calls.server())

    def live(self) -> bool:
        """Whether the server lives."""
        return self._do(calls.live())

    def ready(self, model: str | None = None, version: Version = None) -> bool:
        """Whether the server, or one model, takes requests.

        Raises:
            Unreachable: nobody is there.
            ModelNotFound, VersionNotFound: nothing by that name.
        """
        return self._do(calls.ready(model, version))

    def models(self) -> list[dict[str, Any]]:
        """Every version that the server knows: `name`, `version`, `state`, `reason`."""
        return self._do(calls.index())

    def model(self, name: str, version: Version = None) -> Model:
        """What a model takes and gives."""
        return self._do(calls.model(name, version))

    def statistics(self, name: str | None = None, version: Version = None) -> list[dict[str, Any]]:
        """Triton's statistics, one entry a version: of everything, a model, or one version."""
        return self._do(calls.statistics(name, version))

    def send_outcomes(self, outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Tells what came of answers, up to 10,000 at a time.

        Args:
            outcomes: `id` (an answer's `request_id`), `outcome` or `reward`, and maybe `row`,
                `metric` and `at`: see docs/outcomes.md.

        Returns:
            `counts`, how many became what, and `faults`, why some were not joined.
        """
        return self._do(calls.outcomes(outcomes))


class AsyncClient(AsyncLine):
    """The same for asyncio; see `Client` for what each method promises."""

    _known: Known

    def __init__(self, url: str = "http://127.0.0.1:8000", key: str | None = None, **options: Any):
        super().__init__(url, key, **options)
        self._known = {}

    async def infer(
        self,
        model: str,
        inputs: Any,
        *,
        version: Version = None,
        outputs: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
        id: str | None = None,
        json: bool = False,
        timeout_s: float | None = None,
    ) -> Answer:
        """Runs a model."""
        specs: Sequence[TensorSpec] = ()
        if encoding.needs_specs(inputs):
            specs = (await self._model(model, version, timeout_s)).inputs
        tensors = encoding.tensors(inputs, model, specs)
        call = calls.infer(model, version, tensors, outputs, parameters, id, json)
        try:
            return await self._do(call, timeout_s)
        except InvalidRequest:
            self._known.pop((model, version), None)
            raise

    async def _model(self, name: str, version: Version, timeout_s: float | None) -> Model:
        known = self._known.get((name, version))
        if known is None:
            found = await self._do(calls.model(name, version), timeout_s)
            known = self._known[name, version] = found
        return known

    async def server(self) -> dict[str, Any]:
        """Name, version and extensions of the server."""
        return await self._do(calls.server())

    async def live(self) -> bool:
        """Whether the server lives."""
        return await self._do(calls.live())

    async def ready(self, model: str | None = None, version: Version = None) -> bool:
        """Whether the server, or one model, takes requests."""
        return await self._do(calls.ready(model, version))

    async def models(self) -> list[dict[str, Any]]:
        """Every version that the server knows."""
        return await self._do(calls.index())

    async def model(self, name: str, version: Version = None) -> Model:
        """What a model takes and gives."""
        return await self._do(calls.model(name, version))

    async def statistics(
        self, name: str | None = None, version: Version = None
    ) -> list[dict[str, Any]]:
        """Triton's statistics, one entry a version."""
        return await self._do(calls.statistics(name, version))

    async def send_outcomes(self, outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Tells what came of answers."""
        return await self._do(calls.outcomes(outcomes))
