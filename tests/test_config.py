from dataclasses import FrozenInstanceError

import pytest

from waifu_llm.config import Config, ConfigError, settings
from waifu_llm.config_layers import resolve


@pytest.fixture
def file(tmp_path):
    return tmp_path / "waifu-llm.toml"


def variable(name):
    return f"WAIFU_LLM_{name.upper()}"


def sample(each):
    """Another value than the default, as it is and as text."""
    if isinstance(each.default, bool):
        return not each.default, str(not each.default).lower()
    if each.name == "allowed_origins":
        return ("app://a", "https://b:1"), "app://a, https://b:1"
    if isinstance(each.default, tuple):
        return ("a", "b"), "a, b"
    if "choices" in each.metadata:
        return (each.metadata["choices"][0],) * 2
    if each.name in ("workers", "redis"):
        return "redis://there", "redis://there"
    if each.name == "rabbitmq":
        return ("amqp://u:p@h/v",) * 2
    if isinstance(each.default, str):
        return "other", "other"
    return each.default + 1, str(each.default + 1)


TWINS = {"tls_cert": "tls_key", "tls_key": "tls_cert"}
ALL = pytest.mark.parametrize("each", settings(), ids=lambda each: each.name)


@ALL
def test_every_setting_has_a_default_and_a_help(each, file):
    config = resolve({}, {}, file)
    assert getattr(config, each.name) == each.default
    assert config.source(each.name) == "default"
    assert each.metadata["help"].endswith(".")


@ALL
def test_every_setting_has_a_flag_a_variable_and_a_key(each, file):
    value, text = sample(each)
    flag = f"--{each.name.replace('_', '-')}"
    key = f"{each.name} = {list(value) if isinstance(value, tuple) else toml(value)}"
    file.write_text(key)
    twin = {TWINS[each.name]: "twin.pem"} if each.name in TWINS else {}
    for flags, environ, source in [
        ({each.name: value}, {}, flag),
        ({each.name: text}, {}, flag),
        ({}, {variable(each.name): text}, variable(each.name)),
        ({}, {}, str(file)),
    ]:
        config = resolve({**twin, **flags}, environ, file)
        assert (getattr(config, each.name), config.source(each.name)) == (value, source)


def toml(value):
    return str(value).lower() if isinstance(value, bool) else repr(value)


def test_who_takes_instructions_over_rabbitmq_keeps_what_they_are_about(file):
    config = resolve({"rabbitmq": "env"}, {}, file)
    assert (config.store, config.source("store")) == ("sqlite", "--rabbitmq")
    assert resolve({"rabbitmq": "env", "store": "chats.db"}, {}, file).store == "chats.db"
    assert resolve({}, {}, file).store == ""


def test_what_is_no_address_of_a_rabbitmq_is_not_shown(file):
    with pytest.raises(ConfigError, match="amqp://USER:PASSWORD@HOST") as caught:
        resolve({"rabbitmq": "http://u:secret-word@h"}, {}, file)
    assert "secret-word" not in str(caught.value)


def test_the_first_of_flag_variable_file_and_default_holds(file):
    file.write_text("port = 3")
    environ = {"WAIFU_LLM_PORT": "2"}
    assert resolve({"port": 1}, environ, file).port == 1
    assert resolve({"port": None}, environ, file).port == 2
    assert resolve({}, {}, file).port == 3
    file.unlink()
    assert resolve({}, {}, file).port == 7562


@pytest.mark.parametrize("text", ["0", "false", "no", "off", "FALSE"])
def test_a_flag_that_says_no_overrules_a_file_that_says_yes(text, file):
    file.write_text("auto_install = true")
    assert resolve({"auto_install": False}, {}, file).auto_install is False
    assert resolve({}, {"WAIFU_LLM_AUTO_INSTALL": text}, file).auto_install is False


@pytest.mark.parametrize("text", ["1", "true", "yes", "on", "True"])
def test_yes_is_said_in_many_ways(text, file):
    assert resolve({}, {"WAIFU_LLM_REQUIRE_TOKEN": text}, file).require_token is True


@pytest.mark.parametrize(
    ("text", "value"), [("", ()), ("a", ("a",)), (" a ,, b,", ("a", "b")), (["a"], ("a",))]
)
def test_a_list_is_parted_at_commas(text, value, file):
    assert resolve({"disabled_plugins": text}, {}, file).disabled_plugins == value


def test_a_whole_number_will_do_for_a_number(file):
    file.write_text("idle_seconds = 5")
    assert resolve({}, {}, file).idle_seconds == 5.0


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("port", "many", "a whole number"),
        ("port", "3.5", "a whole number"),
        ("idle_seconds", "long", "a number"),
        ("auto_install", "maybe", "true or false"),
        ("port", "-1", "0 or more"),
        ("max_message_bytes", "1023", "1024 or more"),
        ("idle_seconds", "-0.1", "0 or more"),
        ("idle_seconds", "nan", "a number, not 'nan'"),
        ("idle_seconds", "inf", "a number, not 'inf'"),
        ("idle_seconds", "1e300", "31536000 or less"),
        ("answer_ms", "86400001", "86400000 or less"),
        ("max_waiting", "1000001", "1000000 or less"),
        ("parent_pid", str(2**31), "2147483647 or less"),
        ("log_level", "loud", "one of debug, info"),
        ("host", " ", "an address or a name of this machine, not ' '"),
        ("allowed_hosts", "https://box.lan", "host or host:port, not 'https://box.lan'"),
        ("allowed_hosts", "box.lan:many", "host or host:port, not"),
        ("token", "two\nlines", "ASCII letters, digits and signs without spaces, not this."),
        ("token", "b\xe9b\xe9", "ASCII letters, digits and signs without spaces, not this."),
    ],
)
def test_a_wrong_value_is_refused_with_its_setting_and_its_source(name, value, wanted, file):
    for flags, environ, source in [
        ({name: value}, {}, f"--{name.replace('_', '-')}"),
        ({}, {variable(name): value}, variable(name)),
    ]:
        with pytest.raises(ConfigError) as caught:
            resolve(flags, environ, file)
        message = str(caught.value)
        assert message.startswith(f"`{name}` (from {source}) should be {wanted}")


@pytest.mark.parametrize(
    "line",
    [
        "port = true",
        'port = "many"',
        "port = 3.5",
        "port = [1]",
        "host = 5",
        "host = true",
        "auto_install = 2",
        'idle_seconds = "long"',
        "idle_seconds = nan",
        "idle_seconds = -inf",
        f"idle_seconds = 1{'0' * 400}",
        'auto_install = ""',
        'host = ""',
        "allowed_origins = 5",
        "allowed_origins = true",
        "allowed_origins = [1]",
        "allowed_origins = {a = 1}",
    ],
)
def test_a_wrong_value_in_the_file_is_refused_with_its_name_and_the_file(line, file):
    file.write_text(line)
    with pytest.raises(ConfigError) as caught:
        resolve({}, {}, file)
    name = line.partition(" ")[0]
    assert str(caught.value).startswith(f"`{name}` (from {file}) should be ")


def test_an_empty_flag_is_a_wrong_value_like_any_other(file):
    with pytest.raises(ConfigError, match="from --host"):
        resolve({"host": ""}, {}, file)
    with pytest.raises(ConfigError, match="from --port"):
        resolve({"port": ""}, {}, file)


@ALL
def test_an_empty_variable_is_one_that_is_not_set(each, file):
    assert resolve({}, {variable(each.name): ""}, file) == Config()


@pytest.mark.parametrize(("name", "bound"), [("idle_seconds", 86_400 * 365), ("port", 65_535)])
def test_the_highest_value_that_can_be_is_taken(name, bound, file):
    assert getattr(resolve({name: str(bound)}, {}, file), name) == bound


@ALL
def test_no_number_is_without_bounds(each):
    if type(each.default) in (int, float):
        assert {"ge", "le"} <= each.metadata.keys()


@pytest.mark.parametrize("text", ["DEBUG", "Debug"])
def test_the_level_of_the_log_is_written_in_any_case(text, file):
    assert resolve({}, {"WAIFU_LLM_LOG_LEVEL": text}, file).log_level == "debug"


@pytest.mark.parametrize(
    "origin",
    ["http://127.0.0.1:8080", "https://a.example", "http://[::1]:1", "app://x", "null", "file://"],
)
def test_an_origin_is_a_scheme_and_a_host(origin, file):
    assert resolve({"allowed_origins": origin}, {}, file).allowed_origins == (origin,)


@pytest.mark.parametrize(
    "text", ["file:///a", "*", "a.example", "https://a.example/", "http://a:b", "Null"]
)
def test_what_is_no_origin_is_refused_with_what_else_there_is(text, file):
    with pytest.raises(ConfigError, match="scheme://host:port, or `null`") as caught:
        resolve({"allowed_origins": ["https://a", text]}, {}, file)
    assert str(caught.value).endswith(f", not {text!r}.")


@pytest.mark.parametrize("host", ["box.lan", "box.lan:7562", "[fd00::1]:7562", "192.168.1.2"])
def test_a_further_name_is_a_host_with_a_port_or_without(host, file):
    assert resolve({"allowed_hosts": host}, {}, file).allowed_hosts == (host,)


@pytest.mark.parametrize(("there", "missing"), TWINS.items())
def test_a_certificate_and_its_key_come_together(there, missing, file):
    file.write_text(f'{there} = "a.pem"')
    with pytest.raises(ConfigError, match=f"needs `{missing}`, which is not set") as caught:
        resolve({}, {}, file)
    assert str(caught.value).startswith(f"`{there}` (from {file})")


def test_the_lowest_value_that_can_be_is_taken(file):
    assert resolve({"port": 0, "max_connections": 1}, {}, file).max_connections == 1


def test_a_key_that_nobody_knows_is_refused(file):
    file.write_text("prot = 1")
    with pytest.raises(ConfigError, match="no setting `prot`") as caught:
        resolve({}, {}, file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("name", ["sources", "source"])
def test_what_is_no_setting_cannot_be_set(name, file):
    file.write_text(f"{name} = {{}}")
    with pytest.raises(ConfigError, match=f"no setting `{name}`"):
        resolve({}, {}, file)


def test_variables_of_others_are_left_alone(file):
    assert resolve({}, {"WAIFU_LLM_HOME": "/x", "PORT": "1"}, file) == Config()


def test_tables_of_providers_are_handed_on_as_they_are(file):
    file.write_text('[providers.openai]\napi_key = "sk-1"\ntries = 3')
    tables = resolve({}, {}, file).providers
    assert tables == {"openai": {"api_key": "sk-1", "tries": 3}}


@pytest.mark.parametrize("line", ["providers = 1", "providers = []", "providers.openai = 'sk-1'"])
def test_providers_that_are_no_tables_are_refused(line, file):
    file.write_text(line)
    with pytest.raises(
        ConfigError, match="`providers` holds one table for each provider"
    ) as caught:
        resolve({}, {}, file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("content", [b"port = ", b"\xff\xfe", b"port = 1\nport = 2", b"[providers"])
def test_a_file_that_cannot_be_read_is_named(content, file):
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="Cannot read") as caught:
        resolve({}, {}, file)
    assert str(file) in str(caught.value)


def test_a_folder_in_place_of_the_file_is_named_once(file):
    file.mkdir()
    with pytest.raises(ConfigError, match="Cannot read") as caught:
        resolve({}, {}, file)
    assert str(caught.value).count(str(file)) == 1


def test_a_file_that_begins_with_a_mark_is_read(file):
    file.write_text("port = 1", "utf-8-sig")
    assert resolve({}, {}, file).port == 1


def test_what_holds_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Config().port = 1


def test_what_may_hold_a_secret_is_marked():
    assert [each.name for each in settings() if each.metadata["secret"]] == [
        *("token", "store", "rabbitmq", "workers", "redis")
    ]
