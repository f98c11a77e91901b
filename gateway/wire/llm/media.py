"""Images and documents, from chat's parts to Anthropic's blocks and back.

Knows data URLs and how both sides carry files. Knows nothing of messages around them. What one side
cannot carry is refused: an answer to a prompt without its picture would be an answer to another.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from gateway.wire.llm.asked import cache_mark, cannot
from gateway.wire.llm.fields import Values, mapping, mappings, text

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,", re.IGNORECASE)
_PDF, _PLAIN = "application/pdf", "text/plain"


def block_of_part(part: Values, where: str) -> dict[str, Any]:
    """Chat's part of a message as Anthropic's block.

    Args:
        part: of a message's content.
        where: its place in the request, for messages.

    Raises:
        InvalidParameter: Anthropic has no block for it.
    """
    kind = text(part, "type")
    if kind == "text":
        block: dict[str, Any] = {"type": "text", "text": text(part, "text")}
    elif kind == "refusal":
        block = {"type": "text", "text": text(part, "refusal")}
    elif kind == "image_url":
        block = _block_of_url(text(mapping(part, "image_url"), "url"), where)
    elif kind == "file":
        block = _block_of_file(mapping(part, "file"), where)
    else:
        raise cannot(where, f"the model's provider takes no part of type {kind!r}")
    return {**block, **cache_mark(part)}


def part_of_block(block: Values, where: str) -> dict[str, Any]:
    """Anthropic's block of a user's message as chat's part.

    Raises:
        InvalidParameter: chat has no part for it.
    """
    kind = text(block, "type")
    if kind == "text":
        return {"type": "text", "text": text(block, "text")}
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": _url_of(mapping(block, "source"), where)}}
    if kind == "document":
        return _part_of_document(block, where)
    if kind == "search_result":
        found = "\n".join(text(one, "text") for one in mappings(block, "content"))
        return {"type": "text", "text": f"{text(block, 'title')}\n{found}"}
    raise cannot(where, f"the model's provider takes no block of type {kind!r}")


def _block_of_url(url: str, where: str) -> dict[str, Any]:
    media_type, data = _opened(url)
    if media_type == _PDF:
        return _document(media_type, data, where)
    if media_type:
        return {"type": "image", "source": _base64(media_type, data)}
    if url.startswith(("https://", "http://")):
        return {"type": "image", "source": {"type": "url", "url": url}}
    raise cannot(where, "expected an image as a data: or https: URL")


def _block_of_file(file: Values, where: str) -> dict[str, Any]:
    media_type, data = _opened(text(file, "file_data"))
    if not data:
        raise cannot(where, "expected a file with its data; ids of files are one provider's own")
    block = _document(media_type or _PDF, data, where)
    name = text(file, "filename")
    return {**block, "title": name} if name else block


def _document(media_type: str, data: str, where: str) -> dict[str, Any]:
    if media_type == _PDF:
        return {"type": "document", "source": _base64(media_type, data)}
    if media_type.startswith("image/"):
        return {"type": "image", "source": _base64(media_type, data)}
    if not media_type.startswith("text/"):
        raise cannot(where, f"the model's provider takes no file of type {media_type}")
    try:
        plain = base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise cannot(where, "expected a text file in UTF-8, encoded as base64") from error
    return {"type": "document", "source": {"type": "text", "media_type": _PLAIN, "data": plain}}


def _base64(media_type: str, data: str) -> dict[str, Any]:
    return {"type": "base64", "media_type": media_type, "data": data}


def _opened(url: str) -> tuple[str, str]:
    """The type and the base64 of a data URL; what is none is data of unknown type."""
    found = _DATA_URL.match(url)
    return (found[1].lower(), url[found.end() :]) if found else ("", url)


def _url_of(source: Values, where: str) -> str:
    if source.get("type") == "base64":
        return f"data:{text(source, 'media_type')};base64,{text(source, 'data')}"
    if source.get("type") == "url":
        return text(source, "url")
    raise cannot(where, "expected a source with its data or URL; ids are one provider's own")


def _part_of_document(block: Values, where: str) -> dict[str, Any]:
    source, title = mapping(block, "source"), text(block, "title")
    kind = source.get("type")
    if kind == "base64":
        file = {"filename": title or "document.pdf", "file_data": _url_of(source, where)}
        return {"type": "file", "file": file}
    if kind == "text":
        plain = text(source, "data")
    elif kind == "content":
        content = source.get("content")
        plain = content if type(content) is str else _texts(source)
    else:
        raise cannot(where, "expected a document with its data")
    return {"type": "text", "text": f"{title}\n{plain}" if title else plain}


def _texts(source: Values) -> str:
    return "\n".join(text(one, "text") for one in mappings(source, "content"))
