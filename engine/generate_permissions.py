"""What a user may do to a data set, found out before it is written; the table is `partitioners/generate_rights.py`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .partitioners import acl
from .partitioners.acl import Answers
from .partitioners.control import Control
from .partitioners.generate_rights import CREATING, rights_of_generate
from .permissions import missing
from .workers.churn import operations_for
from .workers.errors import AccessError


def check_generate(control: Control, options: Mapping[str, Any], db: int) -> None:
    """Raise AccessError where a right is missing to write, or to change, a data set. Leaves nothing behind."""
    operations = operations_for(options["types"], options["ops"]) if options["churn"] else ()
    rows = rights_of_generate(
        dict(options["types"]), dict(operations), options["flush"], not options["churn_only"], selects=db != 0
    )
    key = f"{options['prefix']}probe:{os.urandom(16).hex()}".encode()
    creating = [right for right in rows if right.command in CREATING]
    answers = acl.ask(control, [right for right in rows if right not in creating], key)
    removing = [right for right in rows if right.command == "UNLINK"]
    if creating and not any(refusal.right in removing for refusal in answers.refused):
        more = acl.ask(control, [right for one in creating for right in (one, *removing)], key)
        answers = Answers(answers.refused + more.refused, answers.key_refused or more.key_refused)
    if answers.needed:
        raise missing(control, answers, None)
    if answers.key_refused:
        user = control.endpoint.user or "default"
        text = f"permission refused: user {user} may not touch keys that begin with {options['prefix']!r}"
        hint = f"ACL SETUSER {user} ~{options['prefix']}*; or another --prefix"
        raise AccessError(text, side=control.side, address=control.endpoint.address, hint=hint)
