//! How a model answers: the one scorer behind every door.
