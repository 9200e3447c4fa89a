"""The machines that jobs run on: places that carry jobs to a slot, and the host there that runs them in a worker process."""
