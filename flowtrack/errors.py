"""One family of errors.

Every message gives the value, what was expected, and the remedy. Library code
raises; only the command line turns an error into an exit code.
"""

from __future__ import annotations


class FlowtrackError(Exception):
    """Base class of every error that flowtrack raises on purpose."""


class InputError(FlowtrackError, ValueError):
    """A value handed to flowtrack has the wrong type, shape or range."""


class OptionError(FlowtrackError, ValueError):
    """An option is unknown, out of range, or would be ignored."""


class SourceError(FlowtrackError):
    """A video, picture or stream cannot be opened or read."""


class DownloadError(FlowtrackError):
    """A file cannot be downloaded, or is not the file that was asked for."""


class OutputError(FlowtrackError):
    """A result file cannot be written."""


class BundleError(FlowtrackError):
    """A bundle or its manifest is damaged, unsafe or contradictory."""


class EngineError(FlowtrackError):
    """A network cannot be loaded or run on the chosen device."""


class CheckpointError(FlowtrackError):
    """A training checkpoint is unsafe to load or does not fit the network."""


class ExportError(FlowtrackError):
    """A network cannot be exported, or the exported graph failed its verification."""


class DependencyError(FlowtrackError, ImportError):
    """A package that this feature needs is missing, or two installed packages conflict."""
