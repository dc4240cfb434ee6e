"""`waifu-llm chat`, in a terminal and in a pipe."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import LIMIT, Module
from terminal import CTRL_C, TERMINAL, Terminal

from waifu_llm.cli.advice import program

FAKES = Path(__file__).parents[1] / "fake_providers"

Run = Callable[..., Any]


@pytest.fixture
def chat(module: Module, home: Path) -> Iterator[Callable[..., Terminal]]:
    """Opens terminals, and closes them in the end."""
    opened: list[Terminal] = []

    def open_one(*arguments: str, url: str = module.url) -> Terminal:
        opened.append(Terminal(home, "chat", "--url", url, *arguments))
        return opened[-1]

    yield open_one
    for terminal in opened:
        terminal.close()


# In a terminal


@TERMINAL
def test_it_answers_and_remembers_until_it_is_left(chat: Callable[..., Terminal]) -> None:
    terminal = chat("--provider", "plain")
    assert "plain, model mirror. /help for help." in terminal.prompt()
    terminal.enter("one")
    assert said_to_the_model(terminal) == ["one"]
    terminal.enter("two")
    assert said_to_the_model(terminal)[::2] == ["one", "two"]
    assert terminal.leave() == 0


def said_to_the_model(terminal: Terminal) -> list[str]:
    """The model `mirror` answers with the messages that it got."""
    shown = terminal.prompt()
    return [message["content"] for message in json.loads(shown.splitlines()[-1])]


@TERMINAL
def test_it_asks_for_the_provider_that_was_not_named(chat: Callable[..., Terminal]) -> None:
    terminal = chat()
    assert "echo" in terminal.until("Which: ")
    terminal.enter("no-such-provider")
    terminal.until("Which: ")
    terminal.enter("echo")
    terminal.until("echo, model echo. /help for help.\n> ")
    terminal.enter("hello there")
    assert terminal.prompt() == "hello there\nhello there"


@TERMINAL
def test_ctrl_c_interrupts_the_answer_and_the_conversation_goes_on(
    chat: Callable[..., Terminal],
) -> None:
    terminal = chat("-p", "stubborn", "-m", "obedient")
    terminal.prompt()
    terminal.enter("count")
    terminal.until("1 2 3")
    terminal.type(CTRL_C)
    terminal.until("[interrupted]\n> ")
    terminal.enter("/provider echo")
    terminal.prompt()
    terminal.enter("still here")
    assert terminal.prompt() == "still here\nstill here"
    assert terminal.leave() == 0


@TERMINAL
def test_ctrl_c_at_the_prompt_gives_up_the_line(chat: Callable[..., Terminal]) -> None:
    terminal = chat("-p", "echo")
    terminal.prompt()
    terminal.type("not this" + CTRL_C + "\n")
    terminal.prompt()
    terminal.enter("but this")
    assert "not this\nnot this" not in terminal.until("but this\nbut this")


@TERMINAL
def test_ctrl_c_gives_up_a_load_and_the_conversation_goes_on(
    chat: Callable[..., Terminal], start_module: Callable[..., Module], tmp_path: Path
) -> None:
    gate = str(tmp_path / "gate")
    own = start_module(WAIFU_LLM_HOME=str(home_with_gate(tmp_path, gate)))
    terminal = chat("-p", "echo", url=own.url)
    terminal.prompt()
    terminal.enter("/provider slow_load")
    terminal.until("Starting Slow.")
    terminal.type(CTRL_C)
    terminal.prompt()
    terminal.enter("still here")
    assert terminal.prompt() == "still here\nstill here"


def home_with_gate(tmp_path: Path, gate: str) -> Path:
    """A home whose provider `slow_load` never ends to load."""
    home = tmp_path / "home"
    shutil.copytree(FAKES / "slow_load", home / "providers" / "slow_load")
    (home / "waifu-llm.toml").write_text(f"[providers.slow_load]\ngate = {gate!r}\n")
    return home


@TERMINAL
def test_ctrl_c_gives_up_a_line_that_no_module_hears(
    chat: Callable[..., Terminal], start_module: Callable[..., Module]
) -> None:
    own = start_module()
    terminal = chat("-p", "stubborn", "-m", "obedient", url=own.url)
    terminal.prompt()
    terminal.enter("count")
    terminal.until("1 2 3")
    own.kill()
    assert "was lost" in terminal.prompt()
    terminal.enter("anybody there?")
    terminal.until("anybody there?\n")
    terminal.until_line_is_taken()
    terminal.type(CTRL_C)
    assert "UNAVAILABLE" not in terminal.prompt()
    assert terminal.leave() == 0


@TERMINAL
@pytest.mark.parametrize("spoil", ["a folder", "no home"])
def test_without_a_history_it_goes_on(
    module: Module, home: Path, tmp_path: Path, spoil: str
) -> None:
    place = tmp_path / "home"
    if spoil == "a folder":
        (place / "chat-history").mkdir(parents=True)
    else:
        place.write_text("a file")
    terminal = Terminal(place, "chat", "--url", module.url, "-p", "echo")
    try:
        terminal.prompt()
        terminal.enter("hello")
        assert terminal.prompt() == "hello\nhello"
        assert terminal.leave() == 0
    finally:
        terminal.close()


@TERMINAL
def test_a_history_that_cannot_be_kept_is_no_crash(module: Module, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "chat", "--url", module.url, "-p", "echo")
    try:
        terminal.prompt()
        (tmp_path / "chat-history").unlink()
        (tmp_path / "chat-history").mkdir()
        assert terminal.leave() == 0
        assert terminal.rest().strip() == ""
    finally:
        terminal.close()


@TERMINAL
def test_lines_are_remembered_from_one_time_to_the_next(module: Module, tmp_path: Path) -> None:
    for line in ("first", "second"):
        terminal = Terminal(tmp_path, "chat", "--url", module.url, "-p", "echo")
        try:
            terminal.prompt()
            terminal.enter(line)
            terminal.prompt()
            assert terminal.leave() == 0
        finally:
            terminal.close()
    assert (tmp_path / "chat-history").read_text().splitlines()[-2:] == ["first", "second"]


@TERMINAL
def test_an_error_is_shown_and_the_conversation_goes_on(chat: Callable[..., Terminal]) -> None:
    terminal = chat("-p", "echo", "-m", "no-such-model")
    terminal.prompt()
    terminal.enter("hello")
    assert "INVALID_MODEL: There is no model `no-such-model`" in terminal.prompt()
    terminal.enter("/model echo")
    terminal.prompt()
    terminal.enter("hello")
    assert terminal.prompt() == "hello\nhello"


@TERMINAL
def test_what_failed_is_not_remembered(chat: Callable[..., Terminal]) -> None:
    terminal = chat("-p", "echo", "-m", "no-such-model")
    terminal.prompt()
    terminal.enter("lost")
    terminal.prompt()
    terminal.enter("/provider plain")
    terminal.prompt()
    terminal.enter("kept")
    assert said_to_the_model(terminal) == ["kept"]


@TERMINAL
def test_model_lists_and_chooses_models(chat: Callable[..., Terminal]) -> None:
    terminal = chat("-p", "echo")
    terminal.prompt()
    terminal.enter("/model")
    assert terminal.prompt() == "/model\necho, count"
    terminal.enter("/model count")
    terminal.prompt()
    terminal.enter("Go")
    assert terminal.prompt() == "Go\n1 2 3 4 5 6 7 8 9 10"


@TERMINAL
def test_a_model_that_is_not_listed_is_taken_with_a_warning(chat: Callable[..., Terminal]) -> None:
    terminal = chat("-p", "echo", "-m", "nope")
    assert "`echo` lists no model `nope`" in terminal.until("echo, model nope. /help")
    terminal.prompt()
    terminal.enter("/model nada")
    shown = terminal.prompt()
    assert "`echo` lists no model `nada`" in shown
    assert shown.endswith("echo, model nada")
    terminal.enter("/model count")
    assert terminal.prompt() == "/model count\necho, model count"


@pytest.fixture
def bare(start_module: Callable[..., Module], tmp_path: Path) -> Module:
    """A module whose provider `plain` names no models, but has one."""
    folder = shutil.copytree(FAKES / "plain", tmp_path / "home" / "providers" / "plain")
    code = (folder / "provider.py").read_text()
    (folder / "provider.py").write_text(code.replace('["mirror"]', "[]"))
    return start_module(WAIFU_LLM_HOME=str(tmp_path / "home"))


@TERMINAL
def test_a_provider_that_names_no_models_waits_for_one(
    chat: Callable[..., Terminal], bare: Module
) -> None:
    terminal = chat("-p", "plain", url=bare.url)
    shown = terminal.prompt()
    assert "plain. /help for help." in shown
    assert "`plain` names no models: give one with --model, or here with /model NAME." in shown
    terminal.enter("hello")
    assert "INVALID_MODEL: `plain` names no models" in terminal.prompt()
    terminal.enter("/model mirror")
    assert terminal.prompt() == "/model mirror\nplain, model mirror"
    terminal.enter("hello")
    assert said_to_the_model(terminal) == ["hello"]


@TERMINAL
def test_provider_lists_and_chooses_providers(chat: Callable[..., Terminal]) -> None:
    terminal = chat("-p", "echo")
    terminal.prompt()
    terminal.enter("/provider")
    assert {"echo", "plain"} <= set(terminal.prompt().splitlines()[-1].split(", "))
    terminal.enter("/provider plain")
    assert "plain, model mirror" in terminal.prompt()
    terminal.enter("/provider no-such-provider")
    assert "INVALID_PROVIDER" in terminal.prompt()
    terminal.enter("hello")
    assert said_to_the_model(terminal) == ["hello"]


@TERMINAL
def test_system_is_told_first_until_it_is_removed(chat: Callable[..., Terminal]) -> None:
    terminal = chat("-p", "plain", "--system", "Be kind.")
    terminal.prompt()
    terminal.enter("one")
    assert said_to_the_model(terminal) == ["Be kind.", "one"]
    terminal.enter("/system Be brief.")
    assert terminal.prompt().endswith("\nThe model is told this first.")
    terminal.enter("two")
    assert said_to_the_model(terminal)[:2] == ["Be brief.", "one"]
    terminal.enter("/system")
    assert terminal.prompt().endswith("\nThe model is told nothing first.")
    terminal.enter("three")
    assert said_to_the_model(terminal)[0] == "one"


@TERMINAL
def test_reset_forgets_the_conversation(chat: Callable[..., Terminal]) -> None:
    terminal = chat("-p", "plain")
    terminal.prompt()
    terminal.enter("one")
    terminal.prompt()
    terminal.enter("/reset")
    assert terminal.prompt() == "/reset\nThe conversation is forgotten."
    terminal.enter("two")
    assert said_to_the_model(terminal) == ["two"]


@TERMINAL
@pytest.mark.parametrize("line", ["/help", "/", "/dance"])
def test_help_names_every_command(chat: Callable[..., Terminal], line: str) -> None:
    terminal = chat("-p", "echo")
    terminal.prompt()
    terminal.enter(line)
    shown = terminal.prompt()
    for name in ("/model", "/provider", "/system", "/reset", "/help", "/quit", "//TEXT", "Ctrl-C"):
        assert name in shown
    assert ("There is no command /dance" in shown) == (line == "/dance")


@TERMINAL
def test_quit_leaves_too(chat: Callable[..., Terminal]) -> None:
    terminal = chat("-p", "echo")
    terminal.prompt()
    terminal.enter("/quit")
    assert terminal.process.wait(LIMIT) == 0


@TERMINAL
def test_what_is_no_text_is_no_crash(chat: Callable[..., Terminal]) -> None:
    terminal = chat("-p", "echo")
    terminal.prompt()
    terminal.enter("a \udcff b")
    assert terminal.prompt().endswith("\na ? b")


@TERMINAL
def test_a_key_goes_to_no_other_provider(
    chat: Callable[..., Terminal], start_module: Callable[..., Module], tmp_path: Path
) -> None:
    for name in ("keyed", "other"):
        folder = shutil.copytree(FAKES / "keyed", tmp_path / "providers" / name)
        described = (folder / "provider.toml").read_text()
        (folder / "provider.toml").write_text(described.replace('"keyed"', f'"{name}"'))
    own = start_module(WAIFU_LLM_HOME=str(tmp_path))
    terminal = chat("-p", "keyed", "--api-key", "key-1234", url=own.url)
    terminal.prompt()
    terminal.enter("/provider other")
    assert "AUTHORIZATION: `other` needs a key" in terminal.prompt()
    terminal.enter("/provider keyed")
    terminal.prompt()
    terminal.enter("Who?")
    assert "1234 at" in terminal.prompt()


# In a pipe


def test_what_is_piped_in_is_answered(waifu_llm: Run, module: Module) -> None:
    ended = waifu_llm("chat", "-p", "echo", "--url", module.url, stdin="hi\nand again\n")
    assert (ended.returncode, ended.stdout) == (0, "hi\nand again\n")


def test_a_piped_line_that_fails_is_told_by_the_exit_status(waifu_llm: Run, module: Module) -> None:
    wrong = ("chat", "-p", "echo", "-m", "nope", "--url", module.url)
    ended = waifu_llm(*wrong, stdin="hi\n")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "INVALID_MODEL: There is no model `nope`" in ended.stderr


def test_a_piped_command_that_is_none_is_told_by_the_exit_status(
    waifu_llm: Run, module: Module
) -> None:
    ended = waifu_llm("chat", "-p", "echo", "--url", module.url, stdin="/dance\nhi\n")
    assert (ended.returncode, ended.stdout) == (1, "hi\n")
    assert "There is no command /dance" in ended.stderr


def test_commands_that_are_piped_in_say_nothing(waifu_llm: Run, module: Module) -> None:
    lines = "/model count\n/system x\n/reset\n/provider echo\nhi\n"
    ended = waifu_llm("chat", "-p", "echo", "--url", module.url, stdin=lines)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "hi\n", "")


def test_a_line_may_begin_with_a_slash(waifu_llm: Run, module: Module) -> None:
    ended = waifu_llm("chat", "-p", "echo", "--url", module.url, stdin="//quit is a word\n// \n")
    assert (ended.returncode, ended.stdout) == (0, "/quit is a word\n/\n")


def test_who_pipes_into_a_provider_without_models_names_one(waifu_llm: Run, bare: Module) -> None:
    chat = ("chat", "-p", "plain", "--url", bare.url)
    ended = waifu_llm(*chat, stdin="hi\n")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.endswith("waifu-llm: `plain` names no models: give one with --model.\n")
    assert '"hi"' in waifu_llm(*chat, "-m", "mirror", stdin="hi\n").stdout


def test_who_pipes_names_the_provider(waifu_llm: Run, module: Module) -> None:
    ended = waifu_llm("chat", "--url", module.url, stdin="hi\n")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--provider" in ended.stderr
    assert "echo" in ended.stderr


def test_a_model_does_not_steer_the_terminal(waifu_llm: Run, module: Module) -> None:
    title = "\x1b]0;owned\x07 and \x9b31m red"
    ended = waifu_llm("chat", "-p", "echo", "--url", module.url, stdin=title)
    assert ended.stdout == "]0;owned and 31m red\n"


def test_a_provider_that_is_not_there_is_told(waifu_llm: Run, module: Module) -> None:
    ended = waifu_llm("chat", "-p", "nope", "--url", module.url, stdin="hi\n")
    assert ended.returncode == 1
    assert "There is no provider `nope`" in ended.stderr


def test_without_a_module_it_says_how_to_start_one(waifu_llm: Run) -> None:
    ended = waifu_llm("chat", "-p", "echo", "--url", "ws://127.0.0.1:1", stdin="hi\n")
    assert ended.returncode == 1
    assert f"Start one with `{program()} serve`" in ended.stderr


# Profiles and stored keys


def test_a_profile_is_talked_to_like_a_provider(
    waifu_llm: Run, new_home: Path, start_module: Callable[..., Module]
) -> None:
    profile = 'provider = "plain"\nmodel = "mirror"\npersona = "You are Hilda."\n'
    (new_home / "waifu-llm.toml").write_text(f"[profiles.hilda]\n{profile}", "utf-8")
    url = start_module(WAIFU_LLM_HOME=str(new_home)).url
    for options, persona in (((), "You are Hilda."), (("--system", "Be brief."), "Be brief.")):
        arguments = ("chat", "--url", url, "-p", "hilda", *options)
        shown = waifu_llm(*arguments, stdin="hi\n", WAIFU_LLM_HOME=str(new_home)).stdout
        assert [each["content"] for each in json.loads(shown)] == [persona, "hi"]


def test_a_stored_key_is_used_by_its_name(
    waifu_llm: Run, new_home: Path, start_module: Callable[..., Module]
) -> None:
    home = {"WAIFU_LLM_HOME": str(new_home), "KEYED_API_KEY": ""}
    url = start_module(**home).url
    arguments = ("chat", "--url", url, "-p", "keyed", "-m", "whoami", "--key")
    waifu_llm("keys", "set", "keyed", "work", stdin="key-of-work", **home)
    shown = waifu_llm(*arguments, "work", stdin="hi\n", **home).stdout
    assert shown == "work at https://keyed.example/v1\n"
    missing = waifu_llm(*arguments, "nosuch", stdin="hi\n", **home)
    assert (missing.returncode, "no stored key `nosuch`" in missing.stderr) == (1, True)
