//! Takes batches from clients. (To be written.)
