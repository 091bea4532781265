//! What waits to be delivered: durable, in order of due time, one queue for each next hop.
