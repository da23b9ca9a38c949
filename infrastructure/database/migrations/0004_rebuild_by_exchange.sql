-- A rebuild makes whole tables and puts them in the place of the old ones, instead of copying rows
-- into them: rows are written once, and indexes are made when the rows are there. Only the owner can
-- do that, so it is done by functions of the owner that know the read models and nothing else.

CREATE FUNCTION read_shadow.check_names(tables text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY tables LOOP
        IF name = 'positions' OR to_regclass(format('read.%I', name)) IS NULL THEN
            RAISE EXCEPTION '% is no read model', name USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;
END;
$body$;

-- Empty shadows of tables of schema read: of the same shape, without a write-ahead log, because a
-- rebuild that was interrupted starts again, and with no index but the primary key's.
CREATE FUNCTION read_shadow.begin(tables text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    name text;
    found record;
BEGIN
    PERFORM read_shadow.check_names(tables);
    FOREACH name IN ARRAY tables LOOP
        EXECUTE format('DROP TABLE IF EXISTS read_shadow.%I', name);
        EXECUTE format(
            'CREATE UNLOGGED TABLE read_shadow.%1$I (LIKE read.%1$I INCLUDING ALL EXCLUDING INDEXES)',
            name);
        FOR found IN
            SELECT conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint
            WHERE conrelid = format('read.%I', name)::regclass AND contype = 'p'
        LOOP
            EXECUTE format('ALTER TABLE read_shadow.%I ADD CONSTRAINT %I %s',
                name, found.conname, found.definition);
        END LOOP;
        FOR found IN
            SELECT a.privilege_type, a.grantee::regrole AS role
            FROM pg_class AS c, aclexplode(c.relacl) AS a
            WHERE c.oid = format('read.%I', name)::regclass AND a.grantee <> 0
        LOOP
            EXECUTE format('GRANT %s ON read_shadow.%I TO %s',
                found.privilege_type, name, found.role);
        END LOOP;
    END LOOP;
END;
$body$;

-- What a table needs before it can be read: its other indexes, a write-ahead log, and statistics.
CREATE FUNCTION read_shadow.complete(tables text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    name text;
    definition text;
BEGIN
    PERFORM read_shadow.check_names(tables);
    FOREACH name IN ARRAY tables LOOP
        EXECUTE format('ALTER TABLE read_shadow.%I SET LOGGED', name);
        FOR definition IN
            SELECT replace(pg_get_indexdef(i.indexrelid),
                           format(' ON read.%I ', name), format(' ON read_shadow.%I ', name))
            FROM pg_index AS i
            WHERE i.indrelid = format('read.%I', name)::regclass AND NOT i.indisprimary
        LOOP
            EXECUTE definition;
        END LOOP;
        EXECUTE format('ANALYZE read_shadow.%I', name);
    END LOOP;
END;
$body$;

-- The new tables take the place of the old ones, which are gone when the transaction commits.
CREATE FUNCTION read_shadow.exchange(tables text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    name text;
BEGIN
    PERFORM read_shadow.check_names(tables);
    FOREACH name IN ARRAY tables LOOP
        EXECUTE format('DROP TABLE read.%I', name);
        EXECUTE format('ALTER TABLE read_shadow.%I SET SCHEMA read', name);
    END LOOP;
    PERFORM read_shadow.begin(tables);
END;
$body$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA read_shadow FROM PUBLIC;
GRANT EXECUTE ON FUNCTION read_shadow.begin(text[]), read_shadow.complete(text[]),
    read_shadow.exchange(text[]) TO {service_role};
