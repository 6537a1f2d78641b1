"""From tree to models: keys, nesting, unions, plugins."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
import pytest
from msgspec import Meta, field

from pixiu_py.config.decode import BROKEN, Decoder
from pixiu_py.config.document import parse
from pixiu_py.config.report import Report
from pixiu_py.config.types import Duration, HttpFilterRef, Model, RetryPolicyRef, Secret, doc
from pixiu_py.upstream.retry import BackoffConfig
from tests.fakes.config_kinds import ProxyConfig, small_registry


class Inner(Model, frozen=True, kw_only=True):
    name: str = ""
    size: int


class Block(Model, frozen=True):
    refused_keys: ClassVar[dict[str, str]] = {"wasm": "WASM is not run here"}
    key_aliases: ClassVar[dict[str, str]] = {"number": "count"}

    count: int = 1
    dashed: int = field(default=0, name="dashed-key")
    inner: Inner | None = None
    items: list[Inner] = []
    names: Annotated[list[str], Meta(max_length=2), doc("At most two.")] = []
    labels: dict[str, int] = {}
    free: Any = None
    mixed: list[str | Inner] = []
    either: int | str = 0
    wait: Annotated[Duration | None, Meta(le=60)] = None
    pair: tuple[int, str] = (0, "")
    unique: frozenset[str] = frozenset()
    by_size: dict[Annotated[int, Meta(ge=1)], str] = {}


class Loose(Block, frozen=True):
    case_insensitive: ClassVar[bool] = True


class Checked(Model, frozen=True):
    low: int = 0
    high: int = 1
    word: str = ""

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low is above high {self.word}")


def decode(text: str, kind: Any, **environ: str) -> tuple[Any, list[str], list[str]]:
    """The value, the problems and the warnings of a document."""
    report = Report("f")
    root = parse(text, report, environ, Path())
    assert root is not None
    value = Decoder(small_registry(), report).decode(root, kind, "")
    return value, [_short(problem) for problem in report.problems], [_short(warning) for warning in report.warnings]


def _short(problem: Any) -> str:
    return str(problem).removeprefix("f:")


def good(text: str, kind: Any = Block, **environ: str) -> Any:
    value, problems, _ = decode(text, kind, **environ)
    assert problems == []
    return value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("count: 5", Block(count=5)),
        ("dashed-key: 5", Block(dashed=5)),
        ("inner: {size: 1}", Block(inner=Inner(size=1))),
        ("inner: ~", Block()),
        ("items: [{size: 1}, {size: 2}]", Block(items=[Inner(size=1), Inner(size=2)])),
        ("names: [a, b]", Block(names=["a", "b"])),
        ("labels: {on: 1, 8080: 2}", Block(labels={"on": 1, "8080": 2})),
        ("free: {a: [1, ~]}", Block(free={"a": [1, None]})),
        ("mixed: [a, {size: 1}]", Block(mixed=["a", Inner(size=1)])),
        ("either: 5", Block(either=5)),
        ("either: '5'", Block(either="5")),
        ("wait: 5s", Block(wait=5.0)),
        ("pair: [1, a]", Block(pair=(1, "a"))),
        ("unique: [a, a]", Block(unique=frozenset("a"))),
        ("by_size: {1: a, '2': b}", Block(by_size={1: "a", 2: "b"})),
    ],
)
def test_values_become_what_their_types_say(text: str, expected: Block) -> None:
    found = good(text)
    assert found == expected
    assert repr(found) == repr(expected)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cuont: 5", "1:1: cuont: Unknown key; did you mean 'count'?"),
        ("zzz: 5", "1:1: zzz: Unknown key"),
        ("Count: 5", "1:1: Count: Unknown key; did you mean 'count'?"),
        ("dashed: 5", "1:1: dashed: Unknown key; did you mean 'dashed-key'?"),
        ("wasm: {}", "1:1: wasm: WASM is not run here"),
        ("inner: {}", "1:8: inner.size: This key is required"),
        ("inner: x", "1:8: inner: Expected a mapping, got str"),
        ("items: {}", "1:8: items: Expected a list, got a mapping"),
        ("items: [{size: 1}, {size: x}]", "1:27: items[1].size: Expected int, got str"),
        ("items: [~]", "1:9: items[0]: Expected a mapping, got null"),
        ("names: [a, b, c]", "1:8: names: Expected a list of length <= 2, got 3"),
        ("names: [1]", "1:9: names[0]: Expected str, got 1; write it in quotes"),
        ("labels: {a: b}", "1:13: labels.a: Expected int, got str"),
        ("labels: []", "1:9: labels: Expected a mapping, got a list"),
        ("mixed: [[a]]", "1:9: mixed[0]: Expected str or a mapping, got a list"),
        ("mixed: [{size: x}]", "1:16: mixed[0].size: Expected int, got str"),
        ("either: 1.5", "1:9: either: Expected int, got 1.5"),
        ("wait: 5", "1:7: wait: Expected a duration such as 500ms, 20s or 1h30m, got 5"),
        ("wait: 2m", "1:7: wait: Expected seconds <= 60.0, got 2m"),
        ("pair: [1]", "1:7: pair: Expected a list of length >= 2, got 1"),
        ("by_size: {0: a}", "1:11: by_size.0: Expected int >= 1, got str"),
        ("count: ~", "1:8: count: Expected int, got null"),
    ],
)
def test_each_mistake_is_told_where_it_stands(text: str, problem: str) -> None:
    assert decode(text, Block)[1] == [problem]


def test_all_mistakes_are_told_at_once() -> None:
    text = "cuont: 1\ncount: x\nitems:\n- {size: a, nmae: b}\n- {}\n"
    assert len(decode(text, Block)[1]) == 5


def test_blocks_without_content_count_as_absent() -> None:
    assert good("items:\nlabels:\nnames: ~\n") == Block()


def test_keys_of_outer_blocks_ignore_case() -> None:
    assert good("COUNT: 2\nDashed-Key: 3\n", Loose) == Loose(count=2, dashed=3)
    assert decode("WASM: 1\nCount: 1\ncount: 2", Loose)[1] == [
        "1:1: WASM: WASM is not run here",
        "3:1: count: 'count' is already given on line 2",
    ]


def test_an_older_spelling_works_with_a_warning() -> None:
    value, problems, warnings = decode("number: 7", Block)
    assert (value.count, problems, warnings) == (7, [], ["1:1: number: 'number' is an older spelling of 'count'"])


def test_a_block_may_check_itself() -> None:
    assert decode("low: 2", Checked)[1] == ["1:1: low is above high "]


def test_a_block_with_broken_values_does_not_check_itself() -> None:
    value, problems, _ = decode("low: 2\nhigh: x\n", Checked)
    assert (value, problems) == (BROKEN, ["2:7: high: Expected int, got str"])


def test_a_block_that_checks_itself_cannot_tell_a_value_from_outside() -> None:
    assert decode("low: 2\nword: ${W}\n", Checked, W="xyz")[1] == ["1:1: low is above high (the value from ${W})"]


def test_whatever_a_blocks_own_check_raises_becomes_a_problem() -> None:
    class Careless(Model, frozen=True):
        pattern: str = ""

        def __post_init__(self) -> None:
            re.compile(self.pattern)

    [problem] = decode("pattern: '('", Careless)[1]
    assert problem.startswith("1:1: error: missing ), unterminated subpattern")


def test_an_empty_variable_is_no_number_but_an_empty_text() -> None:
    class Optional(Model, frozen=True):
        number: int | None = 1
        text: str | None = "x"

    assert good("number: ${E}\ntext: ${E}\n", Optional, E="") == Optional(number=None, text="")
    assert good("number:\ntext:\n", Optional) == Optional(number=None, text=None)


def test_a_partial_block_keeps_what_could_be_decoded() -> None:
    value, _, _ = decode("count: x\nnames: [a]\n", Block)
    assert (value.count, value.names) == (BROKEN, ["a"])


def test_secrets_are_wrapped() -> None:
    class WithKey(Model, frozen=True):
        key: Secret | None = None

    assert good("key: ${K}", WithKey, K="0123").key == Secret("0123")
    assert good("key: ~", WithKey).key is None


# --- plugins ---------------------------------------------------------------------------------------------------------


def test_a_plugins_config_is_decoded_into_its_model() -> None:
    assert good("name: dgp.filter.llm.proxy\nconfig: {timeout: 5s}\n", HttpFilterRef).config == ProxyConfig(timeout=5.0)


@pytest.mark.parametrize("text", ["name: dgp.filter.llm.proxy", "name: dgp.filter.llm.proxy\nconfig:"])
def test_an_absent_config_is_an_empty_one(text: str) -> None:
    assert good(text, HttpFilterRef).config == ProxyConfig()


def test_an_absent_config_still_lacks_its_required_keys() -> None:
    assert decode("name: dgp.filter.llm.tokenizer", HttpFilterRef)[1] == ["1:1: config.key: This key is required"]


def test_config_blocks_are_strict_about_case() -> None:
    assert decode("name: dgp.filter.llm.proxy\nconfig: {Scheme: http}", HttpFilterRef)[1] == [
        "2:10: config.Scheme: Unknown key; did you mean 'scheme'?"
    ]


def test_an_unknown_kind_gets_a_suggestion_and_its_config_is_left_alone() -> None:
    assert decode("name: dgp.filter.llm.prox\nconfig: {x: y}", HttpFilterRef)[1] == [
        "1:7: name: Unknown http filter 'dgp.filter.llm.prox'; did you mean 'dgp.filter.llm.proxy'?"
    ]


def test_an_alias_becomes_the_kind_with_a_warning() -> None:
    value, _, warnings = decode("name: old.llm.proxy", HttpFilterRef)
    assert value.name == "dgp.filter.llm.proxy"
    assert warnings == ["1:7: name: 'old.llm.proxy' is an older spelling of 'dgp.filter.llm.proxy'"]


def test_retry_policies_ignore_case_as_pixiu_does() -> None:
    value = good("name: EXPONENTIALbackoff\nconfig: {times: '4'}", RetryPolicyRef)
    assert (value.name, value.config) == ("ExponentialBackoff", BackoffConfig(times=4))


def test_a_kind_of_pixius_that_is_not_spoken_is_refused_with_a_reason() -> None:
    assert "WASM" in decode("name: dgp.filter.http.webassembly", HttpFilterRef)[1][0]


def test_the_default_of_a_reference_gets_its_config_too() -> None:
    class WithPolicy(Model, frozen=True):
        retry: RetryPolicyRef = field(default_factory=lambda: RetryPolicyRef(name="CountBased", config={"times": 9}))

    assert good("{}", WithPolicy).retry.config.times == 9


def test_results_are_frozen() -> None:
    value = good("count: 1")
    with pytest.raises(AttributeError):
        value.count = 2
    assert msgspec.structs.astuple(value)[0] == 1
