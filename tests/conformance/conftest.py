"""Kinds are started with defaults here, and some of these are files in the working directory."""

from __future__ import annotations

from tests.fakes.folder import folder

__all__ = ["folder"]
