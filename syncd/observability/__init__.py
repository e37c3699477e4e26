"""Logs, traces, histograms and call statistics."""
