"""Whether a contract is of a model that takes what this one does.

Knows contracts and signatures. Knows nothing of how either came to be.
"""

from __future__ import annotations

import math

from gateway.contracts.values import Contract, Tensor
from gateway.errors import ContractInvalid
from gateway.tensors import Signature, TensorSpec


def check_fit(contract: Contract, signature: Signature) -> None:
    """Refuses a contract of another model. Inputs that a contract leaves out may hold anything.

    Raises:
        ContractInvalid: naming the tensor or column, what the model has and what the contract has.
    """
    inputs = {spec.name: spec for spec in signature.inputs}
    for tensor in contract.tensors:
        spec = inputs.get(tensor.name)
        if spec is None:
            known = ", ".join(repr(name) for name in list(inputs)[:20]) or "none"
            raise ContractInvalid(
                f"contract: input '{tensor.name}': the model's inputs are {known}"
            )
        _check(tensor, spec)


def check_names(contract: Contract, inferred: Contract) -> None:
    """Refuses columns that are called otherwise than those in their places are.

    Terms hold by place: columns that somebody sorted or mistyped would ask the wrong values.

    Args:
        contract: that fits the model.
        inferred: of the model's profile.

    Raises:
        ContractInvalid: naming the input, the place, its column and what the contract has there.
    """
    known = {tensor.name: tensor.columns for tensor in inferred.tensors}
    for tensor in contract.tensors:
        pairs = zip(known.get(tensor.name, ()), tensor.columns, strict=False)
        for place, (wanted, got) in enumerate(pairs):
            if wanted.name != got.name:
                raise ContractInvalid(
                    f"contract: input '{tensor.name}', column {place}: expected"
                    f" '{wanted.name}', got '{got.name}'"
                )


def _check(tensor: Tensor, spec: TensorSpec) -> None:
    where = f"contract: input '{tensor.name}'"
    if tensor.datatype != spec.datatype:
        raise ContractInvalid(f"{where}: expected datatype {spec.datatype}, got {tensor.datatype}")
    width, columns = math.prod(spec.shape[1:]), tensor.columns
    if -1 in spec.shape[1:] or len(columns) == width:
        return
    if len(columns) > width:
        raise ContractInvalid(
            f"{where}, column '{columns[width].name}': expected {width} columns, got {len(columns)}"
        )
    raise ContractInvalid(f"{where}: expected {width} columns, got {len(columns)}")
