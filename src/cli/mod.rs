//! The commands, one file each. (To be written.)
