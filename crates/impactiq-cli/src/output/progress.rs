//! Who watches long work: a bar on a terminal, Ctrl-C, and the time limit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use impactiq_data::Watch;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::exit::{Failure, Outcome};

/// The share of a time limit after which searches and forests make do with what they have; the rest
/// is for finishing and writing.
const TRYING: f64 = 0.75;

/// Shows progress and says when to stop.
#[derive(Debug)]
pub struct Progress {
    interrupted: Arc<AtomicBool>,
    started: Instant,
    limit: Option<Duration>,
    bar: Option<Mutex<Bar>>,
    stages: Mutex<Vec<(String, Instant)>>,
}

#[derive(Debug)]
struct Bar {
    bar: ProgressBar,
    stage: String,
}

impl Progress {
    /// Watches with a bar (where `visible`), Ctrl-C and an optional time limit in seconds.
    ///
    /// The first Ctrl-C asks the work to stop cleanly, the second ends the program at once.
    ///
    /// # Errors
    /// A [`Failure`] for a limit that isn't a positive number.
    pub fn new(visible: bool, limit_seconds: Option<f64>) -> Outcome<Self> {
        let limit = match limit_seconds {
            None => None,
            Some(seconds) => match Duration::try_from_secs_f64(seconds) {
                Ok(limit) if seconds > 0.0 => Some(limit),
                _ => {
                    return Err(Failure::new(
                        format!("the time limit is {seconds} s; it must be a positive number of seconds"),
                        "e.g. `--time-limit 600`",
                    )
                    .at("--time-limit"));
                }
            },
        };
        let interrupted = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&interrupted);
        // A handler that cannot be set leaves the system's own: Ctrl-C then ends at once.
        let _ = ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
        });
        let bar = visible.then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(8));
            Mutex::new(Bar { bar, stage: String::new() })
        });
        Ok(Progress { interrupted, started: Instant::now(), limit, bar, stages: Mutex::default() })
    }

    /// True after Ctrl-C.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// True when the time limit is used up.
    pub fn is_out_of_time(&self) -> bool {
        self.limit.is_some_and(|limit| self.started.elapsed() >= limit)
    }

    /// Seconds since the start.
    pub fn elapsed(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Forgets the stages so far: a new command begins.
    pub fn restart_stages(&self) {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Starts a stage that does not report itself.
    pub fn stage(&self, name: &str) {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        if stages.last().is_none_or(|(last, _)| last != name) {
            stages.push((name.to_owned(), Instant::now()));
        }
    }

    /// The stages so far with their seconds, in order; the last one lasts until now.
    pub fn stage_seconds(&self) -> Vec<(String, f64)> {
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = stages.iter().skip(1).map(|(_, start)| *start).chain([Instant::now()]);
        let mut seconds: Vec<(String, f64)> = Vec::new();
        for ((name, start), end) in stages.iter().zip(ends) {
            let spent = end.duration_since(*start).as_secs_f64();
            match seconds.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += spent,
                None => seconds.push((name.clone(), spent)),
            }
        }
        seconds
    }

    /// Takes the bar off the screen, before something is written there.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
            bar.bar.finish_and_clear();
            bar.stage.clear();
        }
    }

    /// An error after Ctrl-C alone: for what is finished and only has to be written.
    ///
    /// # Errors
    /// The interruption.
    pub fn check_interrupted(&self) -> Outcome<()> {
        if self.is_interrupted() { Err(Failure::interrupted()) } else { Ok(()) }
    }

    /// An error once the work should stop, to be asked before something is written.
    ///
    /// # Errors
    /// The interruption or the used-up limit.
    pub fn check(&self) -> Outcome<()> {
        if self.is_interrupted() {
            return Err(Failure::interrupted());
        }
        match self.limit {
            Some(limit) if self.is_out_of_time() => Err(Failure::out_of_time(limit.as_secs_f64())),
            _ => Ok(()),
        }
    }
}

impl Watch for Progress {
    fn progress(&self, stage: &str, done: u64, total: u64) {
        self.stage(stage);
        let Some(bar) = &self.bar else { return };
        let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
        if bar.stage != stage {
            bar.bar.finish_and_clear();
            bar.stage = stage.to_owned();
            bar.bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8));
            let template = if total == 0 {
                "{spinner} {msg} {human_pos} {elapsed}"
            } else {
                "{msg:<28} {bar:30.cyan/dim} {percent:>3} % {elapsed} (about {eta} left)"
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.bar.set_style(style.progress_chars("━╸─"));
            }
            bar.bar.set_message(stage.to_owned());
        }
        if total > 0 {
            bar.bar.set_length(total);
        }
        bar.bar.set_position(done);
    }

    fn should_stop(&self) -> bool {
        self.is_interrupted() || self.is_out_of_time()
    }

    fn seconds(&self) -> Option<f64> {
        Some(self.elapsed())
    }

    fn should_hurry(&self) -> bool {
        self.limit.is_some_and(|limit| self.started.elapsed() >= limit.mul_f64(TRYING))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_up_limit_stops_the_work() {
        let watch = Progress::new(false, Some(1e-9)).unwrap();
        assert!(watch.should_stop() && watch.should_hurry());
        assert!(watch.check().unwrap_err().message.contains("time limit"));
        let watch = Progress::new(false, Some(1e6)).unwrap();
        assert!(!watch.should_stop() && !watch.should_hurry());
        assert!(Progress::new(false, Some(-1.0)).is_err());
    }

    #[test]
    fn stages_are_timed_by_name() {
        let watch = Progress::new(false, None).unwrap();
        watch.progress("read", 0, 1);
        watch.progress("learner", 0, 1);
        watch.progress("read", 1, 1);
        let names: Vec<String> = watch.stage_seconds().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["read", "learner"]);
    }
}
