//! Users' windows in the store: many at once, read and written.

use impactiq_store::{WriteTransaction, unix_micros};
use sqlx::{Postgres, QueryBuilder, Sqlite};

use super::{Ledger, either};
use crate::error::StreamError;

/// Rows of a statement; four values each stay far below every limit.
const AT_ONCE: usize = 500;

const INSERT: &str = "INSERT INTO impactiq_stream_users (stream, user_key, state, updated_at) ";
const REPLACE: &str =
    " ON CONFLICT (stream, user_key) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at";
const FIND: &str = "SELECT user_key, state FROM impactiq_stream_users WHERE stream = ";

type Stored = (Vec<u8>, Vec<u8>);

impl Ledger {
    pub(super) async fn save_users(
        &self,
        transaction: &mut WriteTransaction,
        users: &[Stored],
    ) -> Result<(), StreamError> {
        let now = unix_micros();
        for chunk in users.chunks(AT_ONCE) {
            macro_rules! save {
                ($dialect:ty, $inner:expr) => {{
                    let mut query = QueryBuilder::<$dialect>::new(INSERT);
                    query.push_values(chunk, |mut row, (user, state)| {
                        row.push_bind(self.stream)
                            .push_bind(user.as_slice())
                            .push_bind(state.as_slice())
                            .push_bind(now);
                    });
                    query.push(REPLACE);
                    query.build().execute(&mut **$inner).await.map(|_| ())
                }};
            }
            let done = match &mut transaction.inner {
                impactiq_store::InnerTransaction::Sqlite(inner) => save!(Sqlite, inner),
                impactiq_store::InnerTransaction::Postgresql(inner) => save!(Postgres, inner),
            };
            done.map_err(|error| self.database.fault("writing users", error))?;
        }
        Ok(())
    }

    /// The states of those users who have one.
    ///
    /// # Errors
    /// What keeps the database from reading.
    pub async fn users(&self, users: &[&[u8]]) -> Result<Vec<Stored>, StreamError> {
        let mut found = Vec::new();
        for chunk in users.chunks(AT_ONCE) {
            macro_rules! find {
                ($dialect:ty, $pool:expr) => {{
                    let mut query = QueryBuilder::<$dialect>::new(FIND);
                    query.push_bind(self.stream).push(" AND user_key IN (");
                    let mut list = query.separated(", ");
                    chunk.iter().for_each(|user| {
                        list.push_bind(*user);
                    });
                    query.push(")");
                    query.build_query_as::<Stored>().fetch_all($pool).await
                }};
            }
            let rows = match self.database.pool() {
                impactiq_store::Pool::Sqlite(pool) => find!(Sqlite, pool),
                impactiq_store::Pool::Postgresql(pool) => find!(Postgres, pool),
            };
            found.extend(rows.map_err(|error| self.database.fault("reading users", error))?);
        }
        Ok(found)
    }

    /// How many users have windows in the store.
    ///
    /// # Errors
    /// What keeps the database from reading.
    pub async fn n_users(&self) -> Result<i64, StreamError> {
        let sql = "SELECT COUNT(*) FROM impactiq_stream_users WHERE stream = $1";
        let mut transaction = self.database.begin().await?;
        let n = either!(transaction, inner => {
            sqlx::query_scalar::<_, i64>(sql).bind(self.stream).fetch_one(&mut **inner).await
        });
        Ok(n.map_err(|error| self.database.fault("counting users", error))?)
    }
}
