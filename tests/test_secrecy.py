"""What is taken for a secret, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from waifu_llm.secrecy import is_secret, secrets_in, without_secrets


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "x") for name in ("api_key", "apiKey", "APIKey", "X-API-KEY", "apikey", "key")),
        *((name, "x") for name in ("token", "accessToken", "hf_token", "client_secret", "Cookie")),
        ("Authorization", "Bearer x"),
        ("keys", ["x"]),
        ("extra_headers", {"X-Anything": "x"}),
        ("credentials", {"user": "x", "pw": "y"}),
        ("base_url", "https://user:x@host/v1"),
        ("api_endpoint", "https://host/v1?api_key=x"),
        ("proxy", "http://user:x@host"),
        ("url", "https://host/?x"),
        ("url", "https://host/?X-Amz-Signature=x"),
        ("url", "https://[host"),
        ("url", "https://host/#token=x"),
        ("https", "http://user:x@host"),
        ("server", "https://user:x@host"),
        ("endpoints", ["https://host", "https://user:x@host"]),
        *((name, 12345678) for name in ("password", "client_secret", "pwd")),
        *((name, "x") for name in ("key2", "openai_key_1", "accesskey", "sessiontoken", "jwt")),
    ],
)
def test_these_are_secrets(name: str, value: Any) -> None:
    assert is_secret(name, value)
    told = {"deep": [{"down": {name: value, "other": 1}}]}
    assert without_secrets(told) == {"deep": [{"down": {"other": 1}}]}
    assert list(secrets_in(told)) == [f"deep[0].down.{name}"]


def test_a_value_whose_secret_name_stands_beside_it_is_one() -> None:
    told = {"rows": [{"name": "Authorization", "value": "Bearer x"}, {"name": "n", "value": "y"}]}
    assert without_secrets(told) == {
        "rows": [{"name": "Authorization"}, {"name": "n", "value": "y"}]
    }
    assert list(secrets_in(told)) == ["rows[0].value"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 5),
        ("stop_tokens", ["x"]),
        ("eos_token", "</s>"),
        ("add_bos_token", True),
        ("prompt_cache_key", "x"),
        ("token", ""),
        ("api_key", None),
        ("base_url", "https://host/v1?api-version=2024-02-01"),
        ("title", "https://host/?key=x"),
        ("monkey", "x"),
        ("author", "x"),
        ("keywords", ["x"]),
        ("image_token", "<image>"),
        ("servers", ["https://host/v1"]),
        ("url", "https://host/docs#keys"),
        ("top_k", 40),
        ("stop_token_ids", [1, 2]),
        ("logit_bias", {"50256": -100}),
    ],
)
def test_these_are_none(name: str, value: Any) -> None:
    told = {"deep": [{name: value}]}
    assert without_secrets(told) == told
    assert list(secrets_in(told)) == []


def test_a_schema_may_describe_what_is_named_like_one() -> None:
    fields = {"token": {"type": "string"}, "other": {"$ref": "#/$defs/Secret"}}
    schema = {"properties": fields, "required": ["token"], "$defs": {"Secret": {"type": "object"}}}
    assert without_secrets({"schema": schema}) == {"schema": schema}
    hidden = {"properties": {"token": "x", "inner": {"api_key": "x"}}}
    assert without_secrets(hidden) == {"properties": {"inner": {}}}
    assert list(secrets_in(hidden)) == ["properties.token", "properties.inner.api_key"]
