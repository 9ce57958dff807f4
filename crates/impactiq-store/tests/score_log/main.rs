//! What the score log promises, on SQLite and (with `.ci/postgres`) on PostgreSQL.

mod databases;
mod kill;
mod outage;
mod paging;
mod refusals;
mod retries;
