"""`spectro.Result`, from a measurement or a stored run, and its forms in other libraries."""
