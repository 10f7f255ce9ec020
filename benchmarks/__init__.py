"""Commands that measure; each prints what it measured, as a ratio to a floor or peer of the same run."""
