"""Units of work and who does them: driver, worker pools, Ray, heartbeats, retries."""
