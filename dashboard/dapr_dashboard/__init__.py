"""``dapr-dashboard``: the applications of a machine or a cluster, as pages."""
