-- From here on every stored state ends with a MAC under a key that the database has not. Events from
-- before have theirs beside them, in seals, which `chatledger audit seal` writes once.

-- position: of the last event from before; 0 where there was none.
CREATE TABLE ledger.before_macs (
    position bigint NOT NULL,
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one)
);
INSERT INTO ledger.before_macs (position)
    SELECT coalesce(max(notification_id), 0) FROM ledger.ledger_events;

-- mac: key id, dot and base64, as they would stand in the state.
CREATE TABLE ledger.seals (
    originator_id uuid NOT NULL,
    originator_version bigint NOT NULL,
    mac text NOT NULL,
    PRIMARY KEY (originator_id, originator_version)
);

-- What is read by whoever believes what the events say: each state with its MAC. The log itself, its
-- chain and its proofs have states as they were stored.
CREATE VIEW ledger.events_with_macs AS
    SELECT e.originator_id, e.originator_version, e.topic,
           CASE WHEN s.mac IS NULL THEN e.state
                ELSE substring(e.state FROM 1 FOR octet_length(e.state) - 1)
                     || convert_to(',"mac":"' || s.mac || '"}', 'UTF8')
           END AS state,
           e.notification_id, e.recorded_at
    FROM ledger.ledger_events AS e
    LEFT JOIN ledger.seals AS s USING (originator_id, originator_version);

DO $body$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['before_macs', 'seals'] LOOP
        EXECUTE format(
            'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.%1$I'
            ' FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();'
            ' ALTER TABLE ledger.%1$I ENABLE ALWAYS TRIGGER append_only', name);
    END LOOP;
END;
$body$;

GRANT SELECT ON ledger.before_macs, ledger.seals, ledger.events_with_macs TO {service_role};
