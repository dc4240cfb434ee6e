"""Why an installation failed, in a sentence of our own, from what the installer said."""

from __future__ import annotations

import re

_CAUSES = {
    r"hash mismatch|do not match the hashes": "What was found is not what the lock names: its "
    "hash differs. It may have been tampered with. Nothing was installed.",
    r"require-hashes|requires? .*hashes|hashes are (missing|required)": "The lock names something "
    "without a hash. Nothing was installed.",
    r"no space left|disk quota|os error (28|112|122)\b|errno 28": "The disk is full. Free some "
    "space, and try again.",
    r"certificate verify failed|invalid peer certificate|certificate_verify": "The certificate of "
    "the index is not trusted. If it is your own, name its authority in SSL_CERT_FILE.",
    r"dns error|name resolution|connection refused|tcp connect error|network is unreachable"
    r"|failed to establish a new connection|client error \(connect\)|timed out": "The index of "
    "packages cannot be reached. Is there a network? A folder of wheels (`wheels`) needs none.",
    r"no wheels with a matching|no usable wheels": "There is no wheel of it for this platform and "
    "this Python.",
    r"not found in the|there is no version of|no matching distribution|no versions of": "What the "
    "lock names is not there, neither at an index nor in a folder of wheels.",
    r"read-only file system|permission denied|os error (13|30)\b": "A folder cannot be written "
    "to. WAIFU_LLM_HOME names another home for the module.",
}


def cause_of(said: str) -> str:
    """The first that fits; nothing where none does."""
    found = (sentence for pattern, sentence in _CAUSES.items() if re.search(pattern, said, re.I))
    return next(found, "")
