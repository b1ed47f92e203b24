-- The ledger's schema, version 1 (PRAGMA user_version). Amounts are signed 64-bit nano-dollars, times milliseconds UTC.

-- A price version never changes; a new price is a new row.
CREATE TABLE price (
  model TEXT NOT NULL,
  version INTEGER NOT NULL,
  active_from_ms INTEGER NOT NULL,
  unit_nano INTEGER NOT NULL CHECK (unit_nano >= 0),
  batch_unit_nano INTEGER NOT NULL CHECK (batch_unit_nano >= 0),
  text_token_nano INTEGER NOT NULL CHECK (text_token_nano >= 0),
  output_token_nano INTEGER NOT NULL CHECK (output_token_nano >= 0),
  basis TEXT NOT NULL,                                  -- JSON: under which conditions it was set
  PRIMARY KEY (model, version)
) STRICT;
CREATE TRIGGER price_no_update BEFORE UPDATE ON price BEGIN SELECT RAISE(ABORT, 'a price version is immutable'); END;
CREATE TRIGGER price_no_delete BEFORE DELETE ON price BEGIN SELECT RAISE(ABORT, 'a price version is immutable'); END;

-- Balances. Positive is used: a prepaid credit has limit 0 and a negative `posted_nano`. The cap is this CHECK.
CREATE TABLE account (
  id TEXT PRIMARY KEY,                                  -- credit:<org>, revenue, contra:grant
  kind TEXT NOT NULL CHECK (kind IN ('credit', 'budget', 'contra')),
  limit_nano INTEGER,                                   -- NULL: no limit
  posted_nano INTEGER NOT NULL DEFAULT 0,
  reserved_nano INTEGER NOT NULL DEFAULT 0 CHECK (reserved_nano >= 0),
  CONSTRAINT room CHECK (limit_nano IS NULL OR posted_nano + reserved_nano <= limit_nano)
) STRICT;
-- The other sides of charges and grants.
INSERT INTO account (id, kind) VALUES ('revenue', 'contra'), ('contra:grant', 'contra');

-- One request's quote, reserved in every account of `parts`: open -> posted | void, once.
CREATE TABLE hold (
  request_id TEXT PRIMARY KEY,
  attempt INTEGER NOT NULL DEFAULT 1,
  gateway_id TEXT NOT NULL,
  key_id TEXT NOT NULL,
  model TEXT NOT NULL,
  price_version INTEGER NOT NULL,
  tier TEXT NOT NULL CHECK (tier IN ('default', 'batch')),
  units TEXT NOT NULL,                                  -- JSON {"images": [1, 1], "output": 0}
  parts TEXT NOT NULL,                                  -- JSON [account_id, ...]
  amount_nano INTEGER NOT NULL CHECK (amount_nano >= 0),
  charged_nano INTEGER CONSTRAINT within_the_hold CHECK (charged_nano BETWEEN 0 AND amount_nano),
  state TEXT NOT NULL CHECK (state IN ('open', 'posted', 'void')),
  why TEXT,                                             -- outcome of an ended hold: complete, client_left, engine_failed, ...
  body_sha TEXT NOT NULL,
  user_id TEXT,                                         -- the caller's end user
  metadata TEXT,                                        -- JSON, the caller's own
  created_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  closed_at_ms INTEGER,
  CHECK ((state = 'posted') = (charged_nano IS NOT NULL)),
  FOREIGN KEY (model, price_version) REFERENCES price
) STRICT;
CREATE INDEX hold_open ON hold (expires_at_ms) WHERE state = 'open';
CREATE INDEX hold_ended ON hold (model, state, why);
CREATE TRIGGER hold_ends_once BEFORE UPDATE ON hold WHEN OLD.state <> 'open'
  BEGIN SELECT RAISE(ABORT, 'hold has ended'); END;
CREATE TRIGGER hold_no_delete BEFORE DELETE ON hold BEGIN SELECT RAISE(ABORT, 'append-only'); END;

-- One line of the ledger; the lines of one (kind, ref) sum to zero.
CREATE TABLE entry (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,                                   -- charge, grant
  ref TEXT NOT NULL,                                    -- request id, grant id
  account_id TEXT NOT NULL REFERENCES account,
  amount_nano INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  UNIQUE (kind, ref, account_id)
) STRICT;
CREATE TRIGGER entry_no_update BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER entry_no_delete BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'append-only'); END;

-- One try of a request on one replica: what was measured of it.
CREATE TABLE attempt (
  request_id TEXT NOT NULL REFERENCES hold,
  attempt INTEGER NOT NULL,
  replica_id TEXT,                                      -- NULL: it ended before a replica was found
  finish TEXT,
  images INTEGER NOT NULL,
  text_tokens INTEGER NOT NULL,
  vision_tokens INTEGER NOT NULL,
  cached_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  ttft_ms INTEGER,                                      -- request read to first chunk of the engine
  latency_ms INTEGER NOT NULL,
  charged INTEGER NOT NULL CHECK (charged IN (0, 1)),
  PRIMARY KEY (request_id, attempt)
) STRICT;
CREATE TRIGGER attempt_no_update BEFORE UPDATE ON attempt BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER attempt_no_delete BEFORE DELETE ON attempt BEGIN SELECT RAISE(ABORT, 'append-only'); END;

-- One row a request that ended: who, what, how much.
CREATE VIEW usage AS
  SELECT hold.request_id, key_id, user_id, metadata, model, tier, price_version, units, images, text_tokens, vision_tokens, cached_tokens,
         output_tokens, amount_nano AS hold_nano, coalesce(charged_nano, 0) AS charged_nano, ttft_ms, latency_ms,
         replica_id, finish, why AS outcome, created_at_ms, closed_at_ms
  FROM hold LEFT JOIN attempt USING (request_id, attempt) WHERE state <> 'open';

CREATE TABLE api_key (
  id TEXT PRIMARY KEY,
  sha256 TEXT NOT NULL UNIQUE,
  org_id TEXT NOT NULL,
  project_id TEXT NOT NULL,
  name TEXT NOT NULL,
  scopes TEXT NOT NULL,                                 -- JSON ["inference", ...]
  created_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER,
  revoked_at_ms INTEGER
) STRICT;
