"""The index of prompt prefixes: which of them are cached for whom, how many tokens they have, and until when."""
