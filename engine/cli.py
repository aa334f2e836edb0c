"""The command `keyferry`: parse, dispatch, and one line for whatever goes wrong."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

from . import VERSION
from .environment import variable
from .grammar import Invocation, parse
from .logs import DEBUG, ERROR, INFO, NOTICE, Log
from .options import BY_NAME
from .output import check_results, hold_standard_streams, say_result
from .workers.errors import EXIT_OK, EXIT_SIGNAL, InternalError, KeyferryError, UsageError

_FORMAT = "--log-format"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    hold_standard_streams()
    words = sys.argv[1:] if argv is None else argv
    log = _log_of(words, os.environ)
    try:
        call = parse(words, os.environ)
        if call.version:
            say_result(f"keyferry {VERSION}")
            return EXIT_OK
        if call.help:
            from .help import text

            say_result(text(call.command))
            return EXIT_OK
        log = make_log(call)
    except UsageError as error:
        log.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_SIGNAL + signal.SIGINT
    except Exception as error:
        return _bug(error, log)
    _forget_secrets()
    # Who asks for the status line (`signals`) before there is one, or after, does not mean to end the run.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        return dispatch(call, log)
    finally:
        # Nothing is left that a signal could end in order; Python's own end is not to be interrupted.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        log.close()


def dispatch(call: Invocation, log: Log) -> int:
    """Run a command; every error becomes a line, a hint and an exit code."""
    from .signals import Ended

    for warning in call.warnings:
        log.warning(warning)
    try:
        command = import_module(f".commands.{call.command}", __package__)
        exit_code = int(command.run(call, log))
        check_results()
        return exit_code
    except KeyferryError as error:
        _debug(log)
        log.error(error)
        return error.exit_code
    except Ended as ended:
        return EXIT_SIGNAL + ended.number
    except KeyboardInterrupt:
        return EXIT_SIGNAL + signal.SIGINT
    except Exception as error:
        return _bug(error, log)


def _bug(error: Exception, log: Log) -> int:
    """Tell of an error that nobody has foreseen; the exit code."""
    _debug(log)
    bug = InternalError(f"{type(error).__name__}: {error}", hint="please report this; -d shows where it happened")
    log.error(bug)
    return bug.exit_code


def _log_of(words: Sequence[str], environ: Mapping[str, str]) -> Log:
    """The log for what is wrong with the words: in the form that they seem to ask for, though nobody has read them."""
    flags = [word.partition("=") for word in words]
    said = [text if sign else (*words, "")[at] for at, (name, sign, text) in enumerate(flags, 1) if name == _FORMAT]
    form = (*said, environ.get(variable(BY_NAME["log-format"]), ""))[0]
    level = DEBUG if {"-d", "--debug"} & set(words) else NOTICE
    return Log(level, "json" if form == "json" else "text", color="--no-color" not in words)


def make_log(call: Invocation, usual: int = NOTICE) -> Log:
    """The log that the global options ask for; of the `usual` level where they name none."""
    chosen = call.options
    level = ERROR if chosen["quiet"] else DEBUG if chosen["debug"] else INFO if chosen["info"] else usual
    return Log(level, chosen["log_format"] or "text", chosen["log_file"] or "", color=not chosen["no_color"])


def _debug(log: Log) -> None:
    import traceback

    log.debug(traceback.format_exc())


def _forget_secrets() -> None:
    """Workers inherit the environment: what it said about passwords has been read, and stays here."""
    for name in list(os.environ):
        if name == "REDISCLI_AUTH" or (name.startswith("KEYFERRY_") and name.endswith(("_PASS", "_URI"))):
            del os.environ[name]
