"""Act: do it, once. Reserve, run, settle; and find out what happened after a crash."""
