//! Sessions that survive burdock, and that several burdocks share.

mod mongodb;
