//! The real server: what it refuses, how it starts, answers and stops; and keys for it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::harness::{Folder, Ran, snapshot};

/// A server that is killed when a test gives up.
pub struct Serving {
    pub child: Child,
    pub url: String,
}

impl Serving {
    pub fn start(folder: &Folder, arguments: &[&str]) -> Serving {
        let mut all = vec!["serve", "--listen", "127.0.0.1:0", "--format", "json"];
        all.extend(arguments);
        let mut child = folder.command(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut text = String::new();
        // One JSON document over several lines.
        while !text.trim_end().ends_with('}') {
            match lines.next() {
                Some(line) => text.push_str(&(line.unwrap() + "\n")),
                None => {
                    let ran = Ran::of(child.wait_with_output().unwrap());
                    panic!("the server ended: {}", ran.shown());
                }
            }
        }
        let told: Value = serde_json::from_str(&text).unwrap();
        Serving { child, url: told["url"].as_str().unwrap().trim_start_matches("http://").to_owned() }
    }

    pub fn ask(&self, method: &str, path: &str, body: &str) -> String {
        ask_at(&self.url, method, path, body).unwrap()
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(mut self) -> Ran {
        let killed = std::process::Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let status = self.child.wait().unwrap();
        Ran { code: status.code().unwrap_or(-1), stdout: String::new(), stderr }
    }
}

/// Asks a server on a connection of its own.
pub fn ask_at(url: &str, method: &str, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(url)?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {url}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
    }
}

#[test]
fn the_help_lists_every_setting() {
    let folder = Folder::new();
    snapshot("serve_help", &folder.run(&["serve", "--help"]).succeeded().stdout);
}

#[test]
fn nobody_else_is_let_in_without_keys() {
    let folder = Folder::new();
    folder.refused(
        "serve_beyond_loopback",
        &["serve", "-m", "model", "--listen", "0.0.0.0:8501"],
        &["0.0.0.0:8501", "no keys", "impactiq key"],
    );
    folder.refused("serve_without_a_model", &["serve"], &["no model", "-m"]);
    folder.refused("serve_missing_model", &["serve", "-m", "none", "--log", "none"], &["'none'"]);
    folder.write("serve.yaml", "max_row: 3\n");
    folder.refused("serve_unknown_setting", &["serve", "-m", "a", "--settings", "serve.yaml"], &["max_row"]);
    folder.write("keys", "score shop 1234\n");
    folder.refused("serve_broken_key_line", &["serve", "-m", "a", "--keys", "keys"], &["line 1"]);
}

#[test]
fn a_server_starts_answers_and_ends_in_order_on_sigterm() {
    let folder = Folder::with_model();
    let serving = Serving::start(&folder, &["-m", "trial=model", "--log", "scores.sqlite"]);
    assert!(serving.ask("GET", "/health/ready", "").starts_with("HTTP/1.1 200"));
    let answer =
        serving.ask("POST", "/v1/score", r#"{"rows": [{"x": 0.5, "city": "Oulu", "id": "c1"}], "request_id": "r"}"#);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"cate\":"), "{answer}");
    assert!(serving.ask("GET", "/", "").contains("<html"));
    let ran = serving.terminate();
    assert_eq!(ran.code, 0, "{}", ran.shown());
    // Off a terminal every event is one JSON object.
    let events: Vec<Value> = ran.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().any(|event| event["message"] == "stopped"), "{}", ran.stderr);
    // What was answered is in the log: the next server finds it.
    let serving = Serving::start(&folder, &["-m", "trial=model", "--log", "scores.sqlite"]);
    assert!(serving.ask("GET", "/v1/scores?request_id=r", "").contains("\"id\":\"c1\""));
    serving.terminate().succeeded();
}

#[test]
fn environment_and_file_are_beaten_by_flags() {
    let folder = Folder::with_model();
    folder.write("serve.yaml", "models: [file=model]\nmax_rows: 7\nqueue: 9\nlog: none\n");
    let mut command =
        folder.command(&["serve", "--settings", "serve.yaml", "--listen", "127.0.0.1:0", "--max-rows", "5"]);
    command.env("IMPACTIQ_MAX_ROWS", "6").env("IMPACTIQ_TIMEOUT", "3").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.split("http://").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let serving = Serving { child, url };
    let told = serving.ask("GET", "/v1/server", "");
    assert!(told.contains("\"max_rows\":5") && told.contains("\"timeout_seconds\":3.0"), "{told}");
    assert!(told.contains("\"active_model\":\"file\""), "{told}");
    serving.terminate().succeeded();
}

#[test]
fn a_key_is_told_once_and_its_line_opens_the_server() {
    let folder = Folder::with_model();
    let made = folder.json(&["key", "shop", "--role", "read"]);
    let (key, line) = (made["key"].as_str().unwrap(), made["line"].as_str().unwrap());
    assert!(line.starts_with("read shop ") && !line.contains(key));
    let text = folder.run(&["key", "shop", "--role", "admin"]).succeeded();
    assert!(text.stdout.starts_with("admin shop ") && text.stdout.lines().count() == 1);
    assert!(text.stderr.contains("iq_") && !text.stdout.contains("iq_"));
    folder.write("keys", format!("{line}\n"));
    let serving = Serving::start(&folder, &["-m", "model", "--log", "none", "--keys", "keys"]);
    assert!(serving.ask("GET", "/v1/models", "").starts_with("HTTP/1.1 401"));
    let mut stream = TcpStream::connect(&serving.url).unwrap();
    let head = format!("GET /v1/models HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let ran = serving.terminate();
    assert!(ran.code == 0 && !ran.stderr.contains(key), "{}", ran.shown());
    folder.refused("key_of_a_role_that_is_none", &["key", "shop", "--role", "boss"], &["boss"]);
    folder.refused("key_with_a_space", &["key", "the shop", "--role", "read"], &["the shop"]);
}
