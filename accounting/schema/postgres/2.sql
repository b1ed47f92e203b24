-- The ledger's schema for PostgreSQL: what versions 1 and 2 of SQLite's make together, with the same names. Amounts are
-- nano-dollars, times milliseconds UTC. Names are ordered by their bytes, as in SQLite.

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation'; END $$;

-- A price version never changes; a new price is a new row.
CREATE TABLE price (
  model TEXT COLLATE "C" NOT NULL,
  version BIGINT NOT NULL,
  active_from_ms BIGINT NOT NULL,
  unit_nano BIGINT NOT NULL CHECK (unit_nano >= 0),
  batch_unit_nano BIGINT NOT NULL CHECK (batch_unit_nano >= 0),
  text_token_nano BIGINT NOT NULL CHECK (text_token_nano >= 0),
  output_token_nano BIGINT NOT NULL CHECK (output_token_nano >= 0),
  basis TEXT NOT NULL,                                  -- JSON: under which conditions it was set
  PRIMARY KEY (model, version)
);
CREATE TRIGGER price_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON price
  EXECUTE FUNCTION refuse('a price version is immutable');

-- Balances. Positive is used: a prepaid credit has limit 0 and a negative `posted_nano`. The cap is this CHECK.
CREATE TABLE account (
  id TEXT COLLATE "C" PRIMARY KEY,                      -- credit:<org>, bud:<scope>:<period>, revenue, contra:grant
  kind TEXT NOT NULL CHECK (kind IN ('credit', 'budget', 'contra')),
  limit_nano BIGINT,                                    -- NULL: no limit
  posted_nano BIGINT NOT NULL DEFAULT 0,
  reserved_nano BIGINT NOT NULL DEFAULT 0 CHECK (reserved_nano >= 0),
  wanted_nano BIGINT,                                   -- a lower limit that is reached as holds end
  alert_nano BIGINT,
  alerted_at_ms BIGINT,
  CONSTRAINT room CHECK (limit_nano IS NULL OR posted_nano + reserved_nano <= limit_nano)
) WITH (fillfactor = 50);
-- The other sides of charges, grants, and what budgets count.
INSERT INTO account (id, kind) VALUES ('revenue', 'contra'), ('contra:grant', 'contra'), ('contra:budget', 'contra');

-- What the account of a new period is made from.
CREATE TABLE budget (
  scope TEXT COLLATE "C" NOT NULL,
  period TEXT COLLATE "C" NOT NULL CHECK (period IN ('day', 'month', 'lifetime')),
  limit_nano BIGINT NOT NULL CHECK (limit_nano > 0),
  alert_nano BIGINT CHECK (alert_nano > 0),
  PRIMARY KEY (scope, period)
);

-- One request's quote, reserved in every account of `parts`: open -> posted | void, once.
CREATE TABLE hold (
  request_id TEXT COLLATE "C" PRIMARY KEY,
  attempt BIGINT NOT NULL DEFAULT 1,
  gateway_id TEXT NOT NULL,
  key_id TEXT COLLATE "C" NOT NULL,
  org_id TEXT COLLATE "C" NOT NULL,
  project_id TEXT COLLATE "C" NOT NULL,
  model TEXT COLLATE "C" NOT NULL,
  price_version BIGINT NOT NULL,
  tier TEXT COLLATE "C" NOT NULL CHECK (tier IN ('default', 'batch')),
  units TEXT NOT NULL,                                  -- JSON {"images": [1, 1], "output": 0}
  parts TEXT NOT NULL,                                  -- JSON [account_id, ...]
  rated TEXT NOT NULL,                                  -- JSON [[subject, name, minute_ms, amount], ...]: of rate limits
  amount_nano BIGINT NOT NULL CHECK (amount_nano >= 0),
  charged_nano BIGINT CONSTRAINT within_the_hold CHECK (charged_nano BETWEEN 0 AND amount_nano),
  state TEXT NOT NULL CHECK (state IN ('open', 'posted', 'void')),
  why TEXT COLLATE "C",                                 -- outcome of an ended hold: complete, client_left, engine_failed, ...
  body_sha TEXT NOT NULL,
  user_id TEXT COLLATE "C",                             -- the caller's end user
  metadata TEXT,                                        -- JSON, the caller's own
  idempotency_key TEXT,
  created_at_ms BIGINT NOT NULL,
  first_byte_at_ms BIGINT,
  expires_at_ms BIGINT NOT NULL,
  closed_at_ms BIGINT,
  CHECK ((state = 'posted') = (charged_nano IS NOT NULL)),
  FOREIGN KEY (model, price_version) REFERENCES price
);
CREATE INDEX hold_open ON hold (expires_at_ms) WHERE state = 'open';
CREATE INDEX hold_retry ON hold (key_id, body_sha) WHERE state = 'open';
CREATE INDEX hold_closed ON hold (closed_at_ms) WHERE state <> 'open';
CREATE TRIGGER hold_ends_once BEFORE UPDATE ON hold FOR EACH ROW WHEN (OLD.state <> 'open')
  EXECUTE FUNCTION refuse('hold has ended');
CREATE TRIGGER hold_no_delete BEFORE DELETE OR TRUNCATE ON hold EXECUTE FUNCTION refuse('append-only');

-- Which hold a client's silent retry goes on with.
CREATE TABLE takeover (
  request_id TEXT PRIMARY KEY,                          -- the retry's own
  hold_id TEXT NOT NULL REFERENCES hold,
  attempt BIGINT NOT NULL
);

CREATE TABLE idempotency (
  key_id TEXT NOT NULL,
  idempotency_key TEXT NOT NULL,
  body_sha TEXT NOT NULL,
  request_id TEXT NOT NULL REFERENCES hold,
  response TEXT,
  expires_at_ms BIGINT NOT NULL,
  PRIMARY KEY (key_id, idempotency_key)
);
CREATE INDEX idempotency_expiry ON idempotency (expires_at_ms);

-- One line of the ledger; the lines of one (kind, ref) sum to zero. Writers take turns, so lines can be numbered without gaps.
CREATE TABLE entry (
  seq BIGINT PRIMARY KEY,
  kind TEXT COLLATE "C" NOT NULL,                       -- charge, grant, refund
  ref TEXT COLLATE "C" NOT NULL,                        -- request id, grant id, refund id
  account_id TEXT COLLATE "C" NOT NULL REFERENCES account,
  amount_nano BIGINT NOT NULL,
  at_ms BIGINT NOT NULL,
  UNIQUE (kind, ref, account_id)
);
CREATE FUNCTION next_entry() RETURNS bigint LANGUAGE plpgsql AS
  $$ BEGIN RETURN (SELECT coalesce(max(seq), 0) + 1 FROM entry); END $$;
ALTER TABLE entry ALTER COLUMN seq SET DEFAULT next_entry();
CREATE TRIGGER entry_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON entry EXECUTE FUNCTION refuse('append-only');

-- What was given back of a charge.
CREATE TABLE refund (
  ref TEXT PRIMARY KEY,
  request_id TEXT COLLATE "C" NOT NULL REFERENCES hold,
  amount_nano BIGINT NOT NULL CHECK (amount_nano > 0),
  reason TEXT NOT NULL
);
CREATE INDEX refund_request ON refund (request_id);

-- One try of a request on one replica: what was measured of it.
CREATE TABLE attempt (
  request_id TEXT COLLATE "C" NOT NULL REFERENCES hold,
  attempt BIGINT NOT NULL,
  replica_id TEXT,                                      -- NULL: it ended before a replica was found
  finish TEXT,
  images BIGINT NOT NULL,
  text_tokens BIGINT NOT NULL,
  vision_tokens BIGINT NOT NULL,
  cached_tokens BIGINT NOT NULL,
  output_tokens BIGINT NOT NULL,
  ttft_ms BIGINT,                                       -- request read to first chunk of the engine
  latency_ms BIGINT NOT NULL,
  charged BIGINT NOT NULL CHECK (charged IN (0, 1)),
  slot_from_ms BIGINT,
  slot_to_ms BIGINT,
  PRIMARY KEY (request_id, attempt)
);
CREATE INDEX attempt_slot ON attempt (slot_to_ms);
CREATE TRIGGER attempt_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON attempt EXECUTE FUNCTION refuse('append-only');

-- One row a request that ended: who, what, how much.
CREATE VIEW usage AS
  SELECT hold.request_id, org_id, project_id, key_id, user_id, metadata, model, tier, price_version, units, images, text_tokens,
         vision_tokens, cached_tokens, output_tokens, amount_nano AS hold_nano, coalesce(charged_nano, 0) AS charged_nano,
         ttft_ms, latency_ms, replica_id, finish, why AS outcome, created_at_ms, closed_at_ms
  FROM hold LEFT JOIN attempt USING (request_id, attempt) WHERE state <> 'open';

-- How much of a key's rate limits is taken, by minute; minute 0 is `concurrency`. No money depends on it, so a crash may
-- forget it.
CREATE UNLOGGED TABLE rate (
  subject TEXT NOT NULL,                                -- the key's root id
  name TEXT NOT NULL,
  minute_ms BIGINT NOT NULL,
  used BIGINT NOT NULL CHECK (used >= 0),
  cap BIGINT NOT NULL,
  PRIMARY KEY (subject, name, minute_ms),
  CONSTRAINT within_the_rate CHECK (used <= cap)
) WITH (fillfactor = 50);

-- Sums of charged requests by time of admission, written with the charge itself.
CREATE TABLE rollup (
  width TEXT NOT NULL CHECK (width IN ('1m', '1h', '1d')),
  start_ms BIGINT NOT NULL,
  org_id TEXT COLLATE "C" NOT NULL,
  project_id TEXT COLLATE "C" NOT NULL,
  key_id TEXT COLLATE "C" NOT NULL,
  user_id TEXT COLLATE "C" NOT NULL,                    -- '': none was named
  model TEXT COLLATE "C" NOT NULL,
  tier TEXT COLLATE "C" NOT NULL,
  requests BIGINT NOT NULL,
  images BIGINT NOT NULL,
  units BIGINT NOT NULL,
  text_tokens BIGINT NOT NULL,
  vision_tokens BIGINT NOT NULL,
  cached_tokens BIGINT NOT NULL,
  output_tokens BIGINT NOT NULL,
  revenue_nano BIGINT NOT NULL,
  PRIMARY KEY (width, start_ms, org_id, project_id, key_id, user_id, model, tier)
) WITH (fillfactor = 50);

-- Fleet totals: everything that ended, by how.
CREATE TABLE total (
  model TEXT COLLATE "C" NOT NULL,
  outcome TEXT COLLATE "C" NOT NULL,
  requests BIGINT NOT NULL,
  images BIGINT NOT NULL,
  vision_tokens BIGINT NOT NULL,
  text_tokens BIGINT NOT NULL,
  output_tokens BIGINT NOT NULL,
  charged_nano BIGINT NOT NULL,
  PRIMARY KEY (model, outcome)
) WITH (fillfactor = 50);

CREATE TABLE api_key (
  id TEXT COLLATE "C" PRIMARY KEY,
  sha256 TEXT NOT NULL UNIQUE,
  org_id TEXT NOT NULL,
  project_id TEXT NOT NULL,
  name TEXT NOT NULL,
  scopes TEXT NOT NULL,                                 -- JSON ["inference", ...]
  created_at_ms BIGINT NOT NULL,
  expires_at_ms BIGINT,
  revoked_at_ms BIGINT,
  models TEXT NOT NULL,                                 -- JSON; []: all of them
  limits TEXT NOT NULL,                                 -- JSON {"requests_per_minute": 60, ...}
  root_id TEXT NOT NULL,
  rotated_to TEXT
);

-- The second witness, and the life of every replica.
CREATE TABLE sample (
  replica_id TEXT COLLATE "C" NOT NULL,
  epoch TEXT COLLATE "C" NOT NULL,
  at_ms BIGINT NOT NULL,
  model TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('loading', 'ready', 'ended')),
  rent_nano_per_hour BIGINT NOT NULL CHECK (rent_nano_per_hour >= 0),
  slots_held BIGINT NOT NULL,
  in_flight BIGINT,
  prompt_tokens BIGINT,
  output_tokens BIGINT,
  PRIMARY KEY (replica_id, epoch, at_ms)
);
CREATE INDEX sample_time ON sample (at_ms);

-- Every administrative change: who, what. No secret is ever in it.
CREATE TABLE audit (
  seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at_ms BIGINT NOT NULL,
  actor TEXT NOT NULL,                                  -- a key's id, or "operator"
  action TEXT NOT NULL,                                 -- the command's name
  content TEXT NOT NULL                                 -- JSON
);
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit EXECUTE FUNCTION refuse('append-only');
