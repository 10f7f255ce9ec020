"""A study of simulated cases and simulated readers, marked as such everywhere: something to show on every page."""
