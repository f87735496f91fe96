"""Which masks are evaluated, and how often each one counts."""
