//! The members of the group: processes of the real binary that join, leave and are killed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::kafka_topics::Failure;

/// A running member.
struct Member {
    child: Child,
    log: PathBuf,
    /// Asked to end.
    leaving: bool,
}

/// Everybody, and what happened to them.
pub struct Crowd {
    binary: PathBuf,
    config: PathBuf,
    folder: PathBuf,
    members: Vec<Member>,
    /// Members started so far.
    pub n_started: u64,
    /// Members killed with SIGKILL.
    pub n_killed: u64,
    /// Members that were asked to leave.
    pub n_left: u64,
    /// What members said last that ended without being asked to.
    pub ended_by_themselves: Vec<String>,
}

impl Crowd {
    /// Nobody yet.
    pub fn new(binary: &Path, config: &Path, folder: &Path) -> Self {
        Crowd {
            binary: binary.to_owned(),
            config: config.to_owned(),
            folder: folder.to_owned(),
            members: Vec::new(),
            n_started: 0,
            n_killed: 0,
            n_left: 0,
            ended_by_themselves: Vec::new(),
        }
    }

    /// One more.
    fn join(&mut self) -> Result<(), Failure> {
        let log = self.folder.join(format!("member-{}.log", self.n_started));
        let child = Command::new(&self.binary)
            .args(["stream", "-c"])
            .arg(&self.config)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", self.binary.display()))?;
        self.members.push(Member { child, log, leaving: false });
        self.n_started += 1;
        Ok(())
    }

    /// Members join until so many work.
    pub fn fill(&mut self, wanted: usize) -> Result<(), Failure> {
        while self.n_working() < wanted {
            if self.ended_by_themselves.len() > 50 {
                let last = self.ended_by_themselves.last().cloned().unwrap_or_default();
                return Err(format!("members do not stay alive; the last one: {last}").into());
            }
            self.join()?;
        }
        Ok(())
    }

    /// Members that work.
    pub fn n_working(&self) -> usize {
        self.members.iter().filter(|member| !member.leaving).count()
    }

    /// SIGKILL to one of those that work; false where nobody does.
    pub fn kill(&mut self, draw: u64) -> Result<bool, Failure> {
        let Some(at) = self.choose(draw) else { return Ok(false) };
        let mut member = self.members.swap_remove(at);
        member.child.kill()?;
        member.child.wait()?;
        self.n_killed += 1;
        let _ = std::fs::remove_file(member.log);
        Ok(true)
    }

    /// SIGTERM to one of those that work.
    pub fn leave(&mut self, draw: u64) -> Result<(), Failure> {
        if let Some(at) = self.choose(draw) {
            terminate(&self.members[at].child)?;
            self.members[at].leaving = true;
            self.n_left += 1;
        }
        Ok(())
    }

    fn choose(&self, draw: u64) -> Option<usize> {
        let working: Vec<usize> = (0..self.members.len()).filter(|&at| !self.members[at].leaving).collect();
        (!working.is_empty()).then(|| working[draw as usize % working.len()])
    }

    /// Notices who has ended; those that nobody asked to are noted with their last words.
    pub fn look(&mut self) -> Result<(), Failure> {
        let mut at = 0;
        while at < self.members.len() {
            let Some(status) = self.members[at].child.try_wait()? else {
                at += 1;
                continue;
            };
            let member = self.members.swap_remove(at);
            // One that was told to go before it had begun says that it was interrupted, or knew nothing of signals yet.
            let may_leave = status.success() || status.code() == Some(130) || status.code().is_none();
            if !(member.leaving && may_leave) {
                let text = std::fs::read_to_string(&member.log).unwrap_or_default();
                let lines: Vec<&str> = text.lines().rev().take(3).collect();
                let last: Vec<&str> = lines.into_iter().rev().collect();
                self.ended_by_themselves.push(format!("{status}: {}", last.join(" | ")));
            }
        }
        Ok(())
    }

    /// Everybody leaves; who does not within the time is an error.
    pub fn end(&mut self, patience: Duration) -> Result<f64, Failure> {
        let began = Instant::now();
        for member in &mut self.members {
            terminate(&member.child)?;
            member.leaving = true;
        }
        while !self.members.is_empty() {
            self.look()?;
            if began.elapsed() > patience {
                let n_left = self.members.len();
                return Err(format!("{n_left} members did not end within {} s of SIGTERM", patience.as_secs()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(began.elapsed().as_secs_f64())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for member in &mut self.members {
            // One that has ended already is what we want.
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}

fn terminate(child: &Child) -> Result<(), Failure> {
    Command::new("kill").args(["-TERM", &child.id().to_string()]).stderr(Stdio::null()).status()?;
    Ok(())
}
