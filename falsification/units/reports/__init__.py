"""Tests of the gate and the written report."""
