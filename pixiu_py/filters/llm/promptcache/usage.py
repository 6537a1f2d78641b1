"""The ``usage`` of an answer: what the endpoint counted, and what it says once the split is in it. Pure.

Chat completions say the split in both families of fields, OpenAI's and Anthropic's; their ``prompt_tokens``, like the
``input_tokens`` of Responses, are the whole input. Anthropic's ``input_tokens`` are what is neither read nor written.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import orjson

from pixiu_py.filters.llm.promptcache.blocks import CHAT, MESSAGES, Api
from pixiu_py.http.json_spans import Edit, Shape, apply, end_of, find
from pixiu_py.stores.ledger.cost import MOST_TOKENS, Tokens, capped
from pixiu_py.stores.promptcache.base import Tier

#: What endpoints write about caches of their own. With ``replace`` none of it is left.
FOREIGN = frozenset(
    (
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation",
        "prompt_cache_hit_tokens",
        "prompt_cache_miss_tokens",
        "cache_discount",
    )
)
_TIER_FIELDS = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens", "ephemeral_24h_input_tokens")


class Split(NamedTuple):
    """Input tokens by class, without those that are neither."""

    read: int = 0
    write_5m: int = 0
    write_1h: int = 0
    write_24h: int = 0

    def plus(self, tier: Tier, tokens: int) -> Split:
        """With so many more tokens written for ``tier``."""
        values = {f"write_{tier}": getattr(self, f"write_{tier}") + tokens}
        return self._replace(**values)

    @property
    def written(self) -> int:
        """Written, for whichever time."""
        return self.write_5m + self.write_1h + self.write_24h


ZERO = Split()


class Told(NamedTuple):
    """A usage object after the split has been put in."""

    usage: dict[str, Any]
    #: What it says, for the books.
    tokens: Tokens
    #: The split was larger than the input.
    was_capped: bool = False


def counted(value: Any) -> int:
    """A number of tokens; anything that is none counts as 0."""
    if type(value) is int:
        return value if 0 <= value <= MOST_TOKENS else 0
    return int(value) if type(value) is float and 0 <= value <= MOST_TOKENS else 0


def _has_count(usage: dict[str, Any], key: str) -> bool:
    value = usage.get(key)
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def foreign(api: Api, usage: dict[str, Any]) -> Split:
    """What the endpoint says of a cache of its own."""
    details = usage.get(_details_key(api))
    listed = counted(details.get("cached_tokens")) if type(details) is dict else 0
    read = counted(usage.get("cache_read_input_tokens")) or listed or counted(usage.get("prompt_cache_hit_tokens"))
    by_tier = usage.get("cache_creation")
    if type(by_tier) is dict:
        tiers = [counted(by_tier.get(field)) for field in _TIER_FIELDS]
        if any(tiers):
            return Split(read, *tiers)
    return Split(read, counted(usage.get("cache_creation_input_tokens")))


def totals(api: Api, usage: dict[str, Any]) -> Tokens:
    """Whole input and output, as the endpoint counted them; no split."""
    if api is CHAT:
        return Tokens(counted(usage.get("prompt_tokens")), counted(usage.get("completion_tokens")))
    prompt = counted(usage.get("input_tokens"))
    if api is MESSAGES:  # beside it stands what was read and written
        prompt += counted(usage.get("cache_read_input_tokens")) + counted(usage.get("cache_creation_input_tokens"))
    return Tokens(prompt, counted(usage.get("output_tokens")))


def _own(usage: dict[str, Any]) -> dict[str, Any]:
    """A copy without what the endpoint says of its cache."""
    changed = usage.copy()
    if not FOREIGN.isdisjoint(changed):
        for name in FOREIGN:
            changed.pop(name, None)
    return changed


def _details_key(api: Api) -> str:
    return "prompt_tokens_details" if api is CHAT else "input_tokens_details"


def told(api: Api, usage: dict[str, Any], split: Split, prompt: int | None = None) -> Told:
    """``usage`` with this split instead of what the endpoint says, cut to the input.

    ``prompt``: the whole input if it is known from elsewhere and this object does not say it. Where nobody says it, nothing
    is cut.
    """
    if split is ZERO and api is CHAT and FOREIGN.isdisjoint(usage):
        return _told_zeros(usage)
    sums = totals(api, usage)
    key = "prompt_tokens" if api is CHAT else "input_tokens"
    is_known = _has_count(usage, key)
    if not is_known and prompt is not None:
        sums, is_known = sums._replace(prompt=prompt), True
    fitted = split
    if is_known and split is not ZERO:
        cut = capped(Tokens(sums.prompt, 0, *split))
        fitted = Split(cut.read, cut.write_5m, cut.write_1h, cut.write_24h)
    changed = _own(usage)
    if api is MESSAGES:
        if is_known:
            changed[key] = sums.prompt - fitted.read - fitted.written
    else:
        _tell_details(changed, _details_key(api), fitted, with_writes=api is not CHAT)
    if api is CHAT or api is MESSAGES:
        changed["cache_read_input_tokens"] = fitted.read
        changed["cache_creation_input_tokens"] = fitted.written
        changed["cache_creation"] = {
            "ephemeral_5m_input_tokens": fitted.write_5m,
            "ephemeral_1h_input_tokens": fitted.write_1h,
            "ephemeral_24h_input_tokens": fitted.write_24h,
        }
    return Told(changed, Tokens(sums.prompt, sums.completion, *fitted), fitted != split)


def _told_zeros(usage: dict[str, Any]) -> Told:
    """The same, in short, for the most frequent case: a chat without a split."""
    changed = {
        **usage,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cache_creation": dict.fromkeys(_TIER_FIELDS, 0),
    }
    _tell_details(changed, "prompt_tokens_details", ZERO, with_writes=False)
    return Told(changed, Tokens(counted(usage.get("prompt_tokens")), counted(usage.get("completion_tokens"))))


def _tell_details(usage: dict[str, Any], key: str, split: Split, *, with_writes: bool) -> None:
    details = usage.get(key)
    if details is not None and type(details) is not dict:
        return  # not ours to mend
    details = {**(details or {}), "cached_tokens": split.read}
    if with_writes:
        details["cache_write_tokens"] = split.written
    usage[key] = details


def scrubbed(api: Api, usage: dict[str, Any]) -> dict[str, Any] | None:
    """``usage`` without what the endpoint says of its own cache; None when it says nothing."""
    details = usage.get(_details_key(api))
    listed = details.get("cached_tokens", 0) if type(details) is dict else 0
    is_dirty = listed != 0 or type(listed) is not int
    if not is_dirty and FOREIGN.isdisjoint(usage):
        return None
    changed = _own(usage)
    if is_dirty and type(details) is dict:
        changed[_details_key(api)] = {**details, "cached_tokens": 0}
    if api is MESSAGES and _has_count(usage, "input_tokens"):
        changed["input_tokens"] = totals(api, usage).prompt
    return changed


# --- in its place ----------------------------------------------------------------------------------------------------

#: In JSON these bytes are the key and nothing else: inside of a text the quotes would be escaped.
has_usage = re.compile(rb'"usage"\s*:\s*\{').search
_USAGE_KEY = re.compile(rb'"usage"\s*:\s*(?=\{)').match


def replaced(text: bytes, path: tuple[str, ...], new: dict[str, Any]) -> bytes:
    """``text``, a JSON document, with ``new`` for the object at ``path``, which ends in ``usage``. All else stays."""
    found = _USAGE_KEY(text, text.find(b'"usage"')) if text.count(b'"usage"') == 1 else None
    if found is not None:
        start = found.end()
        return b"%b%b%b" % (text[:start], orjson.dumps(new), text[end_of(text, start) :])
    shape = Shape("usage")
    for key in reversed(path):
        shape = Shape("", {key: shape})
    spans = [(container.start, container.end) for container in find(text, shape)]
    return apply(text, [Edit(*spans[-1], orjson.dumps(new))] if spans else ())  # of equal keys the last one counts
