import pytest

from waifu_llm.credentials import home_of, origin, resolve
from waifu_llm.errors import Authorization, InvalidMessage, Unsupported, WaifuError
from waifu_llm.specs import ProviderSpec, Setting

VENDOR = "https://api.vendor.com/v1"
KEY = {"api_key": "stored"}


def spec(**settings):
    return ProviderSpec(name="vendor", title="Vendor", entry="provider:V", settings=settings)


CLOUD = spec(
    api_key=Setting(required=True, secret=True, env="VENDOR_API_KEY"),
    base_url=Setting(default=VENDOR),
    region=Setting(env="VENDOR_REGION", default="eu"),
)


def load(asked=None, stored=None, environ=None, provider=CLOUD, **more):
    return resolve(provider, asked or {}, stored or {}, environ or {}, **more)


def keys(**named):
    """The stored keys of one origin, by their names."""

    def find(origin, name):
        return named.get(name) if origin == "https://api.vendor.com" else None

    return {"find_key": find}


# What comes first


def region(asked=None, stored=None, variable=None):
    def given(name, value):
        return {} if value is None else {name: value}

    return load(
        {"api_key": "k", **given("region", asked)},
        given("region", stored),
        given("VENDOR_REGION", variable),
    )["region"]


@pytest.mark.parametrize("nothing", [None, ""])
def test_the_first_of_client_table_variable_and_default_holds(nothing):
    assert region("client", "table", "variable") == "client"
    assert region(nothing, "table", "variable") == "table"
    assert region(nothing, nothing, "variable") == "variable"
    assert region(nothing, nothing, nothing) == "eu"


def test_a_setting_without_any_value_is_left_to_the_provider():
    assert load(provider=spec(region=Setting(env="R")), environ={"R": ""}) == {}


def test_a_clients_key_comes_before_a_stored_one():
    assert load({"api_key": "own"}, KEY, {"VENDOR_API_KEY": "variable"})["api_key"] == "own"


@pytest.mark.parametrize("empty", [{}, {"api_key": ""}, {"api_key": None}])
def test_a_stored_key_stands_in_for_one_that_is_not_sent(empty):
    assert load(empty, KEY)["api_key"] == "stored"
    assert load(empty, environ={"VENDOR_API_KEY": "variable"})["api_key"] == "variable"


def test_a_variable_is_read_only_where_the_provider_names_it():
    with pytest.raises(Authorization):
        load(environ={"API_KEY": "k", "api_key": "k", "OTHER_API_KEY": "k"})


def test_zero_and_false_are_values():
    declared = spec(
        count=Setting(type="integer", default=3), loud=Setting(type="boolean", default=True)
    )
    values = {"count": 0, "loud": False}
    assert load(values, provider=declared) == load(stored=values, provider=declared) == values


def test_the_first_of_client_table_variable_and_stored_key_holds():
    variable, stored = {"VENDOR_API_KEY": "variable"}, keys(default="default")
    assert load({"api_key": "client"}, KEY, variable, **stored)["api_key"] == "client"
    assert load({}, {"api_key": "table"}, variable, **stored)["api_key"] == "table"
    assert load({}, {}, variable, **stored)["api_key"] == "variable"
    assert load({}, {}, {}, **stored)["api_key"] == "default"


def test_a_key_that_is_named_comes_before_all_but_the_clients_own():
    variable, named = {"VENDOR_API_KEY": "variable"}, keys(work="work", default="default")
    assert load({}, KEY, variable, key="work", **named)["api_key"] == "work"
    assert load({"api_key": "client"}, KEY, key="work", **named)["api_key"] == "client"


def test_a_key_that_is_named_and_not_there_is_not_replaced_by_another():
    with pytest.raises(Authorization, match=r"no stored key `work` .*keys set vendor work"):
        load({}, KEY, key="work", **keys(default="default"))


def test_a_key_that_is_missing_for_another_address_is_asked_for_with_that_address():
    with pytest.raises(Authorization, match=r"keys set vendor work --base-url http://box`"):
        load({"base_url": "http://box/v1"}, {}, key="work")


def test_a_key_is_not_named_where_a_provider_takes_none():
    with pytest.raises(InvalidMessage, match="takes no key"):
        load(provider=spec(), key="work")


def test_a_profile_comes_between_the_client_and_the_table():
    profile = {"profile": {"region": "profile", "api_key": "of the profile"}}
    assert load({}, {"region": "table", **KEY}, **profile) == {
        "region": "profile",
        "api_key": "of the profile",
        "base_url": VENDOR,
    }
    assert load({"region": "client"}, KEY, **profile)["region"] == "client"
    with pytest.raises(InvalidMessage, match="no setting `mood`"):
        load({}, KEY, profile={"mood": "happy"})


@pytest.mark.parametrize("place", ["asked", "stored", "environ", "profile"])
def test_a_number_out_of_bounds_is_told_wherever_it_comes_from(place):
    length = Setting("integer", env="LENGTH", default=512, least=256, most=1024, also=0)
    name = "LENGTH" if place == "environ" else "length"

    def loaded(value):
        given = str(value) if place == "environ" else value
        return load(**{place: {name: given}}, provider=spec(length=length))

    assert [loaded(value)["length"] for value in (0, 256, 1024)] == [0, 256, 1024]
    for value in (-1, 1, 255, 1025):
        with pytest.raises(InvalidMessage, match="`length` should be 0, or from 256 to 1024"):
            loaded(value)


def test_a_setting_that_is_needed_is_told_with_its_bounds():
    seats = Setting("integer", required=True, least=1, help="How many sit there.")
    with pytest.raises(InvalidMessage, match=r"`seats` \(at least 1\): How many sit there"):
        load(provider=spec(seats=seats))


# Whose key goes where


@pytest.mark.parametrize(
    "url",
    [
        VENDOR,
        "https://api.vendor.com",
        "https://api.vendor.com/other/path?x=1",
        "https://api.vendor.com:443/v1",
        "HTTPS://API.Vendor.COM/v1",
    ],
)
def test_a_stored_key_goes_to_its_own_scheme_host_and_port(url):
    values = load({"base_url": url}, KEY)
    assert (values["api_key"], values["base_url"]) == ("stored", url)


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("http://box", "http://box:80"),
        ("http://box:80/v1", "http://box"),
        ("https://box:443", "https://box"),
        ("http://[::1]:8080", "http://[::1]:8080/v1"),
    ],
)
def test_a_default_port_is_the_same_written_or_not(stored, asked):
    assert load({"base_url": asked}, {**KEY, "base_url": stored})["api_key"] == "stored"


@pytest.mark.parametrize(
    "url",
    [
        "http://api.vendor.com/v1",
        "http://api.vendor.com:443/v1",
        "https://api.vendor.com:444/v1",
        "https://api.vendor.com:80/v1",
        "https://evil.example/v1",
        "https://vendor.com/v1",
        "https://api.vendor.com.evil.example/v1",
        "https://api.vendor.com@evil.example/v1",
        "https://api.vendor.com:443@evil.example/v1",
        "https://evil.example#@api.vendor.com",
        "https://evil.example?@api.vendor.com",
        "https://evil.example/@api.vendor.com",
        "https://evil.example\\@api.vendor.com",
        "https://evil.example/https://api.vendor.com",
        "https://api.vendor.com\t.evil.example",
        "//evil.example",
        "evil.example",
        "api.vendor.com",
        "wss://api.vendor.com",
    ],
)
def test_a_stored_key_goes_nowhere_else(url):
    with pytest.raises((Authorization, InvalidMessage)):
        load({"base_url": url}, KEY)


@pytest.mark.parametrize("asked", [{}, {"base_url": "https://evil.example"}])
def test_a_profile_that_goes_elsewhere_takes_no_key_along(asked):
    with pytest.raises(Authorization):
        load(asked, KEY, {"VENDOR_API_KEY": "k"}, profile={"base_url": "http://box"})


def test_a_key_of_a_profile_goes_where_the_profile_goes():
    profile = {"profile": {"base_url": "http://box/v1", "api_key": "of the profile"}}
    assert load({}, KEY, **profile)["api_key"] == "of the profile"
    assert load({"base_url": "http://box:80"}, KEY, **profile)["api_key"] == "of the profile"
    for elsewhere in (VENDOR, "https://evil.example"):
        with pytest.raises(Authorization):
            load({"base_url": elsewhere}, KEY, **profile)


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("HTTPS://API.Vendor.com:443/v1?x", "https://api.vendor.com"),
        ("http://box:80", "http://box"),
        ("https://box:80", "https://box:80"),
        ("http://[::1]:8080/v1", "http://[::1]:8080"),
        ("http://user:pass@box/", "http://box"),
    ],
)
def test_an_origin_is_always_written_alike(url, written):
    assert origin(url) == written


def test_the_home_of_a_provider_is_where_it_asks_by_itself():
    assert home_of(CLOUD, {}, {}) == "https://api.vendor.com"
    assert home_of(CLOUD, {"base_url": "http://box/v1"}, {}) == "http://box"
    assert home_of(spec(), {}, {}) == ""


@pytest.mark.parametrize("url", ["https://evil.example", "evil.example", "/v1", "mailto:a@b"])
def test_where_no_address_is_stored_every_address_is_another(url):
    declared = spec(api_key=Setting(required=True, secret=True), base_url=Setting())
    with pytest.raises((Authorization, InvalidMessage)):
        load({"base_url": url}, KEY, provider=declared)


def test_a_key_from_a_variable_is_a_stored_key():
    with pytest.raises(Authorization, match=r"evil\.example"):
        load({"base_url": "https://evil.example"}, environ={"VENDOR_API_KEY": "k"})


def test_a_key_stored_with_an_address_goes_to_that_address():
    stored = {**KEY, "base_url": "http://box:8080"}
    assert load({}, stored)["base_url"] == "http://box:8080"
    assert load({"base_url": "http://box:8080/v2"}, stored)["api_key"] == "stored"
    with pytest.raises(Authorization):
        load({"base_url": VENDOR}, stored)


def test_a_stored_host_without_a_scheme_keeps_nobody_from_another_address():
    local = spec(api_key=Setting(secret=True), base_url=Setting())
    stored = {**KEY, "base_url": "box:8080"}
    asked = {"base_url": "http://box:8080"}
    assert load({}, stored, provider=local) == {**KEY, **asked}
    assert load(asked, stored, provider=local) == {**KEY, **asked}
    elsewhere = {"base_url": "http://other:8080"}
    assert load(elsewhere, stored, provider=local) == elsewhere


def test_another_address_gets_the_clients_own_key_and_what_is_no_secret():
    asked = {"base_url": "https://other.example", "api_key": "own"}
    assert load(asked, {**KEY, "region": "us"}) == {**asked, "region": "us"}


@pytest.mark.parametrize("url", ["https://vendor:port", "https://vendor:99999", "https://[::1"])
def test_what_is_no_address_is_refused_as_such(url):
    with pytest.raises(InvalidMessage, match="base_url"):
        load({"base_url": url, "api_key": "own"})


# What is refused, and in which words


def test_a_missing_key_is_asked_for_with_its_variable():
    with pytest.raises(Authorization, match=r"`vendor` needs a key.*`api_key`.*VENDOR_API_KEY"):
        load()


def test_another_required_setting_is_asked_for_with_its_help():
    declared = spec(model_file=Setting(required=True, help="A GGUF file."))
    with pytest.raises(InvalidMessage, match=r"`vendor`.*`model_file`.*A GGUF file\."):
        load(provider=declared)


def test_a_key_is_ignored_where_a_provider_has_none():
    assert load({"api_key": "sk-1"}, provider=spec()) == {}


def test_an_address_is_refused_where_a_provider_has_none():
    with pytest.raises(Unsupported, match="no `base_url`"):
        load({"base_url": VENDOR}, provider=spec())


def test_an_unknown_setting_is_refused_with_the_known_ones():
    with pytest.raises(InvalidMessage, match=r"no setting `mood`.*api_key, base_url, region"):
        load({"mood": "happy"})
    with pytest.raises(InvalidMessage, match="It has: none"):
        load({"mood": "happy"}, provider=spec())


RIGHT = {"string": "a", "integer": 1, "number": 0.5, "boolean": True}


@pytest.mark.parametrize("kind", RIGHT)
def test_a_value_of_the_right_kind_is_taken_and_others_are_named(kind):
    declared = spec(it=Setting(type=kind))
    assert load({"it": RIGHT[kind]}, provider=declared) == {"it": RIGHT[kind]}
    fits = {kind, "integer"} if kind == "number" else {kind}
    for value in (value for other, value in RIGHT.items() if other not in fits):
        with pytest.raises(InvalidMessage, match=rf"`{kind}`, in `settings\.it`"):
            load({"it": value}, provider=declared)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("integer", "4", 4),
        ("number", "0.5", 0.5),
        ("boolean", "true", True),
        ("boolean", "ON", True),
        ("boolean", "0", False),
        ("boolean", "no", False),
        ("string", "7", "7"),
    ],
)
def test_a_variable_is_read_as_what_the_setting_is(kind, text, value):
    declared = spec(it=Setting(type=kind, env="IT"))
    assert load(environ={"IT": text}, provider=declared) == {"it": value}


@pytest.mark.parametrize(("kind", "text"), [("integer", "four"), ("number", "half")])
def test_a_variable_that_cannot_be_read_is_told_in_words(kind, text):
    with pytest.raises(WaifuError, match="it"):
        load(environ={"IT": text}, provider=spec(it=Setting(type=kind, env="IT")))


@pytest.mark.parametrize(("kind", "value"), [("string", 5), ("integer", True), ("number", [1])])
def test_a_stored_value_of_the_wrong_kind_is_told_in_words(kind, value):
    with pytest.raises(WaifuError, match="it"):
        load(stored={"it": value}, provider=spec(it=Setting(type=kind)))
