"""Volume to graded levels."""
