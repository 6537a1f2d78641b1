"""State that outlives a request or a process, behind one small contract. Nothing needs it so far."""
