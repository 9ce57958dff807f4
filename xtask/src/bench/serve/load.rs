//! HTTP load from this process: closed loop for capacity, open loop for latency.
//!
//! In the open loop requests are due at fixed times, whether earlier ones were answered or
//! not, and latency counts from when a request was due: a server that stalls cannot make its
//! figures better by delaying the questions. One thread per connection, blocking sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// When the next request is sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// As soon as a connection is free.
    Closed,
    /// So many per second, whatever the answers do.
    Open(f64),
}

/// What is sent, and how.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    /// The server.
    pub address: SocketAddr,
    /// Whole requests, sent in turn.
    pub requests: &'a [Vec<u8>],
    /// Their pace.
    pub pace: Pace,
    /// Connections, kept open.
    pub connections: usize,
    /// For how long.
    pub seconds: f64,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Seconds until the last answer.
    pub seconds: f64,
    /// Milliseconds of every request that got a 2xx, in order of size.
    pub latencies: Vec<f64>,
    /// The same from when it was sent: beyond capacity the load itself falls behind, and that is not the server's.
    pub from_sending: Vec<f64>,
    /// Answers 429 and 503.
    pub refused: u64,
    /// Other answers, and connections that broke.
    pub failed: u64,
    /// The first of the failed, in words.
    pub first_failure: Option<String>,
}

impl Load<'_> {
    /// Sends it all and waits for the answers.
    pub fn run(&self) -> Result<Answers> {
        let next = AtomicUsize::new(0);
        let began = Instant::now();
        let mut all = Answers::default();
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..self.connections).map(|_| scope.spawn(|| self.connection(&next, began))).collect();
            for thread in threads {
                let part = thread.join().map_err(|_| anyhow::anyhow!("a connection's thread died"))?;
                all.add(part);
            }
            Ok::<(), anyhow::Error>(())
        })?;
        all.seconds = began.elapsed().as_secs_f64();
        all.latencies.sort_by(f64::total_cmp);
        all.from_sending.sort_by(f64::total_cmp);
        if all.latencies.is_empty() && all.refused == 0 {
            bail!("no request was answered: {}", all.first_failure.as_deref().unwrap_or("nothing was sent"));
        }
        Ok(all)
    }

    fn connection(&self, next: &AtomicUsize, began: Instant) -> Answers {
        let mut answers = Answers::default();
        let mut open = None;
        let end = Duration::from_secs_f64(self.seconds);
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let due = match self.pace {
                Pace::Closed => began.elapsed(),
                Pace::Open(rate) => Duration::from_secs_f64(at as f64 / rate),
            };
            if due >= end {
                return answers;
            }
            if let Some(early) = due.checked_sub(began.elapsed()) {
                std::thread::sleep(early);
            }
            let sent = began.elapsed();
            match self.exchange(&mut open, &self.requests[at % self.requests.len()]) {
                Ok(200..=299) => {
                    let now = began.elapsed();
                    answers.latencies.push((now - due).as_secs_f64() * 1e3);
                    answers.from_sending.push((now - sent).as_secs_f64() * 1e3);
                }
                Ok(429 | 503) => answers.refused += 1,
                Ok(status) => answers.fail(format!("status {status}")),
                Err(error) => {
                    open = None;
                    answers.fail(format!("{error:#}"));
                }
            }
        }
    }

    fn exchange(&self, open: &mut Option<Connection>, request: &[u8]) -> Result<u16> {
        let mut connection = match open.take() {
            Some(connection) => connection,
            None => Connection::open(self.address)?,
        };
        let (status, reusable) = connection.exchange(request)?;
        if reusable {
            *open = Some(connection);
        }
        Ok(status)
    }
}

impl Answers {
    fn add(&mut self, other: Answers) {
        self.latencies.extend(other.latencies);
        self.from_sending.extend(other.from_sending);
        self.refused += other.refused;
        self.failed += other.failed;
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }

    fn fail(&mut self, why: String) {
        self.failed += 1;
        self.first_failure.get_or_insert(why);
    }

    /// Answered requests per second.
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.seconds
    }

    /// As figures of a cell.
    pub fn json(&self) -> Value {
        json!({
            "answered": self.latencies.len(), "refused": self.refused, "failed": self.failed,
            "first_failure": self.first_failure, "seconds": self.seconds, "per_second": self.rate(),
            "p50_ms": quantile(&self.latencies, 0.5), "p99_ms": quantile(&self.latencies, 0.99),
            "p999_ms": quantile(&self.latencies, 0.999), "p99_from_sending_ms": quantile(&self.from_sending, 0.99),
        })
    }
}

/// What this share of sorted values does not exceed.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((share * last as f64).ceil() as usize).copied().unwrap_or(f64::NAN)
}

/// A request of HTTP/1.1.
pub fn request(method: &str, path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {content_type}\r\naccept: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A connection with what was read of the next answer.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What one read brings; made once, because the load shares the cores with the server.
    chunk: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Connection { stream, buffer: Vec::with_capacity(64 << 10), chunk: vec![0; 64 << 10] })
    }

    /// Sends a request and reads its answer: the status, and whether the connection stays open.
    fn exchange(&mut self, request: &[u8]) -> Result<(u16, bool)> {
        self.stream.write_all(request).context("cannot send")?;
        self.buffer.clear();
        let head = loop {
            self.more()?;
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
        };
        let text = String::from_utf8_lossy(&self.buffer[..head]).to_ascii_lowercase();
        let status = text.split(' ').nth(1).and_then(|word| word.parse().ok()).context("not an answer of HTTP")?;
        let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        match header("content-length:").and_then(|length| length.parse::<usize>().ok()) {
            Some(length) => {
                while self.buffer.len() < head + length {
                    self.more()?;
                }
            }
            None if header("transfer-encoding:") == Some("chunked") => {
                while !self.buffer.ends_with(b"0\r\n\r\n") {
                    self.more()?;
                }
            }
            None => bail!("an answer of unknown length"),
        }
        Ok((status, header("connection:") != Some("close")))
    }

    fn more(&mut self) -> Result<()> {
        let n = self.stream.read(&mut self.chunk).context("cannot read the answer")?;
        if n == 0 {
            bail!("the server closed the connection");
        }
        self.buffer.extend_from_slice(&self.chunk[..n]);
        Ok(())
    }
}

/// Sends one request on a connection of its own; the status and the body.
pub fn once(address: SocketAddr, request: &[u8]) -> Result<(u16, Vec<u8>)> {
    let mut connection = Connection::open(address)?;
    let (status, _) = connection.exchange(request)?;
    let head = find(&connection.buffer, b"\r\n\r\n").map_or(0, |at| at + 4);
    Ok((status, connection.buffer.split_off(head)))
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that answers every request of `size` bytes with the statuses in turn.
    fn server(size: usize, statuses: &'static [&'static str], delay: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut request = vec![0; size];
                    let mut at = 0;
                    while stream.read_exact(&mut request).is_ok() {
                        std::thread::sleep(delay);
                        let status = statuses[at % statuses.len()];
                        at += 1;
                        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    #[test]
    fn answers_refusals_and_failures_are_told_apart() {
        let requests = [request("POST", "/", "text/plain", b"body")];
        let address = server(requests[0].len(), &["200 OK", "503 Busy", "500 Broken"], Duration::ZERO);
        let load = Load { address, requests: &requests, pace: Pace::Open(300.0), connections: 1, seconds: 0.1 };
        let answers = load.run().unwrap();
        assert_eq!((answers.latencies.len(), answers.refused, answers.failed), (10, 10, 10));
        assert_eq!(answers.first_failure.as_deref(), Some("status 500"));
        assert_eq!(once(address, &requests[0]).unwrap(), (200, b"ok".to_vec()));
    }

    #[test]
    fn latency_counts_from_when_a_request_was_due() {
        // One connection, 10 ms per answer, but a request due every millisecond: the queue grows.
        let requests = [request("GET", "/", "text/plain", b"")];
        let address = server(requests[0].len(), &["200 OK"], Duration::from_millis(10));
        let load = Load { address, requests: &requests, pace: Pace::Open(1000.0), connections: 1, seconds: 0.02 };
        let answers = load.run().unwrap();
        assert_eq!(answers.latencies.len(), 20);
        let slowest = quantile(&answers.latencies, 1.0);
        assert!(slowest > 100.0, "{slowest}");
    }

    #[test]
    fn nobody_there_is_an_error_with_the_reason() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let requests = [request("GET", "/", "text/plain", b"")];
        let load = Load { address: free, requests: &requests, pace: Pace::Closed, connections: 1, seconds: 0.01 };
        assert!(load.run().unwrap_err().to_string().contains("cannot connect"));
    }
}
