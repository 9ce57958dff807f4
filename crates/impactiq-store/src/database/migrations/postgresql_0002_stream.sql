-- A stream is a topic read by a consumer group; clusters are told apart by their own id.
CREATE TABLE impactiq_streams (
    stream BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cluster TEXT NOT NULL,
    topic TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    UNIQUE (cluster, topic, consumer_group)
);

-- Where each partition is. Whoever is given it raises the epoch; who has another one writes nothing.
CREATE TABLE impactiq_stream_offsets (
    stream BIGINT NOT NULL,
    partition_id BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    owner TEXT NOT NULL,
    next_offset BIGINT,
    last_offset BIGINT,
    last_mark BIGINT,
    sent_offset BIGINT,
    n_scored BIGINT NOT NULL DEFAULT 0,
    n_dead BIGINT NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (stream, partition_id)
);

CREATE TABLE impactiq_stream_users (
    stream BIGINT NOT NULL,
    user_key BYTEA NOT NULL,
    state BYTEA NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (stream, user_key)
);

CREATE TABLE impactiq_stream_live (
    stream BIGINT PRIMARY KEY,
    epoch BIGINT NOT NULL,
    owner TEXT NOT NULL,
    seen_at BIGINT NOT NULL,
    state BYTEA
);

-- Requests of a stream are named by partition and offset and looked up by ranges of them: byte by byte, whatever the
-- database's own order of text is.
CREATE INDEX impactiq_requests_stream ON impactiq_requests (request_id COLLATE "C") WHERE door = 'stream';
