"""The Open Inference Protocol's bytes: requests to tensors, tensors to answers, and the documents.

Knows the protocol with Triton's binary-tensor, classification and schedule-policy extensions. Knows
nothing of HTTP, batching or loaded models: everything here is a function of its arguments.

The rooms, in the way of a request: `text` (JSON to values), `fields` (typed access), `choice`
(which outputs), `head` (the whole header of a request), `elements` and `binary` (values to arrays),
`templates` (the short way for requests seen before), `codec` (all of it), `render` (arrays to
answers). Beside them stand the documents: `metadata`, `repository`.

Nothing is gathered here: `codec` brings compiled kernels along, which clients do without.
"""
