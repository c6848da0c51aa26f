//! Joins the stages. (To be written.)
