-- A stream is a topic read by a consumer group; clusters are told apart by their own id.
CREATE TABLE impactiq_streams (
    stream INTEGER PRIMARY KEY,
    cluster TEXT NOT NULL,
    topic TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    UNIQUE (cluster, topic, consumer_group)
) STRICT;

-- Where each partition is. Whoever is given it raises the epoch; who has another one writes nothing.
CREATE TABLE impactiq_stream_offsets (
    stream INTEGER NOT NULL,
    partition_id INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    owner TEXT NOT NULL,
    next_offset INTEGER,
    last_offset INTEGER,
    last_mark INTEGER,
    sent_offset INTEGER,
    n_scored INTEGER NOT NULL DEFAULT 0,
    n_dead INTEGER NOT NULL DEFAULT 0,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (stream, partition_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE impactiq_stream_users (
    stream INTEGER NOT NULL,
    user_key BLOB NOT NULL,
    state BLOB NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (stream, user_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE impactiq_stream_live (
    stream INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    owner TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    state BLOB
) STRICT;
