"""What the outcome of an attempt means for the request and for the endpoint. Pure.

==================  =======================  ==========================  =======================================
outcome             same endpoint again      another endpoint            held against the endpoint
==================  =======================  ==========================  =======================================
2xx 3xx             no: it is the answer     no                          success
400 404 413 422 …   no: the client's fault   no                          success: it works
401 402 403         no                       yes: the key is at fault    a failure
429                 if the policy has tries  yes                         a rest for Retry-After, no failure
of ``retry_on``     if the policy has tries  yes                         a failure
no head             if the policy has tries  yes                         a failure
==================  =======================  ==========================  =======================================

``retry_on`` has 408, 425, 500, 502, 503 and 504 unless the policy says otherwise; any other status is an answer.
A key that the client brought says nothing about the endpoint: then a 401, 402 or 403 falls back and is held against nobody.
Otherwise one client with a bad key could have every endpoint cool down for all.
"""

from __future__ import annotations

from collections.abc import Collection
from email.utils import parsedate_to_datetime
from enum import Enum


class Verdict(Enum):
    """What to do after an attempt."""

    ANSWER = "answer"  # hand it to the client
    RETRY = "retry"  # try again here while the policy has tries, then elsewhere
    FALL_BACK = "fall back"  # elsewhere at once


class Blame(Enum):
    """What an outcome says about its endpoint."""

    SUCCESS = "success"
    NOTHING = "nothing"
    REST = "rest"
    FAILURE = "failure"


def judge(status: int, retry_on: Collection[int], fall_back_on: Collection[int]) -> Verdict:
    """The verdict on a response with ``status``; 0 stands for an attempt without one."""
    if status in fall_back_on:
        return Verdict.FALL_BACK
    if status == 0 or status in retry_on:
        return Verdict.RETRY
    return Verdict.ANSWER


def blame(status: int, verdict: Verdict, own_key: bool) -> Blame:
    """What is held against an endpoint that ended a request with ``status``, 0 for no response.

    ``own_key`` tells whether the credential was the endpoint's own, not the client's.
    """
    if status == 429:
        return Blame.REST
    if verdict is Verdict.FALL_BACK and not own_key:
        return Blame.NOTHING
    if verdict is not Verdict.ANSWER:
        return Blame.FAILURE
    return Blame.SUCCESS


def retry_after(value: str | None, wall: float) -> float | None:
    """Seconds of a Retry-After field, given as seconds or as a date (RFC 9110 §10.2.3); None if absent or unreadable.

    ``wall`` is the Unix time.
    """
    if value is None:
        return None
    text = value.strip()
    if text.replace(".", "", 1).isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - wall)
    except (ValueError, TypeError):
        return None


def pause(delay: float, asked: float | None, limit: float, elsewhere: bool) -> float | None:
    """Seconds to wait before the next try at the same endpoint; None: make no further try there.

    ``delay`` is the policy's wait, ``asked`` the endpoint's Retry-After, ``limit`` the policy's cap on it, ``elsewhere``
    whether another endpoint could answer meanwhile: then nobody is made to wait for what Retry-After asks.
    """
    if asked is None or asked <= delay:
        return delay
    if asked > limit or elsewhere:
        return None
    return asked
