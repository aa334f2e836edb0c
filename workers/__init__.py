"""How to read and write: the wire, the connections and the event loop of a worker process."""
