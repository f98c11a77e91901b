"""A provider of language models that is none, as a server to be asked by what is measured.

    python -m loadtest.fake_provider --port 9100 --script 'tokens=200&rate=100'

Without a port it takes a free one and prints it. What a script may say, and where a request may
carry one, stands in `gateway/llm/fake/script.py`; the demo uses the same fake, so it lies there.
"""

from __future__ import annotations

import argparse

from gateway.llm.fake.script import Script, told
from gateway.llm.fake.server import FakeProvider, serve
from loadtest.servers import free_port

__all__ = ["FakeProvider"]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.fake_provider",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0: a free one")
    parser.add_argument("--script", default="", help="instructions for every request")
    args = parser.parse_args()
    port = args.port or free_port()
    print(f"http://127.0.0.1:{port}/v1", flush=True)
    serve(port, told(Script(), args.script))


if __name__ == "__main__":
    main()
