"""What the service keeps: database, queue, outbox and files."""
