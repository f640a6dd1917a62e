-- Version 1. Every key begins with the tenant: the first 16 bytes of the SHA-256 of its name, so that nobody has to look an id up, and no
-- id is given twice, whatever a restored backup has forgotten.
--
-- Instants are to the nanosecond, in years 1 to 9999, where a timestamptz has microseconds: what is below a microsecond stands beside it, in a column
-- named _ns (0..999). Numbers of a tenant's sequence are unsigned and of 64 bits, so they are numeric(20).
-- Texts compare by bytes: COLLATE "C".
--
-- There are no foreign keys to tenants: each insert would lock the row that all of the tenant's writers read.

-- All numbers of all tenants are drawn from one sequence; a tenant adds its base. A cached number would be given out late, and a
-- token that was issued after a revocation would be taken for an earlier one.
CREATE SEQUENCE tokenstore.numbers AS bigint CACHE 1 NO CYCLE;

CREATE TABLE tokenstore.tenants (
	tenant           uuid PRIMARY KEY,
	name             text COLLATE "C" NOT NULL UNIQUE, -- the index lists tenants in their order
	created          boolean NOT NULL DEFAULT false,   -- it was created on purpose
	base             numeric(20) NOT NULL DEFAULT 0,   -- its sequence is this and a number
	erased_through   numeric(20),                      -- the sequence at which it was erased: nothing has been written since if it has not risen
	horizon_sequence numeric(20) NOT NULL DEFAULT 0,
	horizon          timestamptz NOT NULL DEFAULT '0001-01-01 00:00:00+00',
	horizon_ns       smallint NOT NULL DEFAULT 0,
	erasure_key      bytea CHECK (length(erasure_key) = 32),
	origin           uuid,                             -- what it has taken over comes from
	complete         boolean NOT NULL DEFAULT false,   -- nothing of that is yet to come
	events_floor     numeric(20) NOT NULL DEFAULT 0    -- events up to here have been dropped
);

-- What a tenant holds, in parts: each writer adds to the part of its connection, so that writers do not wait for each other.
CREATE TABLE tokenstore.tallies (
	tenant      uuid NOT NULL,
	part        smallint NOT NULL,
	tokens      bigint NOT NULL,
	sessionless bigint NOT NULL,
	guards      bigint NOT NULL,
	history     bigint NOT NULL,
	events      bigint NOT NULL,
	sequence    numeric(20) NOT NULL,      -- the highest so far
	latest      timestamptz NOT NULL,      -- the latest creation time of any token so far
	latest_ns   smallint NOT NULL,
	PRIMARY KEY (tenant, part)
) WITH (fillfactor = 40);

CREATE TABLE tokenstore.tokens (
	tenant             uuid NOT NULL,
	id                 uuid NOT NULL,
	sequence           numeric(20) NOT NULL CHECK (sequence > 0),
	user_id            text COLLATE "C" NOT NULL,
	client_id          text COLLATE "C" NOT NULL,
	session_id         text COLLATE "C",
	created_at         timestamptz NOT NULL,
	authenticated_at   timestamptz,
	expires_at         timestamptz,
	idle_expires_at    timestamptz,
	last_exchanged_at  timestamptz,
	rotated_at         timestamptz,
	nanoseconds        bigint NOT NULL DEFAULT 0, -- of these six, ten bits each, the first in the lowest
	idle_lifetime      bigint NOT NULL DEFAULT 0, -- in nanoseconds; negative for never
	due                timestamptz,               -- when to look whether it is expired; an exchange that puts it off leaves it alone
	rotating           boolean NOT NULL,
	offline            boolean NOT NULL,
	audiences          text[] COLLATE "C" NOT NULL,
	scopes             text[] NOT NULL,           -- of each audience
	generation         bigint NOT NULL DEFAULT 0,
	retries            bigint NOT NULL DEFAULT 0,
	salt               bytea CHECK (length(salt) = 16),
	family_digest      bytea CHECK (length(family_digest) = 32),
	secret_digest      bytea CHECK (length(secret_digest) = 32),
	foreign_id         text COLLATE "C",
	foreign_digest     bytea CHECK (length(foreign_digest) = 32),
	foreign_weak       boolean NOT NULL DEFAULT false,
	pepper_key_id      text COLLATE "C",
	confirmation_kind  text,
	confirmation       text,
	metadata           jsonb,
	initial_ip         text,
	initial_asn        text,
	initial_user_agent text,
	last_ip            text,
	last_asn           text,
	last_user_agent    text,
	PRIMARY KEY (tenant, id), -- exchanges; lists of the tenant; the walk over all tokens
	CHECK (cardinality(audiences) = cardinality(scopes))
) WITH (fillfactor = 85); -- an exchange changes no column of an index, and finds room in its page

-- Lists and sweeps of a user, and the cap of a user and client.
CREATE INDEX tokens_by_user ON tokenstore.tokens (tenant, user_id, id);
-- Lists and sweeps of a session.
CREATE INDEX tokens_by_session ON tokenstore.tokens (tenant, session_id, id) WHERE session_id IS NOT NULL;
-- A token by the secret that it had elsewhere, which no other has.
CREATE UNIQUE INDEX tokens_by_foreign_digest ON tokenstore.tokens (tenant, foreign_digest) WHERE foreign_digest IS NOT NULL;
-- What is expired.
CREATE INDEX tokens_by_due ON tokenstore.tokens (tenant, due, id) WHERE due IS NOT NULL;

-- The revocations, and how far the sweep of each has come.
CREATE TABLE tokenstore.tombstones (
	tenant         uuid NOT NULL,
	id             uuid NOT NULL,
	targets_digest bytea NOT NULL CHECK (length(targets_digest) = 32), -- of all targets, in their order
	watermark      numeric(20) NOT NULL CHECK (watermark > 0),
	at             timestamptz NOT NULL,
	at_ns          smallint NOT NULL,
	through        timestamptz NOT NULL,
	through_ns     smallint NOT NULL,
	reason         text NOT NULL,
	actor          text COLLATE "C" NOT NULL,
	erases         boolean NOT NULL,
	unanchored     boolean NOT NULL,               -- some target names no token, session, user or client
	retired        boolean NOT NULL DEFAULT false,
	retired_at     timestamptz NOT NULL DEFAULT '0001-01-01 00:00:00+00',
	retired_ns     smallint NOT NULL DEFAULT 0,
	trimmable      boolean NOT NULL DEFAULT false, -- it is retired, and what superseded it is forgotten
	examined       bigint NOT NULL DEFAULT 0,
	swept          bigint NOT NULL DEFAULT 0,
	superseded_by  uuid,
	supersedes     uuid,
	-- The sweep by index: at which target, and after which token.
	target         integer NOT NULL DEFAULT 0,
	after          uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
	-- The walk over all tokens: whether it is swept by that, where the walk stood when it joined, and how often it has come to the end since.
	walks          boolean NOT NULL,
	joined         boolean NOT NULL DEFAULT false,
	walk_from      uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
	ends           integer NOT NULL DEFAULT 0,
	-- The erasure, once the sweep is over: in which of what is remembered, and after which of them.
	scrub          integer NOT NULL DEFAULT 0,
	scrub_after    uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
	scrub_at       timestamptz NOT NULL DEFAULT '0001-01-01 00:00:00+00',
	scrub_at_ns    smallint NOT NULL DEFAULT 0,
	scrub_guard    bytea NOT NULL DEFAULT '',
	scrub_event    numeric(20) NOT NULL DEFAULT 0,
	PRIMARY KEY (tenant, id)
);

-- What is pending, by tenant and in order.
CREATE INDEX tombstones_pending ON tokenstore.tombstones (tenant, id) WHERE NOT retired;
-- The pending revocation that a new one of the same targets supersedes.
CREATE INDEX tombstones_by_targets ON tokenstore.tombstones (tenant, targets_digest) WHERE NOT retired;
-- What is to be trimmed, oldest first.
CREATE INDEX tombstones_to_trim ON tokenstore.tombstones (tenant, retired_at, retired_ns, id) WHERE trimmable;

-- The targets of the revocations. The anchor is the narrowest key by which a target is found from a token: kind 0 is its id, 1 its session, 2
-- its user, 3 its client, and 4 stands for all tokens.
CREATE TABLE tokenstore.targets (
	tenant           uuid NOT NULL,
	tombstone        uuid NOT NULL,
	place            integer NOT NULL, -- among the targets of the revocation
	pending          boolean NOT NULL, -- the revocation is not retired
	token_id         uuid,
	user_id          text COLLATE "C",
	client_id        text COLLATE "C",
	session_id       text COLLATE "C",
	audience         text COLLATE "C",
	issued_before    timestamptz,
	issued_before_ns smallint NOT NULL DEFAULT 0,
	legacy_before    timestamptz,
	legacy_before_ns smallint NOT NULL DEFAULT 0,
	offline          smallint NOT NULL DEFAULT 0 CHECK (offline BETWEEN 0 AND 2),
	everything       boolean NOT NULL DEFAULT false,
	anchor_kind      smallint NOT NULL GENERATED ALWAYS AS (CASE
		WHEN token_id IS NOT NULL THEN 0 WHEN session_id IS NOT NULL THEN 1 WHEN user_id IS NOT NULL THEN 2 WHEN client_id IS NOT NULL THEN 3 ELSE 4
	END) STORED,
	anchor           text COLLATE "C" NOT NULL GENERATED ALWAYS AS (coalesce(token_id::text, session_id, user_id, client_id, '')) STORED,
	PRIMARY KEY (tenant, tombstone, place),
	FOREIGN KEY (tenant, tombstone) REFERENCES tokenstore.tombstones ON DELETE CASCADE
);

-- The fence: what is pending that may cover a token.
CREATE INDEX targets_fence ON tokenstore.targets (tenant, anchor_kind, anchor) WHERE pending;

-- What is remembered of retired revocations, one row for each target.
CREATE TABLE tokenstore.guards (
	tenant           uuid NOT NULL,
	digest           bytea NOT NULL CHECK (length(digest) = 32), -- of the target
	watermark        numeric(20) NOT NULL CHECK (watermark > 0),
	at               timestamptz NOT NULL,
	at_ns            smallint NOT NULL,
	through          timestamptz NOT NULL,
	through_ns       smallint NOT NULL,
	joined           integer NOT NULL DEFAULT 0, -- how many more revocations it stands for
	token_id         uuid,
	user_id          text COLLATE "C",
	client_id        text COLLATE "C",
	session_id       text COLLATE "C",
	audience         text COLLATE "C",
	issued_before    timestamptz,
	issued_before_ns smallint NOT NULL DEFAULT 0,
	legacy_before    timestamptz,
	legacy_before_ns smallint NOT NULL DEFAULT 0,
	offline          smallint NOT NULL DEFAULT 0 CHECK (offline BETWEEN 0 AND 2),
	everything       boolean NOT NULL DEFAULT false,
	anchor_kind      smallint NOT NULL GENERATED ALWAYS AS (CASE
		WHEN token_id IS NOT NULL THEN 0 WHEN session_id IS NOT NULL THEN 1 WHEN user_id IS NOT NULL THEN 2 WHEN client_id IS NOT NULL THEN 3 ELSE 4
	END) STORED,
	anchor           text COLLATE "C" NOT NULL GENERATED ALWAYS AS (coalesce(token_id::text, session_id, user_id, client_id, '')) STORED,
	PRIMARY KEY (tenant, digest) -- joins guards of the same target
);

-- Admission: what is remembered that may bar a candidate.
CREATE INDEX guards_by_anchor ON tokenstore.guards (tenant, anchor_kind, anchor);
-- Trim, and lists, oldest first.
CREATE INDEX guards_by_age ON tokenstore.guards (tenant, at, at_ns, digest);

-- Where the walk over all tokens of a tenant stands. Whoever holds the row walks.
CREATE TABLE tokenstore.walks (
	tenant   uuid PRIMARY KEY,
	position uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'
);

-- The feed of each tenant.
CREATE TABLE tokenstore.events (
	tenant     uuid NOT NULL,
	number     numeric(20) NOT NULL,
	kind       integer NOT NULL,
	at         timestamptz NOT NULL,
	at_ns      smallint NOT NULL,
	sequence   numeric(20) NOT NULL,
	revocation uuid,
	reason     text NOT NULL,
	actor      text NOT NULL,
	erases     boolean NOT NULL,
	count      bigint NOT NULL,
	retired    boolean NOT NULL,
	about      jsonb, -- the tokens and the targets that it is about
	PRIMARY KEY (tenant, number) -- readers, and trim
);

-- How the writers of this database are kept in order, which all of them must agree on. The first that opens it decides.
CREATE TABLE tokenstore.settings (
	only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
	portable boolean -- by serializable transactions instead of advisory locks
);
INSERT INTO tokenstore.settings DEFAULT VALUES;
