"""What to read: the servers, their databases, and the parts in which they are copied."""
