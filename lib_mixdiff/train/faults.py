"""What stops a training, in sentences that a user can act on."""
from __future__ import annotations


class TrainError(Exception):
    """The message says what is wrong, where, and what helps."""
