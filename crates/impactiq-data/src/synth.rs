//! Known-truth generators.
