"""The reader study: people, protocol, reading, audit. Runs without torch."""
