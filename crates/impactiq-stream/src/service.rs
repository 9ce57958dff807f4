//! A stream put together from its configuration: model, store, broker, flow. Nothing happens here that its parts
//! don't do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::Schema;
use impactiq_data::Watch;
use impactiq_store::ScoreLog;
use tokio::runtime::Handle;

use crate::config::{Delivery, StreamConfig};
use crate::error::StreamError;
use crate::figures::Figures;
use crate::flow::{Flow, FlowSettings, Sink, Stop, StoredStates};
use crate::follow::LiveView;
use crate::incoming::Incoming;
use crate::kafka::{
    Cluster, Follower, KafkaSource, Member, PlainSink, Span, SpanReader, TransactionSink, member_name, read_some,
};
use crate::ledger::{Ledger, StreamName};
use crate::model::{ModelWatch, StreamModel};
use crate::partitions::Partitions;
use crate::processor::{Processed, Processor};
use crate::users::NoStates;

/// Everything of a stream that somebody may look at while it runs.
#[derive(Clone)]
pub struct Service {
    /// The configuration.
    pub config: Arc<StreamConfig>,
    /// The model in use.
    pub models: Arc<ModelWatch>,
    /// The score log.
    pub log: ScoreLog,
    /// Counters.
    pub figures: Arc<Figures>,
    /// Tells it to stop.
    pub stop: Arc<Stop>,
    /// When it began.
    pub started: Instant,
    /// This member's name.
    pub member: String,
    /// The last live report.
    pub live: Arc<LiveView>,
    handle: Handle,
}

/// What tells a stream to stop: what is under way then gets half of the session's time.
pub fn stop(config: &StreamConfig) -> Arc<Stop> {
    Arc::new(Stop::new(config.kafka.session_timeout.0 / 2))
}

impl Service {
    /// Opens model and store. Not to be called on a thread of the run-time.
    ///
    /// # Errors
    /// What model, look-up and store say; a store that is away is waited for.
    pub fn open(config: &StreamConfig, handle: &Handle, stop: &Arc<Stop>) -> Result<Service, StreamError> {
        let figures = Arc::new(Figures::default());
        let stop = Arc::clone(stop);
        let models = handle.block_on(open_model(config))?;
        let settings = config.log_settings();
        let log = stop.insist(handle, &figures, || async { Ok(ScoreLog::open(settings.clone()).await?) })?;
        Ok(Service {
            config: Arc::new(config.clone()),
            models,
            log,
            figures,
            stop,
            started: Instant::now(),
            member: member_name(&config.kafka),
            live: Arc::default(),
            handle: handle.clone(),
        })
    }

    /// A stream of this name in the store.
    ///
    /// # Errors
    /// What keeps the store from being written.
    pub fn ledger(&self, name: &StreamName) -> Result<Ledger, StreamError> {
        self.stop.insist(&self.handle, &self.figures, || Ledger::open(self.log.database(), name, &self.member))
    }

    /// Users' states and names of requests as the store has them.
    ///
    /// # Errors
    /// What [`Processor::new`] says.
    pub fn processor(&self, ledger: &Ledger) -> Result<Processor, StreamError> {
        let states = StoredStates {
            ledger: ledger.clone(),
            handle: self.handle.clone(),
            stop: Arc::clone(&self.stop),
            figures: Arc::clone(&self.figures),
        };
        let names = ledger.clone();
        let name = Box::new(move |partition, offset| names.request_id(partition, offset));
        Processor::new(&self.config, Arc::clone(&self.models), Box::new(states), name)
    }

    /// Sizes and times of the flow.
    pub fn settings(&self) -> FlowSettings {
        let kafka = &self.config.kafka;
        FlowSettings {
            batch_rows: kafka.batch_rows,
            linger: kafka.linger.0,
            in_flight_rows: kafka.in_flight_rows,
            delivery: kafka.delivery,
        }
    }

    /// The stream's place in the store, once the broker has said which cluster it is. A broker that is away is
    /// waited for; a topic that is missing is an error.
    ///
    /// # Errors
    /// [`StreamError::NoTopic`], [`StreamError::Kafka`] for what cannot pass.
    pub fn meet(&self) -> Result<Ledger, StreamError> {
        let kafka = &self.config.kafka;
        let cluster = self.stop.insist(&self.handle, &self.figures, || async { Cluster::connect(kafka) })?;
        let topics = [Some(&kafka.events), kafka.scores.as_ref(), kafka.outcomes.as_ref()];
        for topic in topics.into_iter().flatten().map(String::as_str).chain(self.config.dead_letters()) {
            self.stop.insist(&self.handle, &self.figures, || async { cluster.partitions(topic) })?;
        }
        let (topic, group) = (kafka.events.clone(), kafka.group.clone());
        self.ledger(&StreamName { cluster: cluster.id, topic, group })
    }

    /// Scores events until it is told to stop. Not to be called on a thread of the run-time.
    ///
    /// # Errors
    /// What cannot pass.
    pub fn run(&self, ledger: &Ledger) -> Result<(), StreamError> {
        let partitions = Arc::new(Partitions::default());
        let source = KafkaSource::join(Member {
            config: self.config.kafka.clone(),
            ledger: ledger.clone(),
            handle: self.handle.clone(),
            partitions: Arc::clone(&partitions),
            figures: Arc::clone(&self.figures),
            stop: Arc::clone(&self.stop),
        })?;
        let sink: Box<dyn Sink> = match self.config.kafka.delivery {
            Delivery::AtLeastOnce => Box::new(PlainSink::new(&self.config, &self.stop)?),
            Delivery::ExactlyOnce => Box::new(TransactionSink::new(&self.config, &source, &self.member, &self.stop)),
        };
        let flow = Flow {
            source: Box::new(source),
            sink,
            processor: self.processor(ledger)?,
            ledger: ledger.clone(),
            handle: self.handle.clone(),
            partitions,
            figures: Arc::clone(&self.figures),
            stop: Arc::clone(&self.stop),
            topic: self.config.kafka.events.clone(),
            settings: self.settings(),
        };
        std::thread::scope(|scope| {
            if self.config.kafka.outcomes.is_some() {
                let follower = Follower {
                    config: Arc::clone(&self.config),
                    models: Arc::clone(&self.models),
                    ledger: ledger.clone(),
                    handle: self.handle.clone(),
                    stop: Arc::clone(&self.stop),
                    view: Arc::clone(&self.live),
                };
                scope.spawn(move || follower.run());
            }
            let done = flow.run();
            // Whoever follows stops with the flow.
            self.stop.ask();
            done
        })
    }
}

async fn open_model(config: &StreamConfig) -> Result<Arc<ModelWatch>, StreamError> {
    let windows = config.plan()?.map(|plan| plan.feature_names()).unwrap_or_default();
    ModelWatch::open(&config.model, windows, config.lookup()?).await
}

/// A processor whose work is written nowhere. Nothing is ever committed, so no user's windows are forgotten.
fn looking_on(config: &StreamConfig, handle: &Handle, what: &'static str) -> Result<Processor, StreamError> {
    let models = handle.block_on(open_model(config))?;
    let name = Box::new(move |partition: i32, offset: i64| format!("{what}/{partition}/{offset}"));
    Processor::new(config, models, Box::new(NoStates), name)
}

/// Scores some events and writes nothing anywhere: no offset, no log, no message.
///
/// # Errors
/// What model and look-up say; what cannot be read.
pub fn try_out(config: &StreamConfig, events: Incoming, handle: &Handle) -> Result<Processed, StreamError> {
    looking_on(config, handle, "dry-run")?.process(events)
}

/// Events of the topic scored once more, in order and batch by batch; written nowhere.
///
/// With windows, what came before the span is read as well, from the oldest event that the topic still holds: the first
/// windows are those of a stream that began there.
pub struct Replay {
    processor: Processor,
    reader: SpanReader,
    span: Span,
    model: Arc<StreamModel>,
    batch_rows: usize,
}

impl Replay {
    /// A replay of what the topic holds now.
    ///
    /// # Errors
    /// What model and look-up say; as [`SpanReader::open`].
    pub fn open(config: &StreamConfig, span: Span, handle: &Handle) -> Result<Replay, StreamError> {
        let processor = looking_on(config, handle, "replay")?;
        let reader = SpanReader::open(&config.kafka, span, config.windows.is_some())?;
        let model = processor.model();
        Ok(Replay { processor, reader, span, model, batch_rows: config.kafka.batch_rows })
    }

    /// The model that answers.
    pub fn model_id(&self) -> &str {
        self.model.id()
    }

    /// The columns of its scores.
    pub fn score_schema(&self) -> Arc<Schema> {
        Arc::clone(self.model.scorer.score_schema())
    }

    /// The next batch, and those of its rows that are inside the span; none at the end.
    ///
    /// # Errors
    /// As [`SpanReader::events`] and [`Processor::process`]; [`StreamError::ModelChanged`] where another model has taken the
    /// place of the one that began.
    pub fn batch(&mut self, watch: &dyn Watch) -> Result<Option<(Processed, Vec<usize>)>, StreamError> {
        let Some(events) = self.reader.events(self.batch_rows, watch)? else { return Ok(None) };
        let done = self.processor.process(events)?;
        if done.model.id() != self.model.id() {
            let [before, now] = [&self.model, &done.model].map(|model| model.id().to_owned());
            return Err(StreamError::ModelChanged { before, now });
        }
        let is_wanted = |row: &usize| self.span.holds(done.incoming.timestamp(*row));
        let wanted = (0..done.incoming.len()).filter(is_wanted).collect();
        Ok(Some((done, wanted)))
    }
}

/// The first events of the topic (or the next ones, with `start: latest`), read without joining the group.
///
/// # Errors
/// As [`Cluster::connect`].
pub fn first_events(config: &StreamConfig, n: usize) -> Result<Incoming, StreamError> {
    read_some(&config.kafka, n, Duration::from_secs(5))
}
