"""The steps of a deployment by hand: bring a version up, wait for it, switch traffic."""
