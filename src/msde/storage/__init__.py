"""Arrays and records as files."""
