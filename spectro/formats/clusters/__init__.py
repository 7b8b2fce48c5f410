"""The objects of the cluster stage: kNN lists, clusters, assigned tokens."""
