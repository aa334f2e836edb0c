"""Killing connections that were given up, so that their last bytes are not executed after what replaces them."""

from __future__ import annotations

from .partitioners.control import Control, ReplyError
from .workers.resp import info_fields
from .workers.task import Node


def kill_clients(control: Control, node: Node, client_ids: list[int]) -> str:
    """Kill connections of the process `node` by their CLIENT IDs; the server's words where it does not let us, or "".

    A process that has taken its place has other connections under these numbers; those of the old one died with it.
    Raises AccessError where the server is not reached.
    """
    if not client_ids:
        return ""
    info = control.call("INFO", "server")
    found = info_fields(info).get("run_id", "") if isinstance(info, bytes) else ""
    if node.run_id and found and found != node.run_id:
        return ""
    for client_id in client_ids:
        reply = control.call("CLIENT", "KILL", "ID", client_id)
        if isinstance(reply, ReplyError) and not str(reply).startswith("ERR No such client"):
            return str(reply)
    return ""
