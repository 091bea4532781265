//! The mail filter protocol (milter), the mail server's side, without IO.
