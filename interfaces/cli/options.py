"""What all commands do with their options: settings as the command line changed them, and a refusal
of options that contradict each other or the ledger."""

import argparse

from infrastructure.settings.service import Settings, load_settings

_FLAGS = {
    "host": "host",
    "port": "port",
    "ui_port": "ui_port",
    "api_url": "api_url",
    "data_dir": "data_dir",
}


class OptionsRefused(Exception):
    """Each option can be read, but together, or for this ledger, they make no sense; the text says
    what to change."""


def settings_from(options: argparse.Namespace) -> Settings:
    """Raises SettingsError."""
    given = vars(options)
    overrides = {
        setting: given[flag] for flag, setting in _FLAGS.items() if given.get(flag) is not None
    }
    return load_settings(**overrides)
