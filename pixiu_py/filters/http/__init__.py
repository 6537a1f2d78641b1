"""Filters for any HTTP traffic."""
