"""`chatledger audit public-key`."""

import argparse

from infrastructure.proofs.checkpoints.signing_key import SigningKey
from interfaces.cli.options import settings_from


def public_key(options: argparse.Namespace) -> int:
    """Makes the signing key where there is none yet, so that the key can be given out before the
    service has started for the first time."""
    settings = settings_from(options)
    print(SigningKey.from_file(settings.checkpoint_key_file).public.pem, end="")
    return 0
