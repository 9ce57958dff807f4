//! The page of commands and flags, from the definition that reads them.

use clap::{Arg, Command, CommandFactory};

use crate::args::Cli;

/// The page in Markdown.
pub fn page() -> String {
    let mut root = Cli::command();
    root.build();
    let mut page = String::from(
        "# Commands\n\nMade by `impactiq reference cli`; do not edit.\n\nA flag beats its environment variable, which \
         beats the configuration file, which beats the default. `IMPACTIQ_SET=\"key=value;key=value\"` acts like \
         `--set`, which beats it.\n",
    );
    for command in root.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        section(&mut page, command, "impactiq");
    }
    page.push_str("\n## Options of every command\n\n");
    let globals = root.get_arguments().filter(|arg| arg.is_global_set());
    table(&mut page, globals);
    page
}

fn section(page: &mut String, command: &Command, parent: &str) {
    let path = format!("{parent} {}", command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    page.push_str(&format!("\n## `{path}`\n\n{about}\n\n"));
    let own: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_global_set() && !matches!(arg.get_id().as_str(), "help" | "version"))
        .collect();
    if !own.is_empty() {
        table(page, own.into_iter());
    }
    for inner in command.get_subcommands().filter(|c| c.get_name() != "help") {
        section(page, inner, &path);
    }
}

fn table<'a>(page: &mut String, args: impl Iterator<Item = &'a Arg>) {
    page.push_str("| argument | meaning | default | environment |\n|---|---|---|---|\n");
    for arg in args.filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version")) {
        let code = |text: String| if text.is_empty() { text } else { format!("`{text}`") };
        let defaults: Vec<String> =
            arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        let default = if arg.get_action().takes_values() { defaults.join(" ") } else { String::new() };
        let environment = arg.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
        page.push_str(&format!("| {} | {help} | {} | {} |\n", spelled(arg), code(default), code(environment)));
    }
}

fn spelled(arg: &Arg) -> String {
    let value = if arg.get_action().takes_values() {
        let names: Vec<String> =
            arg.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>")).collect();
        names.join(" ")
    } else {
        String::new()
    };
    if arg.is_positional() {
        return format!("`{value}`");
    }
    let short = arg.get_short().map(|c| format!("-{c}"));
    let long = arg.get_long().map(|name| format!("--{name}"));
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    format!("`{}`", format!("{} {value}", flags.join(", ")).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_command_has_a_section_and_hidden_ones_do_not() {
        let page = page();
        for command in Cli::command().get_subcommands() {
            assert_eq!(page.contains(&format!("## `impactiq {}`", command.get_name())), !command.is_hide_set());
        }
        assert!(page.contains("## `impactiq data get`") && page.contains("`IMPACTIQ_THREADS`"));
    }
}
