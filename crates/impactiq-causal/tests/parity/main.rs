//! The peers' and the published numbers, on the same rows, to the digits they are given with.
//! Their files stand in a folder beside the repository (or in `IMPACTIQ_DATA`); tests say so
//! loudly where it is missing. Expected numbers come from the peers; no command of ours
//! rewrites them.

mod by_instrument;
mod double_machine_learning;
mod instruments;
mod linear_stages;
mod meta_learners;
mod parametric;
mod published;
mod rows;
