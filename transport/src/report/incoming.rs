//! Reports that come in about mail of ours: recognised for the tracking log, delivered like any other mail.

use waypost_mime::Summary;

/// The Message-ID of what an incoming message reports on, if it is a delivery report (RFC 3464): one with a null sender
/// whose form is multipart/report. Without a returned header the message that it answers is named.
pub(crate) fn reported(null_sender: bool, summary: &Summary) -> Option<&str> {
    let outer = summary.parts.first()?;
    let status = |media: &str| matches!(media, "message/delivery-status" | "message/global-delivery-status");
    let is_report = outer.media == "multipart/report" && summary.parts.iter().any(|part| status(&part.media));
    if !null_sender || !is_report {
        return None;
    }
    summary.in_reply_to.first().or(summary.references.last()).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_mime::{Limits, scan};

    #[test]
    fn only_a_report_without_a_sender_is_one() {
        let report = b"From: MAILER-DAEMON@example.net\r\nIn-Reply-To: <m1@contoso.test>\r\n\
            Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
            --b\r\n\r\nNo.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n\
            Reporting-MTA: dns; mail.example.net\r\n\r\n--b--\r\n";
        let summary = scan(report, Limits::stored());
        assert_eq!(reported(true, &summary), Some("m1@contoso.test"));
        assert_eq!(reported(false, &summary), None);
        let reply = scan(b"In-Reply-To: <m1@contoso.test>\r\n\r\nhello", Limits::stored());
        assert_eq!(reported(true, &reply), None);
    }
}
