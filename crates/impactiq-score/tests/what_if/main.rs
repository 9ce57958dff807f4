//! What-if, and the reports that live with a model.

mod house;
mod reports;
mod simulate;
