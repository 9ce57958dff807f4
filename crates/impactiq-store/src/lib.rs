//! What is remembered: the score log and look-up tables.
