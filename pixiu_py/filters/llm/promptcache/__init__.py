"""``dgp.filter.llm.promptcache``: tells in ``usage`` what was read from a prompt cache and what was written to it.

Nothing is cached but hashes: every request runs in full. ``markers.py`` and ``blocks.py`` read what the client has marked,
``prefixes.py`` hashes it, ``classify.py`` decides what of it is read and what written, ``usage.py`` puts that into words,
``document.py`` and ``events.py`` into the answer, and ``commit.py`` into the index. ``filter.py`` is the plugin.
"""
