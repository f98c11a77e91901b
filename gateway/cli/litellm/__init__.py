"""Makes of LiteLLM's `config.yaml` a document of ours that says the same, as far as it can.

Knows both documents. Knows nothing of requests, or of how a document is put in force. What could
not be carried over is told by its path, with why; values are not repeated: they may be secrets.
"""

from gateway.cli.litellm.document import converted
from gateway.cli.litellm.words import Converted, LeftOut

__all__ = ["Converted", "LeftOut", "converted"]
