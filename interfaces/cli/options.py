"""Settings as the command line changed them."""

import argparse

from infrastructure.settings.service import Settings, load_settings

_FLAGS = {
    "host": "host",
    "port": "port",
    "ui_port": "ui_port",
    "api_url": "api_url",
    "data_dir": "data_dir",
}


def settings_from(options: argparse.Namespace) -> Settings:
    """Raises SettingsError."""
    given = vars(options)
    overrides = {
        setting: given[flag] for flag, setting in _FLAGS.items() if given.get(flag) is not None
    }
    return load_settings(**overrides)
