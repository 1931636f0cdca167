"""What comes in: who asks, and uploads before and when they are kept."""
