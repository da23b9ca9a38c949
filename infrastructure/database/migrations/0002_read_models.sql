-- Read models: every row can be dropped and made again from ledger.ledger_events. Personal text
-- stands in clear here and nowhere else.

CREATE SCHEMA read;
GRANT USAGE ON SCHEMA read TO {service_role};

-- The last event each projection has folded, written in the transaction that wrote its rows.
CREATE TABLE read.positions (
    projection text PRIMARY KEY,
    position bigint NOT NULL CHECK (position >= 0),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
-- Every batch updates every row: free room keeps those updates within the page.
) WITH (fillfactor = 20);

-- Moves projections on, each from its position in `expected` (an object of names and positions),
-- to `reached`. Rows are locked in one order, so two writers never lock each other out. Fails where
-- another writer was first, and with it the transaction that would have written its rows twice.
CREATE FUNCTION read.advance(expected json, reached bigint) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    moved integer;
    named integer;
BEGIN
    PERFORM 1 FROM read.positions
        WHERE projection IN (SELECT json_object_keys(expected))
        ORDER BY projection FOR UPDATE;
    UPDATE read.positions AS p SET position = reached, updated_at = clock_timestamp()
        FROM json_each_text(expected) AS e
        WHERE p.projection = e.key AND p.position = e.value::bigint;
    GET DIAGNOSTICS moved = ROW_COUNT;
    SELECT count(*) INTO named FROM json_object_keys(expected);
    IF moved <> named THEN
        RAISE EXCEPTION 'another writer has moved the projections on'
            USING ERRCODE = 'serialization_failure';
    END IF;
END;
$body$;

CREATE TABLE read.balances (
    user_id uuid PRIMARY KEY,
    account_id uuid NOT NULL,
    paid_micro bigint NOT NULL,
    promotional_micro bigint NOT NULL,
    held_micro bigint NOT NULL,
    frozen boolean NOT NULL,
    as_of timestamptz NOT NULL,
    position bigint NOT NULL
);

CREATE TABLE read.open_holds (
    hold_id uuid PRIMARY KEY,
    account_id uuid NOT NULL,
    user_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    message_id uuid NOT NULL,
    amount_micro bigint NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX open_holds_expires_at_idx ON read.open_holds (expires_at);

-- unspent_micro: free or held; a grant that was used up stays, because a refund can refill it.
CREATE TABLE read.expiring_grants (
    grant_id uuid PRIMARY KEY,
    account_id uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    unspent_micro bigint NOT NULL
);
CREATE INDEX expiring_grants_expires_at_idx ON read.expiring_grants (expires_at)
    WHERE unspent_micro > 0;

CREATE TABLE read.transactions (
    position bigint PRIMARY KEY,
    transaction_id uuid NOT NULL,
    user_id uuid NOT NULL,
    type text NOT NULL,
    amount_micro bigint NOT NULL,
    balance_after_micro bigint NOT NULL,
    message_id uuid,
    description text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX transactions_user_idx ON read.transactions (user_id, position DESC);
CREATE INDEX transactions_message_idx ON read.transactions (message_id);

CREATE TABLE read.journal (
    position bigint NOT NULL,
    line smallint NOT NULL,
    account text NOT NULL,
    direction text NOT NULL CHECK (direction IN ('debit', 'credit')),
    amount_micro bigint NOT NULL CHECK (amount_micro > 0),
    event text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (position, line)
);
CREATE INDEX journal_account_idx ON read.journal (account, position);

CREATE TABLE read.conversations (
    conversation_id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    title text NOT NULL,
    model text NOT NULL,
    message_count bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_position bigint NOT NULL
);
CREATE INDEX conversations_user_idx ON read.conversations (user_id, updated_position DESC);

-- The answer's row is made with its prompt, as pending, and filled in by the answer.
CREATE TABLE read.messages (
    message_id uuid PRIMARY KEY,
    conversation_id uuid NOT NULL,
    user_id uuid NOT NULL,
    reply_to uuid,
    role text NOT NULL,
    content text NOT NULL,
    model text NOT NULL,
    status text NOT NULL,
    finish_reason text,
    cost_micro bigint,
    prompt_tokens bigint,
    completion_tokens bigint,
    latency_ms bigint,
    created_at timestamptz NOT NULL,
    position bigint NOT NULL
);
CREATE INDEX messages_user_idx ON read.messages (user_id, position DESC);
CREATE INDEX messages_conversation_idx ON read.messages (conversation_id, position DESC);

-- One row per answer that credits were held for: everything that explains its price.
CREATE TABLE read.receipts (
    message_id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    hold_id uuid NOT NULL,
    model text,
    manifest_hash text,
    status text NOT NULL,
    reason text,
    price jsonb,
    prompt_tokens bigint,
    completion_tokens bigint,
    finish_reason text,
    held_micro bigint NOT NULL,
    charged_micro bigint NOT NULL,
    released_micro bigint NOT NULL,
    refunded_micro bigint NOT NULL,
    held_at timestamptz NOT NULL,
    settled_at timestamptz,
    hold_position bigint NOT NULL,
    settlement_position bigint,
    response_position bigint
);
CREATE INDEX receipts_user_idx ON read.receipts (user_id);

CREATE TABLE read.usage (
    day date NOT NULL,
    user_id uuid NOT NULL,
    model text NOT NULL,
    answers bigint NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    charged_micro bigint NOT NULL,
    PRIMARY KEY (day, user_id, model)
);

CREATE TABLE read.users (
    user_id uuid PRIMARY KEY,
    username text NOT NULL,
    email text NOT NULL,
    email_verified boolean NOT NULL,
    role text NOT NULL,
    suspended boolean NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX users_username_idx ON read.users (lower(username));

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA read TO {service_role};

-- Where a rebuild makes rows anew while queries go on reading the old ones: the same tables,
-- without a write-ahead log, because a rebuild that was interrupted starts again. A migration that
-- changes a table of schema read changes its shadow, too.
CREATE SCHEMA read_shadow;
GRANT USAGE ON SCHEMA read_shadow TO {service_role};

DO $body$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT tablename FROM pg_tables WHERE schemaname = 'read' AND tablename <> 'positions'
    LOOP
        EXECUTE format(
            'CREATE UNLOGGED TABLE read_shadow.%1$I (LIKE read.%1$I INCLUDING ALL)', name);
    END LOOP;
END;
$body$;

GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA read_shadow
    TO {service_role};
