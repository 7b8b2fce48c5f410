"""`spectro calibrate`: how to spend a budget, from a short pilot."""
