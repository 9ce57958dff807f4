//! The table of estimates that several sections share.

use impactiq_metrics::Estimate;

use crate::output::number::{self, Unit};
use crate::output::table::{Align, TextTable};

/// Estimates by name, each in its unit.
pub(super) fn estimates_table<'a>(estimates: impl IntoIterator<Item = (&'a str, &'a Estimate, Unit)>) -> TextTable {
    let mut table = TextTable::new(&[
        ("", Align::Left),
        ("estimate", Align::Right),
        ("std. error", Align::Right),
        ("n", Align::Right),
        ("95 % interval", Align::Left),
    ]);
    for (name, estimate, unit) in estimates {
        table.row([
            name.to_owned(),
            number::value(estimate, unit),
            number::std_error(estimate, unit),
            estimate.n().map_or_else(String::new, number::count),
            number::interval(estimate, unit),
        ]);
    }
    table
}
