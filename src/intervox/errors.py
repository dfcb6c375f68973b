"""The one exception that is the user's to mend."""


class IntervoxError(Exception):
    """Something the caller can put right.

    The message is one sentence that names the file, field or value and the mend. The command line
    prints it without a traceback and exits with code 2.
    """


def missing_extra(package: str, extra: str, purpose: str) -> IntervoxError:
    """Say which optional dependency is absent and how to install it."""
    return IntervoxError(
        f"{purpose} needs the package {package!r}, which is not installed: pip install intervox[{extra}]"
    )
