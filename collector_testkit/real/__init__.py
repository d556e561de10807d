"""The real world: the same lifetimes as real processes on a real disk, killed by a real SIGKILL."""
