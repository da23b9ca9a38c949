-- Nobody may do more than the service needs: what PostgreSQL grants to everybody by default, which
-- is to execute every function and to make temporary tables, is taken back. With both, the
-- service's role could have made a table of its own with the log's triggers and forged the chain.

-- Trigger functions need no EXECUTE when they fire.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA ledger, read, read_shadow FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA ledger, read, read_shadow FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA ledger, read, read_shadow FROM PUBLIC;
REVOKE ALL ON SCHEMA ledger, read, read_shadow FROM PUBLIC;
GRANT EXECUTE ON FUNCTION read.advance(json, bigint) TO {service_role};
-- What later migrations make is nobody's until they grant it.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- Functions find what they name, and nothing that somebody has put before it. The body of
-- ledger.leaf was bound to its functions when it was made, and can be inlined because it has no
-- setting.
ALTER FUNCTION ledger.refuse_change() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION ledger.lock_log() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION read.advance(json, bigint) SET search_path = pg_catalog, pg_temp;

CREATE OR REPLACE FUNCTION ledger.chain_events() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    before record;
    given record;
BEGIN
    -- On any other table it would chain what is not in the log.
    IF TG_RELID <> 'ledger.ledger_events'::regclass OR TG_OP <> 'INSERT' THEN
        RAISE EXCEPTION '% on % is not chained', TG_OP, TG_RELID::regclass
            USING ERRCODE = 'insufficient_privilege';
    END IF;
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
        RAISE EXCEPTION 'position % is not behind the end of the chain, which is %',
            given.first, before.position
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

-- The number of a checkpoint comes from the database alone: one that is given would be the end of
-- all that are copied from here by their numbers.
REVOKE INSERT ON ledger.checkpoints FROM {service_role};
GRANT INSERT (position, record) ON ledger.checkpoints TO {service_role};

-- The rights of the database itself. Where the migrating role may not take them back, the check at
-- every start names what is left, and who can. A service that owns the database keeps its own.
DO $body$
DECLARE
    holder text;
    statement text;
BEGIN
    FOREACH holder IN ARRAY ARRAY['PUBLIC', $role${service_role}$role$] LOOP
        CONTINUE WHEN holder = quote_ident(current_user) OR holder = '"' || current_user || '"';
        FOREACH statement IN ARRAY ARRAY[
            format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM %s', current_database(), holder),
            format('REVOKE CREATE ON SCHEMA public FROM %s', holder)
        ] LOOP
            BEGIN
                EXECUTE statement;
            EXCEPTION WHEN insufficient_privilege THEN
                RAISE WARNING 'not possible for %: %', current_user, statement;
            END;
        END LOOP;
    END LOOP;
END;
$body$;
