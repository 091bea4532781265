//! Figures of all rooms for Prometheus: `GET /metrics` in text format 0.0.4, on loopback unless the settings say otherwise.

use crate::{listen, logs};
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use std::fmt::Write;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use waypost_base::metrics::{Figure, Kind};

/// Collects the figures of everything that runs.
pub type Collect = Arc<dyn Fn() -> Vec<Figure> + Send + Sync>;

/// Answers until told to stop.
pub async fn serve(listener: TcpListener, collect: Collect, mut stop: watch::Receiver<bool>) {
    let page = move || {
        let text = render(&collect());
        async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text) }
    };
    let app = axum::Router::new().route("/metrics", get(page));
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    if let Err(e) = axum::serve(listener, app).with_graceful_shutdown(stopped).await {
        tracing::warn!(error = %e, "the metrics listener ended");
    }
}

/// The figures that the process itself keeps.
pub fn own() -> Vec<Figure> {
    let counter = |name, help, value: u64| Figure { name, help, kind: Kind::Counter, value: value as f64 };
    vec![
        counter(
            "connections_accepted_total",
            "Connections accepted on all listeners.",
            listen::ACCEPTED.value(),
        ),
        counter(
            "connections_refused_total",
            "Connections closed at once for a limit.",
            listen::REFUSED.value(),
        ),
        counter("tls_handshakes_failed_total", "TLS handshakes that failed.", listen::TLS_FAILED.value()),
        counter("panics_total", "Defects that ended a connection or task.", logs::panics::PANICS.value()),
        counter(
            "protocol_log_lines_dropped_total",
            "Log lines that the disk was too slow for.",
            logs::csv::DROPPED.value(),
        ),
        Figure {
            name: "connections_open",
            help: "Connections now open.",
            kind: Kind::Gauge,
            value: listen::OPEN.value() as f64,
        },
    ]
}

fn render(figures: &[Figure]) -> String {
    let mut out = String::new();
    let mut last = "";
    for figure in figures {
        let kind = match figure.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // A name may carry labels in braces; help and type are told once for the bare name.
        let bare = figure.name.split('{').next().unwrap_or_default();
        if bare != last {
            // Writing to a String cannot fail.
            let _ = write!(out, "# HELP waypost_{bare} {}\n# TYPE waypost_{bare} {kind}\n", figure.help);
            last = bare;
        }
        let _ = writeln!(out, "waypost_{} {}", figure.name, figure.value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_the_text_format() {
        let figure = |name, value| Figure { name, help: "Help.", kind: Kind::Counter, value };
        let text = render(&[
            figure("a_total", 3.0),
            figure("b_total{x=\"1\"}", 1.0),
            figure("b_total{x=\"2\"}", 2.5),
        ]);
        assert_eq!(
            text,
            "# HELP waypost_a_total Help.\n# TYPE waypost_a_total counter\nwaypost_a_total 3\n\
             # HELP waypost_b_total Help.\n# TYPE waypost_b_total counter\nwaypost_b_total{x=\"1\"} 1\nwaypost_b_total{x=\"2\"} 2.5\n"
        );
    }
}
