"""The written report: one HTML file with everything in it, readable on a phone, with a keyboard, in the dark and without scripts."""
