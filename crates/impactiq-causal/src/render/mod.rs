//! Models as something to read: pure strings, no files.
//!
//! `numbers` and `rules` put numbers and splits into words, `portrait` collects what is known of a
//! tree, `text` and `svg` draw it. What must not live here: whatever is not already in the model.

mod numbers;
mod portrait;
mod rules;
mod svg;
mod text;

pub use svg::uplift_tree_svg;
pub use text::uplift_tree_text;

#[cfg(test)]
mod tests;
