"""Where facts come from: the processes and files of this machine, or a cluster."""
