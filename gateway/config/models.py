"""The parts of the document that are about how models run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, field_validator

from gateway.config.capture import ModelCapture
from gateway.config.embeddings import Embeddings
from gateway.config.monitoring import Metered
from gateway.config.slices import SliceName, Slicing, check_all
from gateway.config.words import Name, Positive, Section

OBSERVE: Final = "observe"
WARN: Final = "warn"
REJECT: Final = "reject"
Policy = Literal["observe", "warn", "reject"]


class Padding(Section):
    """Pads a variable trailing dimension to the next bucket: unequal requests share a run."""

    buckets: Annotated[list[Positive], Field(min_length=1)]
    axis: int = Field(-1, description="which axis of each padded input; -1 is the last")
    # A mask may be made of -inf.
    value: float = Field(0.0, allow_inf_nan=True)
    inputs: list[str] = Field(
        default_factory=list, description="padded inputs; empty: all that vary"
    )

    @field_validator("buckets")
    @classmethod
    def _ascending(cls, buckets: list[int]) -> list[int]:
        if sorted(set(buckets)) != buckets:
            raise ValueError("must be ascending and without repeats")
        return buckets


class ModelSettings(Section):
    """How one model runs and batches. `defaults` gives them for all, `models.NAME` for one."""

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    tf32: bool = Field(False, description="FP32 products on a GPU in TensorFloat-32")
    instances: int = Field(
        1, ge=1, le=64, description="runs of this model at the same time, per worker"
    )
    intra_op_threads: int = Field(
        1, ge=0, le=1024, description="threads inside one run; 0: ORT's choice"
    )
    optimization: Literal["disabled", "basic", "extended", "all"] = "all"
    # 128 rows keep one run of a small model near 100 us, so that a batch never holds the loop long.
    max_batch_size: int = Field(128, ge=0, le=65536, description="rows in one run; 0: never batch")
    max_queue_delay_ms: float = Field(0.0, ge=0, le=60_000)
    max_queue_rows: int = Field(4096, ge=1, le=10_000_000)
    # Who would wait longer is better told at once: by then most callers have given up or asked
    # again, and what is computed for them is lost.
    max_queue_ms: float = Field(
        500.0,
        gt=0,
        le=3_600_000,
        description="longest wait that a newcomer may have before it, by the fitted cost of runs",
    )
    preferred_batch_sizes: list[Positive] = Field(default_factory=list)
    timeout_ms: float | None = Field(
        None, gt=0, description="longest wait in the queue; none: no limit"
    )
    padding: Padding | None = None
    warmup: bool = True
    # A session holds its own copy of the weights that it needs.
    max_output_sets: int = Field(
        4,
        ge=0,
        le=64,
        description="sessions per worker that compute only the outputs asked for; 0: none",
    )
    max_output_bytes: int = Field(256 << 20, ge=1024)
    embeddings: Embeddings | None = Field(
        None, description="how texts become vectors; none: it answers no /v1/embeddings"
    )


class Scores(Section):
    """What outcomes are held against: how a model's outputs are read. See docs/outcomes.md."""

    kind: Literal["auto", "binary", "multiclass", "value"] = Field(
        "auto",
        description="auto: by the width of the output, 1 a value, 2 binary, more are classes",
    )
    output: Name | None = Field(None, description="none: the first of floating-point numbers")
    positive: int = Field(1, ge=0, le=1, description="of two columns the positive class'")
    threshold: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="of binary scores: the positive class is predicted above it, in figures",
    )
    classes: list[Name] = Field(
        default_factory=list,
        description="names of the classes, in the model's order: outcomes may use them",
    )

    @property
    def reading(self) -> dict[str, object]:
        """All that changes what a score is."""
        return self.model_dump(include={"kind", "output", "positive"})

    @property
    def numbers(self) -> dict[str, int]:
        """What an outcome that names a class means; of two, 1 is the positive one."""
        numbers = {name: number for number, name in enumerate(self.classes)}
        if len(numbers) == 2 and self.positive == 0:
            return {name: 1 - number for name, number in numbers.items()}
        return numbers


class HoldOut(Section):
    """Requests that are chosen by chance to get a fixed policy. See docs/outcomes.md."""

    share: float = Field(gt=0.0, le=0.5, description="of requests")
    policy: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = Field(
        "hold-out", description="what the answer tells whoever asked to do, whatever the score"
    )


class ModelConfig(ModelSettings):
    """A model named in the document. `path` may stay out where the registry holds the model."""

    path: Path | None = None
    version: int = Field(1, ge=1)
    profile: Path | None = Field(
        None, description="its reference profile; none: the one in the registry or beside the model"
    )
    feature_names: list[Name] | dict[Name, list[Name]] = Field(
        default_factory=list,
        description="of its one input, or by input; what data or the model itself say goes first",
    )
    categories: list[Name] = Field(
        default_factory=list, description="columns whose whole numbers are names"
    )
    contract: Policy = Field(
        OBSERVE,
        description="of inputs that break its contract: observe counts them, warn tells of them in"
        " the answer, reject refuses them with 422",
    )

    ledger: bool | None = Field(
        None, description="whether its answers are written down; none: ledger.enabled"
    )
    ledger_share: float | None = Field(
        None, ge=0, le=1, description="of its requests, that are written down; none: ledger.share"
    )
    ledger_metrics: Metered | None = Field(
        None,
        description="business metrics that its outcomes may have a number of; none: ledger.metrics",
    )
    scores: Scores = Scores()
    hold_out: HoldOut | None = Field(None, description="who gets a fixed policy; none: nobody")
    slices: Annotated[dict[SliceName, Slicing], AfterValidator(check_all)] = Field(
        default_factory=dict, description="by name: groups that figures are told of one by one"
    )
    capture: ModelCapture = ModelCapture()

    @field_validator("feature_names")
    @classmethod
    def _each_once(
        cls, given: list[str] | dict[str, list[str]]
    ) -> list[str] | dict[str, list[str]]:
        for names in given.values() if isinstance(given, dict) else [given]:
            twice = [name for name, times in Counter(names).items() if times > 1]
            if twice:
                raise ValueError(f"expected each name once, got '{twice[0]}' again")
        return given


NO_SETTINGS = {
    *("path", "version", "profile", "feature_names", "categories", "contract"),
    *("ledger", "ledger_share", "ledger_metrics", "scores", "hold_out", "slices", "capture"),
}
"""Of a `ModelConfig`: what changes nothing in how the model runs."""
