-- No foreign keys: rows are written and deleted with their request in one transaction by one
-- program, and a check for each row would cost a third of the speed.
CREATE TABLE impactiq_models (
    model INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    id TEXT NOT NULL,
    UNIQUE (name, id)
) STRICT;

CREATE TABLE impactiq_requests (
    request INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT UNIQUE,
    body_sha256 BLOB,
    received_at INTEGER NOT NULL,
    model INTEGER NOT NULL,
    door TEXT NOT NULL,
    n_rows INTEGER NOT NULL
) STRICT;

CREATE INDEX impactiq_requests_received_at ON impactiq_requests (received_at);
CREATE INDEX impactiq_requests_model ON impactiq_requests (model, received_at);

CREATE TABLE impactiq_scores (
    request INTEGER NOT NULL,
    row_index INTEGER NOT NULL,
    id TEXT,
    scores TEXT NOT NULL,
    error INTEGER NOT NULL,
    PRIMARY KEY (request, row_index)
) STRICT, WITHOUT ROWID;

CREATE INDEX impactiq_scores_id ON impactiq_scores (id) WHERE id IS NOT NULL;

CREATE VIEW impactiq_score_log AS
SELECT
    strftime('%Y-%m-%dT%H:%M:%fZ', r.received_at / 1000000.0, 'unixepoch') AS received_at,
    r.request_id, s.row_index, s.id, s.scores, s.error, m.name AS model_name, m.id AS model_id, r.door
FROM impactiq_scores s
JOIN impactiq_requests r ON r.request = s.request
JOIN impactiq_models m ON m.model = r.model;
