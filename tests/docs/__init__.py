"""Tests of the documentation: the site builds, its commands run, its words are plain."""
