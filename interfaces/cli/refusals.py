"""One sentence for each thing that can be wrong with the operator's machine or settings."""

import errno


class CannotStart(Exception):
    """The text says what to do."""


def explain(error: Exception) -> str:
    """Raises the error itself when it is not an expected one: then the trace is the report."""
    import psycopg
    from eventsourcing.persistence import MapperDeserialisationError

    from domain.errors import Refusal
    from infrastructure.backup.archive import BackupRefused
    from infrastructure.database.migrate import MigrationError
    from infrastructure.embedded.errors import EmbeddedServerError
    from infrastructure.exports.formats import ExportRefused
    from infrastructure.inference.prepared.errors import PreparationError
    from infrastructure.log.scan import NoLedger
    from infrastructure.log.state import LogUnsealed, OtherKeys
    from infrastructure.log.workers import WorkersLost
    from infrastructure.proofs.checkpoints.signing_key import KeyUnusable
    from infrastructure.read_models.rebuild.rebuild import ReadModelsBusy, RebuildInProgress
    from infrastructure.secrets.ledger_key_file import LedgerKeyError
    from infrastructure.settings.service import SettingsError
    from interfaces.cli.audit.moments import OptionsRefused

    match error:
        case CannotStart() | EmbeddedServerError() | PreparationError() | MigrationError():
            return str(error)
        case SettingsError() | Refusal() | KeyUnusable() | NoLedger() | ExportRefused():
            return str(error)
        case LedgerKeyError() | OtherKeys() | LogUnsealed():
            return str(error)
        case BackupRefused() | MapperDeserialisationError():
            return str(error)
        case RebuildInProgress() | ReadModelsBusy() | WorkersLost():
            return str(error)
        case OptionsRefused():
            return str(error)
        case psycopg.Error():
            first_line = str(error).strip().splitlines()[0] if str(error).strip() else "no answer"
            return f"the database refused: {first_line}; check DATABASE_URL"
        case OSError(errno=errno.ENOSPC):
            return f"the disk is full ({error.filename}); free some space and start again"
        case OSError(errno=errno.EROFS | errno.EACCES | errno.EPERM):
            return f"{error.filename} cannot be written; set DATA_DIR to a folder of yours"
        case _:
            raise error
