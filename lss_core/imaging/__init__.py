"""Files to volumes."""
