"""Audits of synthetic samples, before anything may use them: fidelity, diversity, privacy,
utility."""
