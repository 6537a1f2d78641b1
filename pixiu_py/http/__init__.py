"""One exchange over one client connection: parsed, carried through the stages, written. Called by the listeners."""
