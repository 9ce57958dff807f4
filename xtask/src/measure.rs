//! What a child process costs: CPU seconds, wall seconds, peak memory.
//!
//! CPU is user and system time of the child and of what it waited for, read from
//! /proc/self/stat (1/100 s); peak memory is the child's own high-water mark, looked at
//! while it runs, so what happens in its last milliseconds can be missed.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A finished child.
pub struct Measured {
    /// What it wrote to stdout.
    pub stdout: String,
    /// User and system seconds, all threads.
    pub cpu_seconds: f64,
    /// Seconds by the clock on the wall.
    pub wall_seconds: f64,
    /// Peak resident memory in bytes; 0 where the system doesn't tell.
    pub peak_bytes: u64,
}

/// Runs a command to its end; stderr goes to ours.
pub fn run(command: &mut Command) -> Result<Measured> {
    let before = children_cpu_seconds().unwrap_or_default();
    let began = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
    let mut pipe = child.stdout.take().context("the child has no stdout")?;
    // Read beside the polling: a child that fills the pipe would wait for ever.
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).map(|_| text)
    });
    let mut peak_bytes = 0;
    let status = loop {
        peak_bytes = peak_bytes.max(peak_of(child.id()).unwrap_or_default());
        match child.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let wall_seconds = began.elapsed().as_secs_f64();
    let stdout = reader.join().ok().context("the reader of stdout died")?.context("stdout is not UTF-8")?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    let cpu_seconds = children_cpu_seconds().unwrap_or_default() - before;
    Ok(Measured { stdout, cpu_seconds, wall_seconds, peak_bytes })
}

/// CPU seconds of the children that have ended (fields 16 and 17 of proc(5)'s stat).
fn children_cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    Some((fields.get(13)?.parse::<f64>().ok()? + fields.get(14)?.parse::<f64>().ok()?) / 100.0)
}

/// The high-water mark of a process's resident memory.
fn peak_of(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_child_costs_cpu_and_its_output_is_kept() {
        let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo $i";
        let measured = run(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!(measured.stdout.trim(), "200000");
        assert!(measured.cpu_seconds > 0.02 && measured.wall_seconds > 0.02, "{}", measured.cpu_seconds);
        assert!(measured.peak_bytes > 100_000);
    }

    #[test]
    fn a_failing_child_is_an_error() {
        assert!(run(Command::new("sh").args(["-c", "exit 3"])).is_err());
        assert!(run(&mut Command::new("no-such-program-here")).is_err());
    }
}
