//! What became of each message: events in Exchange's terms, written as they happen, read when somebody asks.
