"""Holds the scores of a model against true answers, row by row, to calibrate them.

Knows how scores are read and what labels mean. Knows nothing of files, or of how a table is fitted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from gateway.config import Scores
from gateway.errors import ProfileInvalid
from gateway.monitor.scores import reading
from gateway.profiles.calibrating import MIN_ROWS, Fit
from gateway.profiles.values import Calibration
from gateway.tensors import Array, Signature

_WRITTEN: Final = {"": math.nan, "false": 0.0, "true": 1.0}


class Labels:
    """Of one model and its rows.

    Args:
        signature: of the model.
        scores: what the configuration says of its scores.
        path: of the rows, for messages.

    Raises:
        ProfileInvalid: the model's outputs hold no probabilities of classes.
    """

    def __init__(self, signature: Signature, scores: Scores, path: str) -> None:
        try:
            found = reading(signature, scores.kind, scores.output, scores.positive)
        except ValueError as error:
            raise ProfileInvalid(f"label: the model's scores cannot be read: {error}") from error
        if found.kind == "value":
            raise ProfileInvalid(
                "label: the model's scores are values, not probabilities (models.NAME.scores.kind)"
            )
        self._reading, self._path = found, path
        self._output = signature.outputs[found.index].name
        self._numbers = scores.numbers
        self._fit = Fit(scores.reading)

    def add(self, outputs: Mapping[str, Array], labels: Array, first: int) -> None:
        """Takes rows in.

        Args:
            outputs: of the model, by name.
            labels: (rows,) numbers, NaN where there is none, or texts, empty where there is none.
            first: number of the first row, for messages.

        Raises:
            ProfileInvalid: the output has no row for each row, or a label is of no class.
        """
        if self._output not in outputs:
            raise ProfileInvalid(f"output '{self._output}' has no row for each row")
        matrix = self._reading.matrix(outputs[self._output])
        actual = labels if labels.dtype != object else self._named(labels, first)
        fits = np.isnan(actual) | ((actual >= 0.0) & (actual == np.floor(actual)))
        if self._reading.kind == "binary":
            fits &= np.isnan(actual) | (actual <= 1.0)
        if not fits.all():
            place = int(np.flatnonzero(~fits)[0])
            raise self._fault(first + place, f"{actual[place]:g}")
        if self._reading.kind == "binary":
            self._fit.add(matrix[:, self._reading.column], actual)
            return
        hits = np.where(np.isnan(actual), np.nan, matrix.argmax(axis=1) == actual)
        self._fit.add(matrix.max(axis=1), hits)

    def calibration(self) -> Calibration:
        """What was found.

        Raises:
            ProfileInvalid: there are too few rows for that, or all have one outcome.
        """
        found = self._fit.calibration()
        if found is None:
            raise ProfileInvalid(
                f"{self._path}: label: expected at least {MIN_ROWS} rows with a score and a label,"
                " of more than one outcome"
            )
        return found

    def _named(self, labels: Array, first: int) -> Array:
        """Texts as numbers of classes: by the configuration's names, or as they are written."""
        found = np.empty(len(labels))
        for place, text in enumerate(labels.tolist()):
            number = self._numbers.get(text, _WRITTEN.get(text.lower()))
            try:
                found[place] = float(text) if number is None else number
            except ValueError:
                raise self._fault(first + place, repr(text)) from None
        return found

    def _fault(self, row: int, got: str) -> ProfileInvalid:
        known = ", ".join(self._numbers)
        names = f", or one of {known}" if known else ""
        wanted = "0, 1" if self._reading.kind == "binary" else "the number of a class"
        return ProfileInvalid(
            f"{self._path}: row {row}: label: expected {wanted}{names}, got {got}"
        )
