"""One Redis client for every Redis component: hiredis, auto-pipelining, own reconnects."""
