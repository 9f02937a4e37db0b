//! What the tests of several crates share: recorded reference fixtures.
