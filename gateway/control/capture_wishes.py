"""What is to be captured of a version, read from its model file and the configuration.

Knows both. Knows nothing of rings or of files of rows. What cannot be captured as it is wanted is
not captured at all, and the log says why: its model serves nonetheless.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.capture.files import check_installed
from gateway.capture.schema import Schema, schema_of
from gateway.config import Config, ModelCapture, ModelSettings
from gateway.errors import InvalidParameter, ModelRefused, Unsupported
from gateway.llm.features import SIGNATURE
from gateway.llm.texts import TEXTS
from gateway.models.onnx_file import OnnxFile
from gateway.models.signature import signature
from gateway.monitor.scores import Reading, reading
from gateway.profiles.names import by_input, feature_names
from gateway.profiles.plans import column_names
from gateway.profiles.values import FEATURE, Profile
from gateway.tensors import Signature

log = logging.getLogger("penstock.control")


@dataclass(frozen=True, slots=True)
class CaptureWish:
    """What is captured of a version.

    Attributes:
        schema: which tensors, as which columns.
        reading: where scores are; None: its outputs hold none.
        settings: which rows.
    """

    schema: Schema
    reading: Reading | None
    settings: ModelCapture


def capture_wish(
    name: str,
    version: int,
    onnx: OnnxFile,
    declared: Mapping[str, Any],
    model: ModelSettings,
    config: Config,
    profile: Profile | None = None,
) -> CaptureWish | None:
    """What the document wants of a version; None where that is nothing, or cannot be had.

    What is to be hidden is known even where nothing is captured: rows are shown elsewhere, too.
    """
    if not _wants(config.capture_of(name)):
        return None
    try:
        shapes = signature(onnx, declared, model.max_batch_size, model.embeddings)
    except ModelRefused:  # its trial will say so
        return None
    wish = _wish(name, version, shapes, config, profile, feature_names(onnx.metadata))
    if wish is None or model.embeddings is not None:  # whose vectors hold no scores
        return wish
    return replace(wish, reading=_reading(name, shapes, config))


def language_wish(
    name: str, version: int, config: Config, profile: Profile | None = None
) -> CaptureWish | None:
    """The same of a language model's version: features, and what was said where that is logged."""
    if not _wants(config.capture_of(name)):
        return None
    logged = config.llm.log_content
    text = "" if logged == "off" else logged
    wish = _wish(name, version, SIGNATURE, config, profile, (), text)
    return wish and replace(wish, reading=_reading(name, SIGNATURE, config))


def _wants(settings: ModelCapture) -> bool:
    return settings.mode != "off" or bool(settings.mask or settings.hash)


def _wish(
    name: str,
    version: int,
    shapes: Signature,
    config: Config,
    profile: Profile | None,
    metadata: Sequence[str],
    text: str = "",
) -> CaptureWish | None:
    """Of a version with these tensors; `text`: how its texts are kept, empty where they are not."""
    settings = config.capture_of(name)
    try:
        if settings.mode != "off":
            check_installed()
        given, _ = config.features_of(name)
        inputs = [spec.name for spec in shapes.inputs]
        names = {**by_input(metadata, given, inputs), **_names(profile)}
        scores = config.scores_of(name)
        schema = schema_of(
            name,
            version,
            shapes,
            names,
            column_names,
            scores.reading,
            settings.mask,
            settings.hash,
            TEXTS if text else (),
            text,
        )
    except (Unsupported, InvalidParameter) as error:
        log.error("model '%s' is not captured: %s", name, error)
        return None
    return CaptureWish(schema, None, settings)


def _reading(name: str, shapes: Signature, config: Config) -> Reading | None:
    scores = config.scores_of(name)
    try:
        return reading(shapes, scores.kind, scores.output, scores.positive)
    except ValueError as error:
        log.info("model '%s' is captured without scores: %s", name, error)
        return None


def _names(profile: Profile | None) -> dict[str, list[str]]:
    """What the reference calls the columns of each input whose values it holds."""
    return {
        frame.tensor: [column.name for column in frame.columns]
        for frame in (() if profile is None else profile.frames)
        if frame.role == FEATURE and frame.summary is None
    }
