# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import re
from configparser import ConfigParser
from pathlib import Path

from docutils import nodes

config = ConfigParser()
config.read(Path(__file__).parent.parent / 'tryton.cfg')

project = "Partner Relationship Management Module"
copyright = "2026, The prm founders"
release = config.get('tryton', 'version')
version = '.'.join(release.split('.')[:2])
language = 'en'
default_role = 'any'
exclude_patterns = ['_build']
html_theme = 'alabaster'


def refer_module(app, env, node, content):
    "Link to the model of another module without asking its inventory"
    match = re.fullmatch(
        r'(?P<module>\w+):(?P<label>model-[\w.]+)', node['reftarget'])
    if match:
        module = match['module'].replace('_', '-')
        return nodes.reference(
            '', '', content, internal=False,
            refuri=f"https://docs.tryton.org/{version}/modules-{module}/"
            f"design.html#{match['label']}")


def setup(app):
    app.connect('missing-reference', refer_module)
    return {'parallel_read_safe': True}
