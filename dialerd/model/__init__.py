"""Floor 0: what dialerd talks about, as plain values and pure functions of the standard library."""
