"""A model that needs no hardware: ``dgp.filter.llm.mock`` answers in the shapes of the OpenAI and Anthropic APIs.

``filter`` takes the request and paces or fails the answer; ``ask`` reads the body; ``model`` makes the text;
``openai``, ``responses``, ``anthropic`` and ``embeddings`` write it down, each in the shape of its API. Only ``filter``
knows time and chance.
"""
