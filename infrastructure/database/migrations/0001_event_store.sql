-- The append-only event store, in the form that eventsourcing's PostgreSQL recorders read and
-- write (schema "ledger", application name "ledger"), owned by the migrating role. The service
-- can read and add; it can neither change nor remove.

CREATE SCHEMA ledger;
GRANT USAGE ON SCHEMA ledger TO {service_role};

CREATE TYPE ledger.stored_event_uuid AS (
    originator_id uuid,
    originator_version bigint,
    topic text,
    state bytea
);

CREATE TABLE ledger.ledger_events (
    originator_id uuid NOT NULL,
    originator_version bigint NOT NULL,
    topic text NOT NULL,
    state bytea NOT NULL,
    notification_id bigserial NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (originator_id, originator_version)
) WITH (
    autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.01
);
CREATE UNIQUE INDEX ledger_events_notification_id_idx ON ledger.ledger_events (notification_id);

CREATE TABLE ledger.ledger_snapshots (
    originator_id uuid NOT NULL,
    originator_version bigint NOT NULL,
    topic text NOT NULL,
    state bytea NOT NULL,
    PRIMARY KEY (originator_id, originator_version)
);

CREATE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION 'the event log is append-only: % on %.% is refused',
        TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Correct a mistake with a new event that names what it corrects.';
END;
$body$;

CREATE TRIGGER ledger_events_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.ledger_events
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
-- ALWAYS: also where session_replication_role is "replica", which skips ordinary triggers.
ALTER TABLE ledger.ledger_events ENABLE ALWAYS TRIGGER ledger_events_append_only;

-- MAINTAIN (PostgreSQL 17 and later) is what LOCK TABLE … EXCLUSIVE needs beside INSERT.
GRANT SELECT, INSERT, MAINTAIN ON ledger.ledger_events TO {service_role};
GRANT SELECT, INSERT ON ledger.ledger_snapshots TO {service_role};
GRANT USAGE, SELECT ON SEQUENCE ledger.ledger_events_notification_id_seq TO {service_role};
