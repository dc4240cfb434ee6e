"""waifu-llm: the LLM module for VTuber and AI-companion applications.

Here is what a plugin needs. The client is `waifu_llm.client`.
"""

from waifu_llm.channel_specs import ChannelSpec
from waifu_llm.errors import WaifuError
from waifu_llm.hookspecs import hookimpl
from waifu_llm.specs import ProviderSpec
from waifu_llm.version import __version__

__all__ = ["ChannelSpec", "ProviderSpec", "WaifuError", "__version__", "hookimpl"]
