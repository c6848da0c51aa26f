//! Brings leased batches to Logstash. (To be written.)
