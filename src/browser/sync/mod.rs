//! What a session keeps of a browser, brought into a context and back out of it. Pure but for the types of the commands.

pub(super) mod cookies;
pub(super) mod seed;
pub(super) mod storage;
