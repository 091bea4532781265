//! Kerberos: what tickets and keytabs say, and the GSS-API of the system's library where there is one.
