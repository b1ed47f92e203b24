-- Version 2: budgets, rate limits, idempotency, retries, rollups, samples, audit.

ALTER TABLE account ADD COLUMN wanted_nano INTEGER;     -- a lower limit that is reached as holds end
ALTER TABLE account ADD COLUMN alert_nano INTEGER;
ALTER TABLE account ADD COLUMN alerted_at_ms INTEGER;

ALTER TABLE hold ADD COLUMN org_id TEXT NOT NULL DEFAULT 'default';
ALTER TABLE hold ADD COLUMN project_id TEXT NOT NULL DEFAULT 'default';
ALTER TABLE hold ADD COLUMN idempotency_key TEXT;
ALTER TABLE hold ADD COLUMN first_byte_at_ms INTEGER;
ALTER TABLE hold ADD COLUMN rated TEXT NOT NULL DEFAULT '[]';  -- JSON [[subject, name, minute_ms, amount], ...]: what it took of rate limits
DROP TRIGGER hold_ends_once;
UPDATE hold SET (org_id, project_id) = (SELECT org_id, project_id FROM api_key WHERE id = key_id)
  WHERE key_id IN (SELECT id FROM api_key);
CREATE TRIGGER hold_ends_once BEFORE UPDATE ON hold WHEN OLD.state <> 'open'
  BEGIN SELECT RAISE(ABORT, 'hold has ended'); END;
CREATE INDEX hold_retry ON hold (key_id, body_sha) WHERE state = 'open';

ALTER TABLE attempt ADD COLUMN slot_from_ms INTEGER;
ALTER TABLE attempt ADD COLUMN slot_to_ms INTEGER;
CREATE INDEX attempt_slot ON attempt (slot_to_ms);

ALTER TABLE api_key ADD COLUMN models TEXT NOT NULL DEFAULT '[]';
ALTER TABLE api_key ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';
ALTER TABLE api_key ADD COLUMN root_id TEXT NOT NULL DEFAULT '';
ALTER TABLE api_key ADD COLUMN rotated_to TEXT;

-- What the account of a new period is made from.
CREATE TABLE budget (
  scope TEXT NOT NULL,
  period TEXT NOT NULL CHECK (period IN ('day', 'month', 'lifetime')),
  limit_nano INTEGER NOT NULL CHECK (limit_nano > 0),
  alert_nano INTEGER CHECK (alert_nano > 0),
  PRIMARY KEY (scope, period)
) STRICT;

-- How much of a key's rate limits is taken, by minute; minute 0 is `concurrency`. No money depends on it.
CREATE TABLE rate (
  subject TEXT NOT NULL,                                -- the key's root id
  name TEXT NOT NULL,
  minute_ms INTEGER NOT NULL,
  used INTEGER NOT NULL CHECK (used >= 0),
  cap INTEGER NOT NULL,
  PRIMARY KEY (subject, name, minute_ms),
  CONSTRAINT within_the_rate CHECK (used <= cap)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
  key_id TEXT NOT NULL,
  idempotency_key TEXT NOT NULL,
  body_sha TEXT NOT NULL,
  request_id TEXT NOT NULL REFERENCES hold,
  response TEXT,
  expires_at_ms INTEGER NOT NULL,
  PRIMARY KEY (key_id, idempotency_key)
) STRICT;

CREATE INDEX idempotency_expiry ON idempotency (expires_at_ms);

-- Which hold a client's silent retry goes on with.
CREATE TABLE takeover (
  request_id TEXT PRIMARY KEY,                          -- the retry's own
  hold_id TEXT NOT NULL REFERENCES hold,
  attempt INTEGER NOT NULL
) STRICT;

-- Sums of charged requests by time of admission, written with the charge itself.
CREATE TABLE rollup (
  width TEXT NOT NULL CHECK (width IN ('1m', '1h', '1d')),
  start_ms INTEGER NOT NULL,
  org_id TEXT NOT NULL,
  project_id TEXT NOT NULL,
  key_id TEXT NOT NULL,
  user_id TEXT NOT NULL,                                -- '': none was named
  model TEXT NOT NULL,
  tier TEXT NOT NULL,
  requests INTEGER NOT NULL,
  images INTEGER NOT NULL,
  units INTEGER NOT NULL,
  text_tokens INTEGER NOT NULL,
  vision_tokens INTEGER NOT NULL,
  cached_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  revenue_nano INTEGER NOT NULL,
  PRIMARY KEY (width, start_ms, org_id, project_id, key_id, user_id, model, tier)
) STRICT, WITHOUT ROWID;

-- The second witness, and the life of every replica.
CREATE TABLE sample (
  replica_id TEXT NOT NULL,
  epoch TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  model TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('loading', 'ready', 'ended')),
  rent_nano_per_hour INTEGER NOT NULL CHECK (rent_nano_per_hour >= 0),
  slots_held INTEGER NOT NULL,
  in_flight INTEGER,
  prompt_tokens INTEGER,
  output_tokens INTEGER,
  PRIMARY KEY (replica_id, epoch, at_ms)
) STRICT;
CREATE INDEX sample_time ON sample (at_ms);

-- Every administrative change: who, what. No secret is ever in it.
CREATE TABLE audit (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms INTEGER NOT NULL,
  actor TEXT NOT NULL,                                  -- a key's id, or "operator"
  action TEXT NOT NULL,                                 -- the command's name
  content TEXT NOT NULL                                 -- JSON
) STRICT;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'append-only'); END;

-- What was given back of a charge.
CREATE TABLE refund (
  ref TEXT PRIMARY KEY,
  request_id TEXT NOT NULL REFERENCES hold,
  amount_nano INTEGER NOT NULL CHECK (amount_nano > 0),
  reason TEXT NOT NULL
) STRICT;
CREATE INDEX refund_request ON refund (request_id);

-- The other side of what budgets count.
INSERT INTO account (id, kind) VALUES ('contra:budget', 'contra');

-- Fleet totals: everything that ended, by how.
CREATE TABLE total (
  model TEXT NOT NULL,
  outcome TEXT NOT NULL,
  requests INTEGER NOT NULL,
  images INTEGER NOT NULL,
  vision_tokens INTEGER NOT NULL,
  text_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  charged_nano INTEGER NOT NULL,
  PRIMARY KEY (model, outcome)
) STRICT, WITHOUT ROWID;
INSERT INTO total
  SELECT model, outcome, count(*), coalesce(sum(images), 0), coalesce(sum(vision_tokens), 0), coalesce(sum(text_tokens), 0),
         coalesce(sum(output_tokens), 0), sum(charged_nano) FROM usage GROUP BY model, outcome;
DROP INDEX hold_ended;
DROP VIEW usage;
CREATE VIEW usage AS
  SELECT hold.request_id, org_id, project_id, key_id, user_id, metadata, model, tier, price_version, units, images, text_tokens,
         vision_tokens, cached_tokens, output_tokens, amount_nano AS hold_nano, coalesce(charged_nano, 0) AS charged_nano,
         ttft_ms, latency_ms, replica_id, finish, why AS outcome, created_at_ms, closed_at_ms
  FROM hold LEFT JOIN attempt USING (request_id, attempt) WHERE state <> 'open';
CREATE INDEX hold_closed ON hold (closed_at_ms) WHERE state <> 'open';

-- The charges of version 1 had no rollups yet.
INSERT INTO rollup
  SELECT width.name, created_at_ms - created_at_ms % width.ms, org_id, project_id, key_id, coalesce(user_id, ''), model, tier,
         count(*), sum(images), sum((SELECT sum(value) FROM json_each(units, '$.images'))), sum(text_tokens),
         sum(vision_tokens), sum(cached_tokens), sum(output_tokens), sum(charged_nano)
  FROM hold JOIN attempt USING (request_id, attempt),
       (SELECT '1m' AS name, 60000 AS ms UNION ALL SELECT '1h', 3600000 UNION ALL SELECT '1d', 86400000) AS width
  WHERE state = 'posted'
  GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;
