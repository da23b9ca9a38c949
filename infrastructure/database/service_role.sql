-- Everything that the migrations grant to the service's role, for a role that came after them: of
-- a service that was tried with one role for all, or whose role was replaced. A test compares the
-- two.
GRANT USAGE ON SCHEMA ledger, read, read_shadow TO {service_role};
GRANT SELECT, MAINTAIN ON ledger.ledger_events TO {service_role};
GRANT INSERT (originator_id, originator_version, topic, state) ON ledger.ledger_events
    TO {service_role};
GRANT USAGE, SELECT ON SEQUENCE ledger.ledger_events_notification_id_seq TO {service_role};
GRANT SELECT ON ledger.identity, ledger.links, ledger.checkpoints, ledger.before_macs,
    ledger.seals, ledger.events_with_macs TO {service_role};
GRANT SELECT, INSERT ON ledger.ledger_snapshots, ledger.tree_nodes TO {service_role};
GRANT INSERT (position, record) ON ledger.checkpoints TO {service_role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA read TO {service_role};
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA read_shadow
    TO {service_role};
GRANT EXECUTE ON FUNCTION read.advance(json, bigint), read_shadow.begin(text[]),
    read_shadow.complete(text[]), read_shadow.exchange(text[]) TO {service_role};
