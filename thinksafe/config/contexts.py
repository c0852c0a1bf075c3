"""Safety contexts of a method: the known ones, or those in a file of the team's own."""

from __future__ import annotations

from thinksafe.config.document import LONGEST, read_yaml
from thinksafe.errors import InputError
from thinksafe.methods.base import Method
from thinksafe.methods.contexts import Context, context_named, contexts_in, known_contexts
from thinksafe.store.remote import local_file


def contexts_of(method: Method) -> tuple[Context, ...]:
    """Return the contexts from which the diagnosis chooses the one of training; none if there is nothing to choose.

    Raises:
        InputError: the file is missing or not text, or a context in it cannot be used.
        ConfigError: the file is not YAML, or a name repeats.
        StoreError: an object cannot be read.
    """
    choice = method.context_choice()
    if choice is None:
        return ()
    found = read_contexts(choice.file) if choice.file else known_contexts()
    return (context_named(choice.only, found, _named(choice.file)),) if choice.only else found


def read_contexts(address: str) -> tuple[Context, ...]:
    """Return the contexts in a file, in the order of their names.

    Args:
        address: Local path, or ``s3://bucket/key``.

    Raises:
        ThinkSafeError: as :func:`contexts_of`.
    """
    with local_file(address) as path:
        try:
            with path.open(encoding="utf-8-sig") as stream:
                text = stream.read(LONGEST + 1)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise InputError(f"Cannot read {_named(address)}: {reason}.", "Name a YAML file.") from error
    value, lines = read_yaml(_named(address), text)
    return contexts_in(value, _named(address), lines)


def _named(address: str) -> str:
    return f"method.contexts {address!r}" if address else "the shipped contexts"
