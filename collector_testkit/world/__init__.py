"""The world: everything that outlives a process - disk, broker, source, clock."""
