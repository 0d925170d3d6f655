"""Tests of a real Flow, over gRPC and HTTP."""
