"""What is done to the registry: everybody's, but for the keys, which nobody is shown."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import rule
from private_store import PrivateStore

ENDPOINT = "http://127.0.0.1:9/v1"
some_provider = st.sampled_from(["one", "two"])
some_llm = st.sampled_from(["big", "small"])
Deed = Callable[["PrivateRegistry", str, str, str], None]
DEEDS: list[Deed] = [
    lambda self, provider, *_: self.add_provider(provider),
    lambda self, provider, *_: self.change_provider(provider),
    lambda self, provider, *_: self.delete_provider(provider),
    lambda self, *_: self.list_providers(),
    lambda self, provider, llm, _: self.add_llm(provider, llm),
    lambda self, provider, llm, new: self.rename_llm(provider, llm, new),
    lambda self, provider, llm, _: self.delete_llm(provider, llm),
    lambda self, provider, *_: self.list_llms(provider),
]
some_deed = st.sampled_from(DEEDS)


class PrivateRegistry(PrivateStore):
    """Two names of providers, and two of LLMs."""

    def __init__(self) -> None:
        self.registered: dict[str, set[str]] = {}
        super().__init__()

    def new_secret(self) -> str:
        self.secrets.append(f"sk-{next(self.numbers)}-")
        return self.secrets[-1]

    @rule(do=some_deed, provider=some_provider, llm=some_llm, new=some_llm)
    def use_registry(self, do: Deed, provider: str, llm: str, new: str) -> None:
        """All in one rule: what users do is to be drawn more often."""
        do(self, provider, llm, new)

    def add_provider(self, name: str) -> None:
        reach = {"api_endpoint": ENDPOINT, "api_key": self.new_secret()}
        self.check(self.do("LLM_PROVIDER_ADD", name=name, **reach), name not in self.registered)
        self.registered.setdefault(name, set())
        self.see_gone(self.secrets)

    def change_provider(self, name: str) -> None:
        answer = self.do("LLM_PROVIDER_UPDATE", provider_name=name, api_key=self.new_secret())
        self.check(answer, name in self.registered)
        self.see_gone(self.secrets)

    def delete_provider(self, name: str) -> None:
        answer = self.do("LLM_PROVIDER_DELETE", provider_name=name)
        self.check(answer, self.registered.pop(name, None) is not None)

    def list_providers(self) -> None:
        listed = self.do("LLM_PROVIDER_LIST")["data"]["providers"]
        assert {each["name"] for each in listed} == {"echo", *self.registered}
        assert {each["name"] for each in listed if each["has_key"]} == self.registered.keys()

    def add_llm(self, provider: str, llm: str) -> None:
        llms = self.registered.get(provider)
        answer = self.do("LLM_ADD", provider_name=provider, llm_name=llm)
        self.check(answer, llms is not None and llm not in llms)
        if llms is not None:
            llms.add(llm)

    def rename_llm(self, provider: str, llm: str, new: str) -> None:
        llms = self.registered.get(provider, set())
        answer = self.do("LLM_UPDATE", provider_name=provider, llm_name=llm, new_name=new)
        allowed = llm in llms and (new == llm or new not in llms)
        self.check(answer, allowed)
        if allowed:
            llms.discard(llm)
            llms.add(new)

    def delete_llm(self, provider: str, llm: str) -> None:
        llms = self.registered.get(provider, set())
        answer = self.do("LLM_DELETE", provider_name=provider, llm_name=llm)
        self.check(answer, llm in llms)
        llms.discard(llm)

    def list_llms(self, provider: str) -> None:
        listed = self.do("LLM_LIST")["data"]["llms"]
        due = sorted(["echo", *(llm for llms in self.registered.values() for llm in llms)])
        assert sorted(each["name"] for each in listed) == due
        answer = self.do("LLM_LIST_BY_PROVIDER", provider_name=provider)
        self.check(answer, provider in self.registered)
        if provider in self.registered:
            listed = answer["data"]["llms"]
            assert {each["name"] for each in listed} == self.registered[provider]
