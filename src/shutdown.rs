//! The order in which things stop. (To be written.)
