//! Against a real redis-server.
