"""Bodies: bytes in, typed objects out, within limits; and the other way round."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from waifu_llm.client_json import check_size, in_words
from waifu_llm.doors.http.failures import WrongKind
from waifu_llm.doors.http.messages import Head
from waifu_llm.doors.http.routes import Route
from waifu_llm.errors import InvalidMessage

encode = msgspec.json.Encoder().encode


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def read(route: Route, head: Head, data: bytes, limit: int) -> Any:
    """
    Raises:
        WrongKind: When it is of another media type.
        InvalidMessage: When it is not what the route takes: says what is wrong, and where.
    """
    if route.takes is None:
        return None
    if head.media_type not in route.content_types:
        wanted = " or ".join(route.content_types)
        raise WrongKind(f"The body is to be {wanted}: say so in `Content-Type`.")
    try:
        check_size(data, limit)
        return _decoder(route.takes).decode(data)
    except msgspec.ValidationError as exc:
        what, where = in_words(str(exc))
        raise InvalidMessage(f"{what}, in `{where}`." if where else f"{what}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InvalidMessage(f"This is not JSON: {exc}.") from None
