"""Results for other systems, one file a format."""
