"""Object storage: local disk, S3 and fsspec behind one interface; retries, checksums, locations."""
