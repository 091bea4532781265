//! Reading accounts from CSV.
