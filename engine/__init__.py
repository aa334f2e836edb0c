"""keyferry copies Redis and Valkey databases, and says only what it has proved."""

VERSION = "0.1.0"
