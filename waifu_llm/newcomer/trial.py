"""Does it keep what every provider promises? Run it with pytest, or as it is.

It needs a Python that has waifu-llm. The provider itself runs in its own environment.
"""

from pathlib import Path

from waifu_llm.conformance import check_folder

FOLDER = Path(__file__).parent
SETTINGS = {}  # what to load it with; a setting with `env` may come from its variable


def test_it_keeps_what_every_provider_promises():
    failed = [each for each in check_folder(FOLDER, SETTINGS) if each.outcome == "failed"]
    assert not failed, failed


if __name__ == "__main__":
    test_it_keeps_what_every_provider_promises()
    print("All checks passed.")
