"""Masters with replicas for tests: followed, cut off, synchronised anew; and what a server was asked for."""

from __future__ import annotations

from .live import wait_until
from .servers import Server

#: For masters: a small backlog makes a full resync easy to come by, and none waits for more replicas to join. They send
#: no PING, which a replica would lack for a moment.
MASTER = ("--repl-diskless-sync-delay", "0", "--repl-backlog-size", "16kb", "--repl-ping-replica-period", "3600")
#: What reads keys or values.
READS = {"scan", "get", "mget", "dump", "pexpiretime", "pttl", "exists", "type", "strlen"}


def follow(replica: Server, master: Server) -> None:
    """Make a server a replica, and wait until it has everything."""
    assert replica.call("REPLICAOF", master.host, master.port) == b"OK"
    wait_until(lambda: link_of(replica) == "up", what="the replica did not come up")
    wait_until_in_step(master, replica)


def link_of(replica: Server) -> str:
    """up or down."""
    return replica.info("replication").get("master_link_status", "")


def offset_of(server: Server) -> int:
    """How much of the stream of changes it has."""
    return int(server.info("replication")["master_repl_offset"])


def wait_until_in_step(master: Server, *replicas: Server) -> None:
    """Return once replicas have all that the master has now."""
    goal = offset_of(master)
    for replica in replicas:
        wait_until(lambda: offset_of(replica) >= goal, what="the replica did not get in step")


def synchronise_anew(master: Server, replica: Server, key: str = "missed") -> None:
    """A full resync that changes neither run_id nor master_replid: the backlog is too short for what was missed."""
    before = replica.call("CLIENT", "LIST", "TYPE", "MASTER").split()[0]
    replica.pause()
    master.call("CLIENT", "KILL", "TYPE", "replica")
    for number in range(20):
        master.call("SET", key, b"%d" % number + b"v" * 3_000)
    replica.resume()
    wait_until(lambda: link_of(replica) == "up" and before not in replica.call("CLIENT", "LIST", "TYPE", "MASTER"))


def reads_of(server: Server) -> set[str]:
    """The reading commands that a server has executed since its statistics were last put back."""
    return {name.removeprefix("cmdstat_") for name in server.info("commandstats")} & READS


def forget_reads(*servers: Server) -> None:
    """Put statistics back."""
    for server in servers:
        assert server.call("CONFIG", "RESETSTAT") == b"OK"
