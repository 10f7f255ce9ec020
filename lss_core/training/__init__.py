"""From samples to weights, and from weights to figures."""
