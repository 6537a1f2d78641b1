"""Counters that need nobody else: only what is new is counted, from where the read ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from pixiu_py.errors import StartError
from pixiu_py.filters.llm.promptcache.blocks import Breakpoint
from pixiu_py.filters.llm.promptcache.count import CountFailed, Estimate, FileCounter
from tests.fakes.promptcache import Words, chat, prompt, text, user

FOUR = chat(user(text("a b"), text("c", ""), text("d e f"), text("g", ""), text("unmarked tail")))


async def test_the_whole_prefix_is_counted_up_to_each_mark() -> None:
    counter = Words()
    points = prompt(FOUR).breakpoints
    assert await counter.count("m", prompt(FOUR), -1, 0, points) == [3, 7]
    assert counter.asked == [["a b", "c", "d e f", "g"]], "nothing behind the last mark"


async def test_only_what_is_behind_the_read_is_counted() -> None:
    counter = Words()
    assert await counter.count("m", prompt(FOUR), 1, 100, [Breakpoint(3, "5m")]) == [104]
    assert counter.asked == [["d e f", "g"]]


async def test_a_counter_that_answers_too_little_has_failed() -> None:
    class Short(Words):
        async def segments(self, model: str, texts: list[str]) -> list[int]:
            return [1]

    with pytest.raises(CountFailed) as failed:
        await Short().count("m", prompt(FOUR), -1, 0, [Breakpoint(1, "5m")])
    assert failed.value.reason == "count_mismatch"


async def test_the_estimate_is_four_bytes_for_a_token_and_says_what_it_is() -> None:
    counter = Estimate()
    assert await counter.segments("m", ["", "a", "abcd", "äöüß!"]) == [0, 1, 1, 3]
    assert counter.estimated
    assert "estimate" in await counter.version("m")


# --- a file ----------------------------------------------------------------------------------------------------------


def tokenizer_file(folder: Path, words: str) -> Path:
    vocabulary = {word: number for number, word in enumerate(["?", *words.split()])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    path = folder / f"{len(words)}.json"
    tokenizer.save(str(path))
    return path


async def test_a_file_counts_and_its_digest_is_its_version(tmp_path: Path) -> None:
    one, other = (FileCounter(str(tokenizer_file(tmp_path, words))) for words in ("hello world", "hello"))
    await one.start()
    await other.start()
    assert await one.segments("m", ["hello, big world", ""]) == [4, 0]
    assert await one.version("m") == await one.version("other")
    assert await one.version("m") != await other.version("m")
    assert not one.estimated


async def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot be read: No such file"):
        await FileCounter(str(tmp_path / "none.json")).start()


async def test_a_file_that_is_no_tokenizer_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(StartError, match=r"is no tokenizer\.json"):
        await FileCounter(str(tmp_path / "x.json")).start()


async def test_without_the_package_the_start_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(StartError, match=r"pixiu-py\[tokenizers\]"):
        await FileCounter(str(tmp_path / "x.json")).start()
