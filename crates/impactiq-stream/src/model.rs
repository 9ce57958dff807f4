//! The model in use, its look-up table, and how another one takes its place while events flow.
//!
//! A batch takes the model once and keeps it to its end. What scores mean is `impactiq-score`'s business.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use impactiq_data::{Field, Schema};
use impactiq_score::{Reports, ScoreValue, Scorer};
use impactiq_store::{FileStamp, Lookup, LookupSettings};

use crate::error::StreamError;

/// How often the model directory is looked at. It is read when it stayed the same from one look to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const MANIFEST: &str = "manifest.json";

/// A model that is ready to answer events.
#[derive(Debug)]
pub struct StreamModel {
    /// The name in the log: that of its directory.
    pub name: String,
    /// The scorer.
    pub scorer: Scorer,
    /// What training and evaluation found, where it can be read.
    pub reports: Option<Reports>,
    /// The table that lends events the columns they did not bring.
    pub(crate) lookup: Option<Lent>,
    /// Raw columns an event itself brings, with their types.
    pub(crate) own: Schema,
    /// Raw columns that windows compute: their place among the plan's features.
    pub(crate) windowed: Vec<(String, usize)>,
    /// The names of the score columns as `"name":`.
    pub(crate) score_keys: Vec<String>,
    /// The column of the effect that decides and is watched: the first.
    pub(crate) effect: Option<usize>,
}

/// A look-up table and what it lends.
pub(crate) struct Lent {
    pub table: Lookup,
    pub key: Schema,
    /// Columns, with their types.
    pub columns: Schema,
}

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lent").field("columns", &self.columns.names()).finish_non_exhaustive()
    }
}

impl StreamModel {
    /// Opens a model directory. `windows` are the names of windowed features.
    ///
    /// # Errors
    /// [`StreamError::Score`], [`StreamError::Store`] for a look-up table that cannot be read or does not fit.
    pub async fn open(path: &Path, windows: &[String], lookup: Option<&LookupSettings>) -> Result<Self, StreamError> {
        let place = path.to_owned();
        // Reports that are missing or damaged keep no model from answering.
        let opening = tokio::task::spawn_blocking(move || {
            Scorer::open(&place).map(|scorer| (scorer, Reports::read(&place).ok()))
        });
        let (scorer, reports) = opening.await.map_err(|_| StreamError::Stopped { what: "reading the model" })??;
        let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let name = whole.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned());
        let schema = scorer.schema();
        let windowed: Vec<(String, usize)> = schema
            .names()
            .into_iter()
            .filter_map(|name| windows.iter().position(|known| *known == name).map(|place| (name, place)))
            .collect();
        let is_windowed = |field: &&Field| windowed.iter().any(|(name, _)| *name == field.name);
        let rest: Vec<Field> = schema.fields().iter().filter(|field| !is_windowed(field)).cloned().collect();
        let rest = Schema::new(rest)?;
        let lookup = match lookup {
            Some(settings) => Some(lend(settings, &rest).await?),
            None => None,
        };
        // Texts always become JSON.
        let key = |name: &str| format!("{}:", serde_json::to_string(name).unwrap_or_default());
        let score_keys = scorer.columns().iter().map(|column| key(&column.name)).collect();
        let effect = scorer.columns().iter().position(|column| matches!(column.value, ScoreValue::Cate(_)));
        Ok(StreamModel { name, scorer, reports, lookup, own: rest, windowed, score_keys, effect })
    }

    /// The id of its content.
    pub fn id(&self) -> &str {
        &self.scorer.manifest().id
    }

    /// Raw columns that an event must bring itself.
    pub(crate) fn must_bring(&self) -> Vec<String> {
        let lent = self.lookup.as_ref().map(|lent| lent.columns.names()).unwrap_or_default();
        self.own.names().into_iter().filter(|name| !lent.contains(name)).collect()
    }
}

async fn lend(settings: &LookupSettings, schema: &Schema) -> Result<Lent, StreamError> {
    let table = Lookup::load(settings.clone(), schema).await?;
    let names = table.state().columns;
    let columns = schema.project(&names)?;
    let key = Schema::new(vec![Field { name: settings.key.clone(), raw_type: impactiq_data::RawType::Text }])?;
    Ok(Lent { table, key, columns })
}

/// The model now, and whoever looks for another one.
#[derive(Debug)]
pub struct ModelWatch {
    path: PathBuf,
    windows: Vec<String>,
    lookup: Option<LookupSettings>,
    current: RwLock<Arc<StreamModel>>,
}

impl ModelWatch {
    /// Opens the model and, on the run-time it is called on, looks for another one until it is dropped.
    ///
    /// # Errors
    /// As [`StreamModel::open`].
    pub async fn open(
        path: &Path,
        windows: Vec<String>,
        lookup: Option<LookupSettings>,
    ) -> Result<Arc<Self>, StreamError> {
        let model = StreamModel::open(path, &windows, lookup.as_ref()).await?;
        let watch =
            Arc::new(ModelWatch { path: path.to_owned(), windows, lookup, current: RwLock::new(Arc::new(model)) });
        tokio::spawn(look(Arc::downgrade(&watch), stamp(path)));
        Ok(watch)
    }

    /// The model now.
    pub fn current(&self) -> Arc<StreamModel> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the directory again; true where another model takes the place of the one before.
    ///
    /// # Errors
    /// As [`StreamModel::open`]; the one before stays then.
    pub async fn read_again(&self) -> Result<bool, StreamError> {
        let model = StreamModel::open(&self.path, &self.windows, self.lookup.as_ref()).await?;
        let is_new = model.id() != self.current().id();
        if is_new {
            tracing::info!(model = model.id(), before = self.current().id(), "another model answers from now on");
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(model);
        }
        Ok(is_new)
    }
}

/// What a manifest looks like from outside.
fn stamp(path: &Path) -> Option<FileStamp> {
    FileStamp::of(&path.join(MANIFEST))
}

async fn look(watch: Weak<ModelWatch>, opened: Option<FileStamp>) {
    let (mut tried, mut seen) = (opened, opened);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(watch) = watch.upgrade() else { return };
        let now = stamp(&watch.path);
        let settled = now.is_some() && now == seen && now != tried;
        seen = now;
        if settled {
            tried = now;
            if let Err(error) = watch.read_again().await {
                tracing::warn!(%error, "the model cannot be read again; the one read before stays");
            }
        }
    }
}
