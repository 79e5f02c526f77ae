"""``dapr run -k -f``: the apps of a run file on a cluster, for as long as the command runs."""
