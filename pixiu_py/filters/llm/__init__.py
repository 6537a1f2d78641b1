"""Filters that know what a language model is asked and answers."""
