"""The host's modules are imported as inside a provider's process: by their own names."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "waifu_llm" / "provider_host"))
