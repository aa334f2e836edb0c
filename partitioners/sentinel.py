"""Sentinels: where a service's master is, as those say who watch it."""

from __future__ import annotations

from dataclasses import replace

from ..workers.endpoint import Endpoint
from ..workers.errors import AccessError, UnreachedError
from ..workers.policy import is_denied
from .control import Control, ReplyError

#: A Sentinel has so long to answer, as there are others.
ANSWER_S = 5.0
#: All that their user has to be allowed.
RULE = "+sentinel|get-master-addr-by-name"


def master_of(service: Endpoint, side: str) -> Endpoint:
    """The master of a service: the endpoint itself, at the address that the first Sentinel that answers tells.

    Raises UnreachedError where none answers, AccessError where they refuse us or do not know the service.
    """
    last: AccessError | None = None
    for host, port in service.sentinels:
        control = Control(_sentinel(service, host, port), side)
        try:
            control.open()
            return _asked(control, service)
        except UnreachedError as error:
            last = error
        finally:
            control.close()
    assert last is not None
    text = f"{last.message} (the last of {len(service.sentinels)} Sentinels)"
    raise UnreachedError(text, side=side, address=last.address, hint="are the Sentinels running there?")


def _sentinel(service: Endpoint, host: str, port: int) -> Endpoint:
    user, password = service.sentinel_user, service.sentinel_password
    return replace(service.within(ANSWER_S), host=host, port=port, user=user, password=password)


def _asked(control: Control, service: Endpoint) -> Endpoint:
    reply = control.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service.service)
    if is_denied(reply):
        user = control.endpoint.user or "default"
        raise AccessError(
            f"permission refused: user {user} may not run SENTINEL GET-MASTER-ADDR-BY-NAME",
            side=control.side,
            address=control.endpoint.address,
            hint=f"ACL SETUSER {user} {RULE}",
        )
    if isinstance(reply, ReplyError):
        raise control.refused("not a Sentinel", reply)
    if reply is None:
        known = control.call("SENTINEL", "MASTERS")
        names = [dict(zip(one[::2], one[1::2]))[b"name"].decode() for one in known] if isinstance(known, list) else []
        raise AccessError(
            f"the Sentinels know no service {service.service!r}",
            side=control.side,
            address=control.endpoint.address,
            hint=f"they know {', '.join(names)}" if names else "they know none",
        )
    return service.at(reply[0].decode(), int(reply[1]))
