"""What the tests stand on: real servers, data for them, an independent comparison, a proxy, runs of the command."""
