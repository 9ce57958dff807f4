//! How effects are learned: nuisances, learners, averages and the model.
