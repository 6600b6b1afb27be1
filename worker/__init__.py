"""The worker's door: Celery hands over a nudge, the crew claims jobs and works on them."""
