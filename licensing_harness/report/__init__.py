"""Verdicts for people and machines: terminal, JSON, HTML, JUnit, step summary, case files.

Everything derives from one ``RunResult``, masked once before anybody sees it.
"""
