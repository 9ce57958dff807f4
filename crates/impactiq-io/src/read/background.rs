//! Work on a thread of its own whose results are taken in order.
//!
//! A thread that panics closes its channel just like one that is done: without asking how it
//! ended, half a file would pass for a whole one. So the end of the channel is believed only
//! after the thread was joined.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::error::IoError;

/// Results of a thread, in order; an error is the last of them.
#[derive(Debug)]
pub(crate) struct Background<T> {
    receiver: Receiver<Result<T, IoError>>,
    worker: Option<JoinHandle<()>>,
    what: &'static str,
}

/// Where a thread puts its results.
pub(crate) struct Outlet<T>(SyncSender<Result<T, IoError>>);

impl<T> Outlet<T> {
    /// Waits for room and hands a result on; false when nobody listens any more.
    pub fn put(&self, value: T) -> bool {
        self.0.send(Ok(value)).is_ok()
    }
}

impl<T: Send + 'static> Background<T> {
    /// Starts the work; at most `ahead` results wait to be taken. `what` names it in errors.
    pub fn start(
        what: &'static str,
        ahead: usize,
        work: impl FnOnce(&Outlet<T>) -> Result<(), IoError> + Send + 'static,
    ) -> Self {
        let (sender, receiver) = sync_channel(ahead.max(1));
        let worker = std::thread::spawn(move || {
            let outlet = Outlet(sender);
            if let Err(error) = work(&outlet) {
                // Whether somebody hears it or not: this was the end.
                let _ = outlet.0.send(Err(error));
            }
        });
        Background { receiver, worker: Some(worker), what }
    }
}

impl<T> Iterator for Background<T> {
    type Item = Result<T, IoError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.receiver.recv() {
            Ok(result) => Some(result),
            Err(_) => match self.worker.take()?.join() {
                Ok(()) => None,
                Err(_) => Some(Err(IoError::ReaderStopped { what: self.what })),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_is_an_error_and_not_the_end() {
        let mut broken = Background::start("the reader of blocks", 4, |outlet: &Outlet<u32>| {
            assert!(outlet.put(1));
            panic!("on purpose");
        });
        assert_eq!(broken.next().unwrap().unwrap(), 1);
        let error = broken.next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "internal error: the reader of blocks stopped before the end of the data");
        assert!(error.hint().is_some());
        assert!(broken.next().is_none());
    }

    #[test]
    fn an_error_comes_after_the_results_before_it() {
        let mut failing = Background::start("work", 1, |outlet: &Outlet<u32>| {
            outlet.put(7);
            Err(IoError::Interrupted)
        });
        assert_eq!(failing.next().unwrap().unwrap(), 7);
        assert!(matches!(failing.next(), Some(Err(IoError::Interrupted))));
        assert!(failing.next().is_none());
    }
}
