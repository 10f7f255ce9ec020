"""The study's page, for those who run a study: build it, invite, lock, watch, close, export."""
