"""Jinja templates as transformers runs them, with an end.

A thread cannot be stopped from outside, so the template looks at the clock itself: a call at the
head of each of its loops. Everything else in Jinja's language takes time in proportion to its data.
"""

import time
from collections.abc import Mapping

from jinja2 import Environment, Template, nodes
from jinja2.meta import find_undeclared_variables

MAX_RENDER_S = 2.0
"""Processor time for one rendering; usual ones take milliseconds."""

_CHECK = "_motet_check_time"


class OutOfTime(Exception):
    """A rendering took more than MAX_RENDER_S."""


class BoundedTemplate:
    """A template of the operator, in transformers' immutable sandbox. Renders in any thread."""

    def __init__(self, source: str) -> None:
        """Raises one of `chat_template.NOT_A_TEMPLATE` when `source` is no template."""
        # The only way to the environment in which transformers renders: its filters, functions
        # and tags are made inside of the function.
        from transformers.utils.chat_template_utils import _compile_jinja_template  # takes seconds

        environment: Environment = _compile_jinja_template(source).environment
        tree = environment.parse(source)
        self.variables: frozenset[str] = frozenset(find_undeclared_variables(tree))
        """What the template reads and does not set itself."""
        _add_checks(tree, environment)
        self._template = _compile(tree, environment)

    def render(self, variables: Mapping[str, object]) -> str:
        """Raises OutOfTime, and whatever the template provokes."""
        end_s = time.thread_time() + MAX_RENDER_S

        def check_time() -> None:
            if time.thread_time() > end_s:
                raise OutOfTime

        return self._template.render(variables, **{_CHECK: check_time})


def _add_checks(tree: nodes.Template, environment: Environment) -> None:
    """Put a call at the head of each loop and of each macro, which may call itself."""
    loops: list[nodes.For | nodes.Macro] = [*tree.find_all(nodes.For), *tree.find_all(nodes.Macro)]
    for loop in loops:
        call = nodes.Call(nodes.Name(_CHECK, "load"), [], [], None, None)
        loop.body.insert(0, nodes.ExprStmt(call).set_lineno(loop.lineno))
    tree.set_environment(environment)


def _compile(tree: nodes.Template, environment: Environment) -> Template:
    """What `environment.from_string` does, for a template that is parsed."""
    code = environment.compile(tree)
    return environment.template_class.from_code(environment, code, environment.make_globals(None))
