"""State that outlives a request or a process, behind small contracts."""
