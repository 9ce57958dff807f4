//! The models a server holds, and which of them answers: swapped whole, remembered in a small
//! file, read from disk again on demand.
//!
//! A request takes its model once and keeps it to its end, so a promotion never fails one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use impactiq_data::error::closest_name;
use impactiq_io::RowReader;
use impactiq_score::{Reports, ScoreValue, Scorer};
use impactiq_store::{FileStamp, Lookup};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::error::ServeError;
use crate::live::drift::Drift;
use crate::settings::ModelSource;

/// A model that is ready to answer.
pub struct LoadedModel {
    /// The name requests use.
    pub name: String,
    /// Its directory.
    pub path: PathBuf,
    /// The scorer.
    pub scorer: Scorer,
    /// When it was read.
    pub loaded_at: OffsetDateTime,
    /// How far scored rows have moved from the training rows.
    pub(crate) drift: Option<Drift>,
    reports: Mutex<(Stamps, Arc<Reports>)>,
    lookup: OnceLock<Lookup>,
    texts: AnswerTexts,
    reader: RowReader,
    id_column: String,
}

/// What every answer of a model says in the same words, as JSON.
#[derive(Debug)]
pub(crate) struct AnswerTexts {
    /// `{"name":…,"id":…}`.
    pub model: String,
    /// Names of the score columns, as `"name":`.
    pub keys: Vec<String>,
    /// Labels of the arms, by code.
    pub arms: Vec<String>,
    /// Names of the effects as the live page tells them: `outcome/arm`.
    pub effects: Arc<[String]>,
    /// The model's name, plain.
    pub name: Arc<str>,
}

impl AnswerTexts {
    fn of(name: &str, scorer: &Scorer) -> Self {
        let manifest = scorer.manifest();
        // Texts always become JSON.
        let text = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let effects = scorer.columns().iter().filter_map(|column| {
            let ScoreValue::Cate(contrast) = column.value else { return None };
            let arm = manifest.roles.dose.as_ref().or_else(|| manifest.arms.get(contrast + 1))?;
            Some(format!("{}/{arm}", manifest.outcomes[column.outcome].name))
        });
        AnswerTexts {
            model: format!("{{\"name\":{},\"id\":{}}}", text(name), text(&manifest.id)),
            keys: scorer.columns().iter().map(|column| format!("{}:", text(&column.name))).collect(),
            arms: manifest.arms.iter().map(|label| text(label)).collect(),
            effects: effects.collect(),
            name: name.into(),
        }
    }
}

impl std::fmt::Debug for LoadedModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedModel").field("name", &self.name).field("id", &self.id()).finish_non_exhaustive()
    }
}

/// The files of the reports as they were read: a change is seen without a restart.
type Stamps = [Option<FileStamp>; 3];

fn stamps(path: &Path) -> Stamps {
    ["reports/evaluation.json", "reports/check.json", "profile.json"].map(|name| FileStamp::of(&path.join(name)))
}

impl LoadedModel {
    /// Opens a model and its reports.
    ///
    /// # Errors
    /// [`ServeError::Model`].
    pub fn open(source: &ModelSource) -> Result<LoadedModel, ServeError> {
        let failed =
            |error| ServeError::Model { name: source.name.clone(), path: source.path.clone(), source: Box::new(error) };
        let scorer = Scorer::open(&source.path).map_err(failed)?;
        let stamps = stamps(&source.path);
        let reports = Arc::new(Reports::read(&source.path).map_err(failed)?);
        let drift = reports.profile.as_ref().and_then(Drift::new);
        let id_column = scorer.manifest().roles.id.first().cloned().unwrap_or_else(|| "id".to_owned());
        Ok(LoadedModel {
            name: source.name.clone(),
            path: source.path.clone(),
            lookup: OnceLock::new(),
            texts: AnswerTexts::of(&source.name, &scorer),
            reader: RowReader::new(scorer.schema(), &id_column),
            id_column,
            scorer,
            loaded_at: OffsetDateTime::now_utc(),
            drift,
            reports: Mutex::new((stamps, reports)),
        })
    }

    /// What training and evaluation found, as it is on disk now.
    pub fn reports(&self) -> Arc<Reports> {
        let mut kept = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamps(&self.path);
        if now != kept.0
            && let Ok(reports) = Reports::read(&self.path)
        {
            *kept = (now, Arc::new(reports));
        }
        Arc::clone(&kept.1)
    }

    /// The table that lends rows the columns they did not bring.
    pub fn lookup(&self) -> Option<&Lookup> {
        self.lookup.get()
    }

    /// Gives the model its table, once, before it answers.
    pub fn lend(&self, lookup: Lookup) {
        // A second table would be a mistake of ours; the first one stays.
        let _ = self.lookup.set(lookup);
    }

    /// What its answers are written with.
    pub(crate) fn texts(&self) -> &AnswerTexts {
        &self.texts
    }

    /// Reads JSON rows into the model's types.
    pub(crate) fn reader(&self) -> &RowReader {
        &self.reader
    }

    /// The column that names rows: the model's id column, or `id`.
    pub fn id_column(&self) -> &str {
        &self.id_column
    }

    /// The model's id.
    pub fn id(&self) -> &str {
        &self.scorer.manifest().id
    }
}

/// The models at one moment.
#[derive(Clone, Debug)]
pub struct Shelf {
    /// All models, in the order of the settings.
    pub models: Vec<Arc<LoadedModel>>,
    /// The one that answers requests without a name.
    pub active: usize,
    /// The one that answered before.
    pub previous: Option<String>,
}

impl Shelf {
    /// The active model.
    pub fn active(&self) -> &Arc<LoadedModel> {
        &self.models[self.active]
    }

    /// The model of a name, or the active one.
    ///
    /// # Errors
    /// [`ServeError::UnknownModel`] with the most similar name.
    pub fn find(&self, name: Option<&str>) -> Result<&Arc<LoadedModel>, ServeError> {
        match name {
            None => Ok(self.active()),
            Some(name) => Ok(&self.models[self.position(name)?]),
        }
    }

    fn position(&self, name: &str) -> Result<usize, ServeError> {
        self.models.iter().position(|model| model.name == name).ok_or_else(|| {
            let known: Vec<String> = self.models.iter().map(|model| model.name.clone()).collect();
            ServeError::UnknownModel {
                name: name.to_owned(),
                closest: closest_name(name, &known).map(str::to_owned),
                known,
            }
        })
    }
}

/// What reading the models again found.
#[derive(Clone, Debug, Default)]
pub struct Reread {
    /// New versions, by their place on the shelf.
    pub new: Vec<(usize, Arc<LoadedModel>)>,
    /// Models that are as they were.
    pub unchanged: Vec<String>,
    /// Models that cannot be used, and why; the versions read before keep answering.
    pub failed: Vec<(String, String)>,
}

/// The models, changeable while requests come.
#[derive(Debug)]
pub struct Registry {
    sources: Vec<ModelSource>,
    shelf: RwLock<Arc<Shelf>>,
    /// Held while a change is made, so that two never cross.
    changing: Mutex<()>,
    state: Option<PathBuf>,
}

impl Registry {
    /// Opens all models; the state file, where there is one, says which of them answers.
    ///
    /// # Errors
    /// [`ServeError::NoModel`], [`ServeError::Model`].
    pub fn open(sources: &[ModelSource], state: Option<PathBuf>) -> Result<Registry, ServeError> {
        let models: Result<Vec<_>, _> = sources.iter().map(|source| LoadedModel::open(source).map(Arc::new)).collect();
        let models = models?;
        if models.is_empty() {
            return Err(ServeError::NoModel);
        }
        let (active, previous) = state.as_deref().map(remembered).unwrap_or_default();
        let at = |name: &String| models.iter().position(|model| model.name == *name);
        let position = active.as_ref().and_then(at);
        if let (Some(name), None) = (&active, position) {
            tracing::warn!(model = %name, "the model that answered last is not among those given; the first one answers");
        }
        let active = position.unwrap_or(0);
        let previous = previous.filter(|name| at(name).is_some_and(|index| index != active));
        let shelf = RwLock::new(Arc::new(Shelf { models, active, previous }));
        Ok(Registry { sources: sources.to_vec(), shelf, changing: Mutex::new(()), state })
    }

    /// The models now.
    pub fn shelf(&self) -> Arc<Shelf> {
        Arc::clone(&self.shelf.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets a model answer requests that name none.
    ///
    /// # Errors
    /// [`ServeError::UnknownModel`]; [`ServeError::File`] when it cannot be remembered (it then
    /// does not answer either).
    pub fn promote(&self, name: &str) -> Result<Arc<Shelf>, ServeError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.shelf();
        let active = now.position(name)?;
        if active == now.active {
            return Ok(now);
        }
        self.put(Shelf { models: now.models.clone(), active, previous: Some(now.active().name.clone()) })
    }

    /// Lets the model answer that did before.
    ///
    /// # Errors
    /// [`ServeError::NothingBefore`], and as [`Registry::promote`].
    pub fn roll_back(&self) -> Result<Arc<Shelf>, ServeError> {
        let previous = self.shelf().previous.clone().ok_or(ServeError::NothingBefore)?;
        self.promote(&previous)
    }

    /// Reads every model directory again, without changing who answers: new versions are in
    /// `new`, by their place.
    pub fn reread(&self) -> Reread {
        let now = self.shelf();
        let mut found = Reread::default();
        for (index, (source, model)) in self.sources.iter().zip(&now.models).enumerate() {
            match LoadedModel::open(source) {
                Ok(new) if new.id() == model.id() => found.unchanged.push(source.name.clone()),
                Ok(new) => found.new.push((index, Arc::new(new))),
                Err(error) => {
                    tracing::warn!(model = %source.name, %error, "a model cannot be read again; the one read before stays");
                    found.failed.push((source.name.clone(), error.to_string()));
                }
            }
        }
        found
    }

    /// Lets new versions answer from now on.
    pub fn swap(&self, new: &[(usize, Arc<LoadedModel>)]) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shelf = (*self.shelf()).clone();
        for (index, model) in new {
            shelf.models[*index] = Arc::clone(model);
        }
        *self.shelf.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(shelf);
    }

    fn put(&self, shelf: Shelf) -> Result<Arc<Shelf>, ServeError> {
        if let Some(path) = &self.state {
            let text = json!({"active": shelf.active().name, "previous": shelf.previous}).to_string();
            impactiq_io::write_file(path, text.as_bytes()).map_err(|error| ServeError::File {
                path: path.clone(),
                action: "written",
                source: std::io::Error::other(error),
            })?;
        }
        let shelf = Arc::new(shelf);
        *self.shelf.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&shelf);
        Ok(shelf)
    }
}

/// Active and previous model of a state file; a file that cannot be read says nothing.
fn remembered(path: &Path) -> (Option<String>, Option<String>) {
    let Ok(text) = std::fs::read(path) else { return (None, None) };
    let Ok(value) = serde_json::from_slice::<Value>(&text) else {
        tracing::warn!(path = %path.display(), "the state file cannot be understood; the first model answers");
        return (None, None);
    };
    let word = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    (word("active"), word("previous"))
}
