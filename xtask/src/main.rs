//! The house's own tools: `cargo xtask <command>`.
//!
//! Only the choice of a command lives here; each has a file or folder of its own.

mod bench;
mod codegen;
mod golden;
mod measure;
mod mutate;
mod tidy;
mod workspace;

use std::process::{Command, ExitCode};

const USAGE: &str = "\
cargo xtask <command>

  tidy               check the house rules: floors, rooms, circles, headers, lengths, conduct
  codegen [--check]  write docs/reference from the binary, or fail when it is stale
  golden [--check]   write the golden predictions, or compare with them
  mutate [--only W]  plant mistakes one by one (those with W in their name or file); the tests must notice
  mutate --turn K N  plant every N-th mistake, from number K modulo N: N turns plant all of them
  bench NAME         measure against peers: boosting, metrics, forests, learners, serve, stream, stream-proof, end-to-end
  ci                 the whole gate, .ci/run
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["tidy"] => tidy::run(),
        ["codegen"] => codegen::run(false),
        ["codegen", "--check"] => codegen::run(true),
        ["golden"] => golden::run(false),
        ["golden", "--check"] => golden::run(true),
        ["mutate"] => mutate::run(None),
        ["mutate", "--only", word] => mutate::run(Some(word)),
        ["mutate", "--turn", turn, of] => mutate::run_turn(turn, of),
        ["ci"] => {
            workspace::root().and_then(|root| workspace::run(Command::new(root.join(".ci/run")).current_dir(root)))
        }
        ["bench", name, options @ ..] => bench::run(name, options),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
