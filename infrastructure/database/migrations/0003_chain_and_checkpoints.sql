-- Tamper evidence: a SHA-256 chain through the log, made where the log is written, and what signed
-- checkpoints are kept with. docs/audit.md has every format byte for byte.

DO $body$
BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'the database must be encoded in UTF8, not in %',
            current_setting('server_encoding');
    END IF;
END;
$body$;

-- Nobody writes while the chain is made for what is there.
LOCK TABLE ledger.ledger_events IN EXCLUSIVE MODE;

-- Which log this is; a restored copy is the same log.
CREATE TABLE ledger.identity (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one)
);
INSERT INTO ledger.identity DEFAULT VALUES;

CREATE FUNCTION ledger.leaf(
    "position" bigint, originator_id uuid, originator_version bigint, recorded_at timestamptz,
    topic text, state bytea
) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE
RETURN sha256(
    '\x00'::bytea || int8send("position") || uuid_send(originator_id)
    || int8send(originator_version) || timestamptz_send(recorded_at)
    || int4send(octet_length(topic)) || convert_to(topic, 'UTF8') || state
);

-- One link for each insert. position: of its last event. events: how many the log has up to there.
-- entries: for each of its events eight bytes of position and the leaf, by position. hash: SHA-256
-- of the hash before and the entries.
CREATE TABLE ledger.links (
    position bigint PRIMARY KEY,
    events bigint NOT NULL UNIQUE,
    entries bytea NOT NULL,
    hash bytea NOT NULL
);
-- Hashes do not become smaller, and trying costs time under the log's lock.
ALTER TABLE ledger.links ALTER entries SET STORAGE EXTERNAL;

CREATE FUNCTION ledger.lock_log() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    -- Before the first position is drawn. Writers hold it already, and then this is no work.
    LOCK TABLE ledger.ledger_events IN EXCLUSIVE MODE;
    RETURN NULL;
END;
$body$;

CREATE FUNCTION ledger.chain_events() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    before record;
    given record;
BEGIN
    SELECT count(*) AS events, min(position) AS first, max(position) AS last,
           string_agg(int8send(position) || leaf, NULL ORDER BY position) AS entries
        INTO given
        FROM (SELECT notification_id AS position,
                     ledger.leaf(notification_id, originator_id, originator_version, recorded_at,
                                 topic, state) AS leaf
              FROM added) AS leaves;
    IF given.events = 0 THEN
        RETURN NULL;
    END IF;
    SELECT position, events, hash INTO before
        FROM ledger.links ORDER BY position DESC LIMIT 1;
    IF given.first <= before.position THEN
        RAISE EXCEPTION 'position % is not behind the end of the log', given.first
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO ledger.links (position, events, entries, hash) VALUES (
        given.last,
        coalesce(before.events, 0) + given.events,
        given.entries,
        sha256(coalesce(before.hash, decode(repeat('00', 32), 'hex')) || given.entries)
    );
    RETURN NULL;
END;
$body$;

-- Logs from before there was a chain, and before anything can be added without it.
DO $body$
DECLARE
    before record;
    given record;
BEGIN
    SELECT 0::bigint AS position, 0::bigint AS events, decode(repeat('00', 32), 'hex') AS hash
        INTO before;
    LOOP
        SELECT count(*) AS events, max(position) AS last,
               string_agg(int8send(position) || leaf, NULL ORDER BY position) AS entries
            INTO given
            FROM (SELECT notification_id AS position,
                         ledger.leaf(notification_id, originator_id, originator_version,
                                     recorded_at, topic, state) AS leaf
                  FROM ledger.ledger_events WHERE notification_id > before.position
                  ORDER BY notification_id LIMIT 1000) AS leaves;
        EXIT WHEN given.events = 0;
        INSERT INTO ledger.links (position, events, entries, hash) VALUES (
            given.last, before.events + given.events, given.entries, sha256(before.hash || given.entries)
        ) RETURNING position, events, hash INTO before;
    END LOOP;
END;
$body$;

CREATE TRIGGER ledger_events_lock BEFORE INSERT ON ledger.ledger_events
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.lock_log();
CREATE TRIGGER ledger_events_chain AFTER INSERT ON ledger.ledger_events
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.chain_events();
ALTER TABLE ledger.ledger_events ENABLE ALWAYS TRIGGER ledger_events_lock;
ALTER TABLE ledger.ledger_events ENABLE ALWAYS TRIGGER ledger_events_chain;

-- Positions and times come from the database alone, not even an injected statement gives them.
REVOKE INSERT ON ledger.ledger_events FROM {service_role};
GRANT INSERT (originator_id, originator_version, topic, state) ON ledger.ledger_events
    TO {service_role};

-- Nodes of the Merkle tree over all leaves, from level 8 on, so that a proof needs few rows. They
-- can be made again from the links.
CREATE TABLE ledger.tree_nodes (
    level smallint NOT NULL,
    number bigint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (level, number)
);

-- record: the checkpoint with its signature, as it stands in the file and in NATS.
CREATE TABLE ledger.checkpoints (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position bigint NOT NULL,
    record text NOT NULL
);
CREATE INDEX checkpoints_position_idx ON ledger.checkpoints (position);

DO $body$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['identity', 'links', 'tree_nodes', 'checkpoints'] LOOP
        EXECUTE format(
            'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.%1$I'
            ' FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();'
            ' ALTER TABLE ledger.%1$I ENABLE ALWAYS TRIGGER append_only', name);
    END LOOP;
END;
$body$;

GRANT SELECT ON ledger.identity, ledger.links TO {service_role};
GRANT SELECT, INSERT ON ledger.tree_nodes, ledger.checkpoints TO {service_role};
