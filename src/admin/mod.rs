//! Status, metrics and health over HTTP. (To be written.)
