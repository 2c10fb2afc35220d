"""Orchestrate: what is to be done next? The only code that knows LangGraph and LangChain."""
