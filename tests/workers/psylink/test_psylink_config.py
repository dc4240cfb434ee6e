"""The file of a worker, and what its words mean to a provider."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from waifu_llm.config import Config, ConfigError
from waifu_llm.engine import Engine
from waifu_llm.errors import InvalidMessage, InvalidProvider, Unsupported
from waifu_llm.paths import Paths, bundled_providers
from waifu_llm.plugins import discover
from waifu_llm.redaction import Redactor
from waifu_llm.stored import Stored
from waifu_llm.workers.psylink.config import (
    ModelChoice,
    Properties,
    PsylinkConfig,
    RedisPlace,
    read_config,
)
from waifu_llm.workers.psylink.model import make_plan

AS_IT_STANDS = """\
[redis]
host = "localhost"
port = 6379
password = "supersecretpassword"
db = 0
prompt_input_queue = "psy_prompt_input_queue"
prompt_output_queue = "psy_prompt_output_queue"
command_input_queue = "psy_command_input_queue"
command_output_queue = "psy_command_output_queue"

[model]
model_path = "models/codellama-13b-instruct.Q8_0.gguf"

[llama_params]
max_tokens = 32
echo = true
temperature = 0.85

[properties]
min_priority = 1
max_priority = 5
"""
MODEL = "codellama-13b-instruct.Q8_0"


@pytest.fixture
def write(tmp_path):
    def write(text):
        file = tmp_path / "config.toml"
        file.write_text(text, "utf-8")
        return file

    return write


@pytest.fixture
def engine(tmp_path):
    home = tmp_path / "home"
    paths = Paths(home, home)
    found = discover(bundled_providers(), home / "none", (), home / "locks", paths.models)
    stored = Stored(Config(), paths, lambda: found.specs)
    return Engine(Config(), lambda: found, None, Redactor(), stored)


def place(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"GGUF")
    return file


async def test_psylinks_own_example_means_what_it_says(write, engine, tmp_path):
    config = read_config(write(AS_IT_STANDS))
    file = place(tmp_path / "models" / f"{MODEL}.gguf")
    plan = await make_plan(engine, config)
    assert (config.redis.host, config.redis.port, config.redis.db) == ("localhost", 6379, 0)
    assert config.redis == RedisPlace(password="supersecretpassword")
    assert (plan.asked.provider, plan.asked.model_id) == ("llamacpp", MODEL)
    assert plan.asked.settings == {"models_folder": str(file)}
    assert (plan.params.max_output_length, plan.params.temperature) == (32, 0.85)
    assert plan.echo
    assert (config.properties.min_priority, config.properties.max_priority) == (1, 5)
    assert (config.properties.expiry_seconds, config.properties.lease_seconds) == (300, 30)


def test_the_password_is_shown_to_nobody(write):
    config = read_config(write(AS_IT_STANDS))
    assert "supersecret" not in repr(config) + str(config.redis)
    assert config.redis.secrets == ["supersecretpassword"]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ('[redis]\nhosst = "a"', "unknown field `hosst`, in `redis`"),
        ('[redis]\nport = "a"', "in `redis.port`"),
        ("[redis]\nport = 0", "in `redis.port`"),
        (
            '[redis]\nprompt_input_queue = "psy_prompt_output_queue"',
            "a name of its own, in `redis`",
        ),
        ("[models]\n", "unknown field `models`"),
        ('[model]\nmodel = "a"\nmodel_path = "b"', "give one of them, in `model`"),
        ("[properties]\nmin_priority = 1.5", "in `properties.min_priority`"),
        ("[properties]\nmin_priority = true", "in `properties.min_priority`"),
        ("[properties]\nmin_priority = 6", "`min_priority` is above `max_priority`"),
        ("[properties]\nexpiry_seconds = 0", "in `properties.expiry_seconds`"),
        ("[properties]\nlease = 1", "unknown field `lease`, in `properties`"),
        ("llama_params = 1", "in `llama_params`"),
        ('folder = "x"', "in `folder`"),
        ("[redis", "Cannot read"),
    ],
)
def test_what_cannot_be_is_said_with_its_place(write, wrong, why):
    with pytest.raises(ConfigError) as refused:
        read_config(write(wrong))
    assert why in str(refused.value)
    assert "config.toml" in str(refused.value)


def test_a_password_of_the_wrong_type_is_not_shown(write):
    with pytest.raises(ConfigError) as refused:
        read_config(write("[redis]\npassword = 5436789"))
    assert "in `redis.password`" in str(refused.value)
    assert "5436789" not in str(refused.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"Cannot read .*nope\.toml"):
        read_config(tmp_path / "nope.toml")


async def plan_of(engine, tmp_path, params=None, **choice):
    config = PsylinkConfig(
        model=ModelChoice(**choice), llama_params=params or {}, folder=tmp_path / "here"
    )
    return await make_plan(engine, config)


async def test_a_model_is_looked_for_beside_the_file_then_among_the_modules(engine, tmp_path):
    path = {"model_path": f"models/{MODEL}.gguf"}
    with pytest.raises(ConfigError, match="There is no model"):
        await plan_of(engine, tmp_path, **path)
    ours = place(tmp_path / "home" / "models" / f"{MODEL}.gguf")
    assert (await plan_of(engine, tmp_path, **path)).asked.settings["models_folder"] == str(ours)
    beside = place(tmp_path / "here" / "models" / f"{MODEL}.gguf")
    assert (await plan_of(engine, tmp_path, **path)).asked.settings["models_folder"] == str(beside)


async def test_an_absolute_path_is_taken_as_it_is(engine, tmp_path):
    file = place(tmp_path / "elsewhere" / "a.gguf")
    plan = await plan_of(engine, tmp_path, model_path=str(file), provider="llamacpp-prebuilt")
    assert plan.asked.settings == {"models_folder": str(file)}
    assert plan.asked.provider == "llamacpp-prebuilt"


async def test_what_says_how_to_load_is_parted_from_what_says_how_to_answer(engine, tmp_path):
    params = {"n_ctx": 4096, "n_gpu_layers": 20, "threads": 4, "max_tokens": 5, "top_k": 3}
    params |= {"repeat_penalty": 1.1, "stop": "###", "top_p": 0.9, "echo": False}
    plan = await plan_of(engine, tmp_path, params, model="tiny")
    assert plan.asked.settings == {"context_length": 4096, "gpu_layers": 20, "threads": 4}
    assert plan.asked.model_id == "tiny"
    assert (plan.params.max_output_length, plan.params.stop_tokens) == (5, ["###"])
    assert plan.params.penalties.repetition == 1.1
    assert plan.params.extra == {"top_k": 3}


@pytest.mark.parametrize("tokens", [0, -1])
async def test_no_limit_is_a_limit_of_none(engine, tmp_path, tokens):
    plan = await plan_of(engine, tmp_path, {"max_tokens": tokens})
    assert plan.params.max_output_length is None


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"mirostat": 2}, "`llamacpp` knows no `llama_params.mirostat`"),
        ({"temperature": "hot"}, "in `llama_params.temperature`"),
        ({"echo": "yes"}, "`llama_params.echo` should be true or false"),
        ({"model": "x"}, "`llama_params.model` is not said there, but as `model`"),
        ({"repeat_penalty": -1}, "in `llama_params.repetition_penalty`"),
    ],
)
async def test_a_parameter_that_cannot_be_is_said_with_its_place(engine, tmp_path, params, why):
    with pytest.raises(InvalidMessage) as refused:
        await plan_of(engine, tmp_path, params)
    assert why in str(refused.value)


async def test_what_the_provider_does_not_take_is_refused_before_any_prompt(engine, tmp_path):
    with pytest.raises(Unsupported, match="does not take `seed`"):
        await plan_of(engine, tmp_path, {"seed": 5}, provider="anthropic")


async def test_a_path_means_nothing_to_a_provider_without_files(engine, tmp_path):
    with pytest.raises(ConfigError, match="`openai` runs no files"):
        await plan_of(engine, tmp_path, provider="openai", model_path="a.gguf")


async def test_a_provider_that_is_not_there(engine, tmp_path):
    with pytest.raises(InvalidProvider, match="nope"):
        await plan_of(engine, tmp_path, provider="nope")


def test_the_file_of_the_docs_is_one(write):
    page = (Path(__file__).parents[3] / "docs" / "psylink.md").read_text("utf-8")
    [example] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    config = read_config(write(example))
    assert config.redis == RedisPlace(password="supersecretpassword")
    assert config.properties == Properties(worker_id="cupboard-1")
