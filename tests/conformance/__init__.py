"""Measures the server against OpenAI's specification, and writes docs/conformance.md.

What OpenAI has is read from the types of the installed `openai` SDK; what we make of it is seen in answers of the
running application. Nothing in the document is typed by hand but the names of the proofs.
"""
