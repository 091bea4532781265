//! Diagnosis: evidence read from artefacts, rules over facts, findings with their evidence.
