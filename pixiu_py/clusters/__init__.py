"""Which endpoints there are, which of them are well, and which one is next. Called by the proxy filters."""
