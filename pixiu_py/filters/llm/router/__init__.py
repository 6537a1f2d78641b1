"""``dgp.filter.llm.router``: which models a request is to be tried with, and the model that a conversation stays on.

``filter.py`` is the plugin; ``model.py`` its keys; ``conversation.py`` reads the three client APIs into one shape;
``affinity.py`` is the contract of what keeps a conversation on its model. Deciders (``decider.py``) are a plugin family of
their own.
"""

from pixiu_py.filters.llm.router.filter import LlmRouter
from pixiu_py.filters.llm.router.model import RouterConfig

__all__ = ["LlmRouter", "RouterConfig"]
