"""By what somebody is known where it is counted what was said, and kept who wants nothing more: a
digest of the address, without its tag.

With a person the address is deleted. These two have to outlive that: else a limit could be reset,
and who said STOP would be written to again.
"""

from __future__ import annotations

import hashlib
import re

_TAGGED = re.compile(r"([^@+]+)\+[^@]*(@[^@]+)", re.DOTALL)


def who(address: str) -> str:
    """`anna+1@example.org` is who `anna@example.org` is."""
    found = _TAGGED.fullmatch(address)
    plain = found[1] + found[2] if found else address
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()
