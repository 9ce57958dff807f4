-- No foreign keys: rows are written and deleted with their request in one transaction by one
-- program, and a trigger for each row would cost a third of the speed.
CREATE TABLE impactiq_models (
    model BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL,
    id TEXT NOT NULL,
    UNIQUE (name, id)
);

CREATE SEQUENCE impactiq_request_numbers AS BIGINT;

CREATE TABLE impactiq_requests (
    request BIGINT PRIMARY KEY,
    request_id TEXT UNIQUE,
    body_sha256 BYTEA,
    received_at BIGINT NOT NULL,
    model BIGINT NOT NULL,
    door TEXT NOT NULL,
    n_rows BIGINT NOT NULL
);

CREATE INDEX impactiq_requests_received_at ON impactiq_requests (received_at, request);
CREATE INDEX impactiq_requests_model ON impactiq_requests (model, received_at, request);

-- json, not jsonb: it keeps the text as it was answered.
CREATE TABLE impactiq_scores (
    request BIGINT NOT NULL,
    row_index BIGINT NOT NULL,
    id TEXT,
    scores JSON NOT NULL,
    error BOOLEAN NOT NULL,
    PRIMARY KEY (request, row_index)
);

CREATE INDEX impactiq_scores_id ON impactiq_scores (id) WHERE id IS NOT NULL;

CREATE VIEW impactiq_score_log AS
SELECT
    to_timestamp(r.received_at / 1000000.0) AS received_at,
    r.request_id, s.row_index, s.id, s.scores, s.error, m.name AS model_name, m.id AS model_id, r.door
FROM impactiq_scores s
JOIN impactiq_requests r ON r.request = s.request
JOIN impactiq_models m ON m.model = r.model;
