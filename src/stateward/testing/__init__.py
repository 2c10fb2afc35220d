"""The public kit for tests of what is built on Stateward: a scripted model, a runtime fixture, contract suites.

It needs pytest and pytest-asyncio where `fixtures` is imported, and nothing more than Stateward elsewhere.
"""

from stateward.testing.models import ScriptedModel, proposes

__all__ = ["ScriptedModel", "proposes"]
