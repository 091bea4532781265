//! What a TLS channel can be recognised by (RFC 5056), as far as SCRAM's -PLUS needs it.

/// The bindings that this connection has. All empty without TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings {
    /// `tls-exporter` (RFC 9266): only where it is unique, which means TLS 1.3.
    pub exporter: Option<[u8; 32]>,
    /// `tls-server-end-point` (RFC 5929 §4): hash of the server's certificate.
    pub end_point: Option<Vec<u8>>,
}

/// The names of the IANA registry that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindingType {
    TlsExporter,
    TlsServerEndPoint,
}

impl BindingType {
    pub const fn name(self) -> &'static str {
        match self {
            BindingType::TlsExporter => "tls-exporter",
            BindingType::TlsServerEndPoint => "tls-server-end-point",
        }
    }

    pub fn parse(name: &str) -> Option<BindingType> {
        match name {
            "tls-exporter" => Some(BindingType::TlsExporter),
            "tls-server-end-point" => Some(BindingType::TlsServerEndPoint),
            _ => None,
        }
    }
}

impl Bindings {
    /// True where no -PLUS mechanism can be offered.
    pub fn is_empty(&self) -> bool {
        self.exporter.is_none() && self.end_point.is_none()
    }

    pub fn data(&self, kind: BindingType) -> Option<&[u8]> {
        match kind {
            BindingType::TlsExporter => self.exporter.as_ref().map(|b| b.as_slice()),
            BindingType::TlsServerEndPoint => self.end_point.as_deref(),
        }
    }

    /// The one that a client of ours takes: the exporter, which is bound to the connection and not just to the certificate.
    pub fn best(&self) -> Option<BindingType> {
        match self {
            Bindings { exporter: Some(_), .. } => Some(BindingType::TlsExporter),
            Bindings { end_point: Some(_), .. } => Some(BindingType::TlsServerEndPoint),
            _ => None,
        }
    }
}
