//! A server as a process: started, waited for, its CPU time and memory read, stopped.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::load::{once, request};

/// How long a server may take to become ready; MLflow's takes half a minute.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running server; stopped when dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Seconds from its start until it said that it is ready.
    pub ready_seconds: f64,
}

impl Server {
    /// Starts a command that listens on a port, which is put in place of `PORT` in its words.
    pub fn start(program: &Path, words: &[String], environment: &[(&str, String)], ready: &str) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let port = address.port().to_string();
        let words = words.iter().map(|word| word.replace("PORT", &port));
        let mut command = Command::new(program);
        command.args(words).envs(environment.iter().map(|(name, value)| (*name, value)));
        let began = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut server = Server { child, address, ready_seconds: 0.0 };
        let asked = request("GET", ready, "application/json", b"");
        while !matches!(once(address, &asked), Ok((200, _))) {
            if let Some(status) = server.child.try_wait()? {
                bail!("{} ended with {status} before it was ready", program.display());
            }
            if began.elapsed() > PATIENCE {
                bail!("{} was not ready after {} s", program.display(), PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        server.ready_seconds = began.elapsed().as_secs_f64();
        Ok(server)
    }

    /// User and system seconds so far, of the process and of those it started.
    pub fn cpu_seconds(&self) -> f64 {
        let ticks = family(self.child.id()).iter().filter_map(|id| ticks(*id)).sum::<f64>();
        ticks / 100.0
    }

    /// Peak memory in bytes, of the process and of those it started.
    pub fn peak_bytes(&self) -> f64 {
        family(self.child.id()).iter().filter_map(|id| peak(*id)).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let family = family(self.child.id());
        for id in family.iter().rev() {
            // One that has ended already is what we want.
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).stderr(Stdio::null()).status();
        }
        let _ = self.child.wait();
    }
}

/// A process and its descendants, parents first.
fn family(id: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|child: u32| Some((child, fields(child)?.get(1)?.parse().ok()?)))
        .collect();
    let mut family = vec![id];
    let mut at = 0;
    while at < family.len() {
        let of = family[at];
        family.extend(parents.iter().filter(|(_, parent)| *parent == of).map(|(child, _)| *child));
        at += 1;
    }
    family
}

/// The fields of proc(5)'s stat behind the name: the state is number 0, the parent number 1.
fn fields(id: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    Some(stat.rsplit(')').next()?.split_whitespace().map(str::to_owned).collect())
}

fn ticks(id: u32) -> Option<f64> {
    let fields = fields(id)?;
    Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
}

fn peak(id: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_and_its_children_are_one_family() {
        let mut shell = Command::new("sh").args(["-c", "sleep 5 & wait"]).spawn().unwrap();
        let patience = Instant::now();
        while family(shell.id()).len() < 2 && patience.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let family = family(shell.id());
        assert_eq!((family.len(), family[0]), (2, shell.id()));
        assert!(peak(shell.id()).unwrap() > 100_000.0 && ticks(shell.id()).is_some());
        for id in family.iter().rev() {
            Command::new("kill").arg(id.to_string()).status().unwrap();
        }
        shell.wait().unwrap();
    }

    #[test]
    fn a_server_that_ends_at_once_is_an_error() {
        let failed = Server::start(Path::new("false"), &[], &[], "/ready");
        assert!(failed.err().unwrap().to_string().contains("before it was ready"));
    }
}
