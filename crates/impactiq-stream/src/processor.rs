//! A batch of events, from bytes to what is logged and sent. No Kafka, no database, no clock but the log's.
//!
//! Windows move on with every event whose user, time and columns are sound, whatever becomes of its score, as in
//! an event file. A batch is scored whole, across partitions; order is that of each partition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, RecordBatch, StringArray};
use impactiq_metrics::drift::DriftReport;
use impactiq_store::{Door, LoggedRequest, LoggedRow, unix_micros};

use crate::config::StreamConfig;
use crate::decode::{Decoded, LONGEST_NAME, Reader, put, rows_of, told};
use crate::drift::Drift;
use crate::encode::{Cells, Dead, Texts, read_dead, write_dead, write_message, write_scores};
use crate::error::StreamError;
use crate::incoming::Incoming;
use crate::ledger::{LoggedScore, Share};
use crate::live::{Decision, HoldOut};
use crate::model::{ModelWatch, StreamModel};
use crate::users::{StoredUser, UserCache, UserStates};
use crate::windows::{Events, WindowPlan};

/// What becomes of a batch.
#[derive(Debug)]
pub struct Processed {
    /// The events.
    pub incoming: Incoming,
    /// The model that answered.
    pub model: Arc<StreamModel>,
    /// Its number, from 1.
    pub batch: u64,
    /// Why an event is a dead letter.
    pub dead: Vec<Option<Dead>>,
    /// The model's id of each row that was answered by another one before; none where that is `model`.
    pub before: Vec<Option<String>>,
    /// Messages; of dead letters empty.
    pub messages: Texts,
    /// What is written to the store; empty where all of it stands there already.
    pub shares: Vec<Share>,
    /// The positions behind the batch: partition, epoch, next offset.
    pub ends: Vec<(i32, i64, i64)>,
}

impl Processed {
    /// Bytes of its events and of what is made of them.
    pub fn n_bytes(&self) -> usize {
        self.incoming.n_bytes() + self.messages.n_bytes()
    }

    /// Dead letters.
    pub fn n_dead(&self) -> usize {
        self.dead.iter().flatten().count()
    }

    /// The id of the model that answered a row.
    pub fn model_of(&self, row: usize) -> &str {
        self.before.get(row).and_then(Option::as_deref).unwrap_or_else(|| self.model.id())
    }
}

/// Users whose windows changed, with their state, by partition.
type Changed = BTreeMap<i32, Vec<StoredUser>>;

/// Names a batch's requests.
pub type RequestName = dyn Fn(i32, i64) -> String + Send;

/// The state of processing: the model in use and users' windows.
pub struct Processor {
    models: Arc<ModelWatch>,
    reader: Reader,
    plan: Option<WindowPlan>,
    hold_out: Option<(HoldOut, f64)>,
    users: UserCache,
    drift: Option<Drift>,
    states: Box<dyn UserStates>,
    name: Box<RequestName>,
    batch: u64,
    /// The last batch that is in the store, or will never be.
    committed: Arc<AtomicU64>,
}

impl Processor {
    /// A processor at its beginning.
    ///
    /// # Errors
    /// What [`StreamConfig::check`] says.
    pub fn new(
        config: &StreamConfig,
        models: Arc<ModelWatch>,
        states: Box<dyn UserStates>,
        name: Box<RequestName>,
    ) -> Result<Self, StreamError> {
        Ok(Processor {
            models,
            reader: Reader::new(&config.event)?,
            plan: config.plan()?,
            hold_out: config.hold_out()?,
            users: UserCache::new(config.windows_users),
            drift: None,
            states,
            name,
            batch: 0,
            committed: Arc::default(),
        })
    }

    /// Where whoever commits says which batch was last.
    pub fn committed(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.committed)
    }

    /// The model that answers now.
    pub fn model(&self) -> Arc<StreamModel> {
        self.models.current()
    }

    /// Users whose windows are in memory.
    pub fn n_users(&self) -> usize {
        self.users.len()
    }

    /// Scores events that are new.
    ///
    /// # Errors
    /// [`StreamError::Score`] for a model that cannot answer at all, what keeps users from being read, and
    /// [`StreamError::OtherDefinition`]. Nothing that one event can cause.
    pub fn process(&mut self, incoming: Incoming) -> Result<Processed, StreamError> {
        self.batch += 1;
        let model = self.models.current();
        let mut decoded = self.reader.read(&incoming, Some(&model), self.plan.as_ref());
        let (windows, users) = self.look_back(&incoming, &mut decoded)?;
        let (rows, errors) = rows_of(&model, &mut decoded, &windows)?;
        let scored = model.scorer.score_with(&rows, errors)?;
        for error in &scored.errors {
            put(&mut decoded.dead[error.row as usize], "bad_value", || told(error));
        }
        let is_good: Vec<bool> = decoded.dead.iter().map(Option::is_none).collect();
        self.watch_drift(&model, &rows, &scored.batch, &is_good);
        let cells = Cells::of(&scored.batch);
        let n_rows = incoming.len();
        let mut scores = Texts::with_capacity(n_rows, n_rows * 32 * (1 + model.score_keys.len()));
        let mut messages = Texts::with_capacity(n_rows, n_rows * (128 + 32 * model.score_keys.len()));
        for row in 0..n_rows {
            match &decoded.dead[row] {
                Some(dead) => write_dead(scores.writer(), dead),
                None => {
                    let decided = self.decide(&model, &cells, row, decoded.ids.value(row));
                    write_scores(scores.writer(), row, &model.score_keys, &cells, decided);
                }
            }
            scores.end();
            if decoded.dead[row].is_none() {
                let around = (&decoded.texts, self.reader.event());
                let id = decoded.ids.value(row);
                write_message(messages.writer(), row, id, model.id(), scores.get(row), around);
            }
            messages.end();
        }
        let Decoded { ids, dead, texts } = decoded;
        drop(texts);
        let shares = self.shares(&incoming, (&model, &ids), &dead, &scores, users);
        let ends = shares.iter().map(|share| (share.partition, share.epoch, share.next)).collect();
        Ok(Processed { incoming, model, batch: self.batch, dead, before: Vec::new(), messages, shares, ends })
    }

    /// Makes the messages of events again that are logged already; `logged` is in the order of the events.
    ///
    /// # Errors
    /// [`StreamError::LogGap`] for an event that the log does not have.
    pub fn again(&mut self, incoming: Incoming, logged: &[LoggedScore]) -> Result<Processed, StreamError> {
        self.batch += 1;
        let model = self.models.current();
        let decoded = self.reader.read(&incoming, None, None);
        let n_rows = incoming.len();
        let (mut dead, mut before) = (Vec::with_capacity(n_rows), Vec::with_capacity(n_rows));
        let mut messages = Texts::with_capacity(n_rows, n_rows * 256);
        let mut ends: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
        for row in 0..n_rows {
            let place = incoming.place(row);
            let score = logged.get(row).filter(|score| score.offset == place.offset);
            let score = score.ok_or(StreamError::LogGap { partition: place.partition, offset: place.offset })?;
            if score.error {
                dead.push(Some(read_dead(&score.scores)));
            } else {
                let around = (&decoded.texts, self.reader.event());
                let id = decoded.ids.value(row);
                write_message(messages.writer(), row, id, &score.model, score.scores.as_bytes(), around);
                dead.push(None);
            }
            messages.end();
            before.push(Some(score.model.clone()));
            ends.insert(place.partition, (place.epoch, place.offset + 1));
        }
        let ends = ends.into_iter().map(|(partition, (epoch, next))| (partition, epoch, next)).collect();
        drop(decoded);
        Ok(Processed { incoming, model, batch: self.batch, dead, before, messages, shares: Vec::new(), ends })
    }

    /// The last whole window of events beside the training rows.
    pub fn drift(&self) -> Option<&DriftReport> {
        self.drift.as_ref().and_then(Drift::last)
    }

    fn watch_drift(&mut self, model: &StreamModel, rows: &RecordBatch, scores: &RecordBatch, is_good: &[bool]) {
        if !self.drift.as_ref().is_some_and(|drift| drift.is_of(model)) {
            self.drift = Drift::of(model);
        }
        if let Some(drift) = &mut self.drift {
            drift.observe(rows, scores, model.effect, is_good);
        }
    }

    fn decide(&self, model: &StreamModel, cells: &[Cells<'_>], row: usize, id: &str) -> Option<(bool, Decision)> {
        let (hold_out, treat_above) = self.hold_out.as_ref()?;
        let effect = model.effect.and_then(|place| cells[place].number(row));
        let would_treat = effect.is_some_and(|effect| effect > *treat_above);
        Some((would_treat, hold_out.decide(id, would_treat)))
    }

    /// The windowed features of every row, and which users' states changed, by partition.
    fn look_back(
        &mut self,
        incoming: &Incoming,
        decoded: &mut Decoded<'_>,
    ) -> Result<(Vec<Vec<f64>>, Changed), StreamError> {
        let Some(plan) = &self.plan else { return Ok(Default::default()) };
        let (batch, errors) = decoded.texts.batch(plan.schema());
        let events = Events::of_batch(plan, &batch, &errors)?;
        let committed = self.committed.load(Ordering::Acquire);
        let get = |row: usize| events.get(row).filter(|event| event.user.len() <= LONGEST_NAME);
        let wanted = (0..events.n_rows()).filter_map(|row| Some((get(row)?.user, incoming.place(row))));
        self.users.begin(wanted, (self.batch, committed), plan, &*self.states)?;
        let n_features = plan.feature_names().len();
        let mut columns = vec![vec![f64::NAN; events.n_rows()]; n_features];
        let mut values = vec![f64::NAN; n_features];
        let mut changed: BTreeMap<i32, BTreeSet<&str>> = BTreeMap::new();
        for row in 0..events.n_rows() {
            let Some(event) = get(row) else { continue };
            if let Some(state) = self.users.state(event.user) {
                state.advance(plan, event, &mut values);
                columns.iter_mut().zip(&values).for_each(|(column, value)| column[row] = *value);
                changed.entry(incoming.place(row).partition).or_default().insert(event.user);
            }
        }
        let saved = changed.iter().map(|(partition, users)| (*partition, self.users.bytes(users, plan))).collect();
        for error in &errors {
            put(&mut decoded.dead[error.row as usize], "bad_value", || told(error));
        }
        for row in (0..events.n_rows()).filter(|row| get(*row).is_none()) {
            put(&mut decoded.dead[row], "bad_value", || {
                let config = plan.config();
                format!("an event needs '{}' (at most {LONGEST_NAME} bytes) and '{}'", config.user, config.time)
            });
        }
        self.users.forget(committed);
        Ok((columns, saved))
    }

    fn shares(
        &self,
        incoming: &Incoming,
        (model, ids): (&StreamModel, &StringArray),
        dead: &[Option<Dead>],
        scores: &Texts,
        mut users: Changed,
    ) -> Vec<Share> {
        let mut rows: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        (0..incoming.len()).for_each(|row| rows.entry(incoming.place(row).partition).or_default().push(row));
        let received_at = unix_micros();
        let share = |(partition, rows): (i32, Vec<usize>)| {
            let (first, last) = (incoming.place(*rows.first()?), *rows.last()?);
            let end = incoming.place(last).offset;
            let logged = |&row: &usize| LoggedRow {
                row: u32::try_from(incoming.place(row).offset - first.offset).unwrap_or(u32::MAX),
                id: (ids.is_valid(row) && ids.value(row).len() <= LONGEST_NAME).then(|| ids.value(row).to_owned()),
                scores: String::from_utf8_lossy(scores.get(row)).into_owned(),
                error: dead[row].is_some(),
            };
            let n_dead = rows.iter().filter(|row| dead[**row].is_some()).count() as i64;
            let request = LoggedRequest {
                request_id: Some((self.name)(partition, first.offset)),
                body_sha256: None,
                received_at,
                model_name: model.name.clone(),
                model_id: model.id().to_owned(),
                door: Door::Stream,
                rows: rows.iter().map(logged).collect(),
            };
            Some(Share {
                partition,
                epoch: first.epoch,
                first: first.offset,
                next: end + 1,
                last: (end, incoming.mark(last)),
                sent: None,
                request: Some(request),
                users: users.remove(&partition).unwrap_or_default(),
                counts: [rows.len() as i64 - n_dead, n_dead],
            })
        };
        rows.into_iter().filter_map(share).collect()
    }
}
