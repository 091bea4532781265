//! Health: what probes found, judged: monitors, health sets, alerts, what is to be done. No IO and no clock of its own.
